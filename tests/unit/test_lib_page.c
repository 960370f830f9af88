/*
 * Finding the shared page, and the environment that comes with a world.
 */
#include "tests/unit/test_lib.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "libckptless/environment.h"
#include "libckptless/page.h"

static void name_page(int fd, pid_t keeper) {
    char text[16];
    snprintf(text, sizeof(text), "%d", fd);
    assert_int_equal(setenv("CKPTLESS_PAGE_FD", text, 1), 0);
    snprintf(text, sizeof(text), "%d", (int)keeper);
    assert_int_equal(keeper ? setenv("CKPTLESS_KEEPER_PID", text, 1) : unsetenv("CKPTLESS_KEEPER_PID"), 0);
}

static void refused(enum ckptless_result wanted, const char *part) {
    struct test_stderr caught;
    struct wire_page *page = NULL;
    test_stderr_catch(&caught);
    enum ckptless_result result = page_map(&page);
    test_is_line(test_stderr_release(&caught), part);
    assert_int_equal(result, wanted);
    assert_null(page);
}

static void the_inherited_page_is_mapped_and_its_descriptor_closed(void **state) {
    int fd;
    struct wire_page *made = test_page(&fd), *page = NULL;
    (void)state;
    unsetenv("CKPTLESS_PAGE_FD");
    assert_false(page_expected());
    name_page(fd, 0);
    assert_true(page_expected());
    assert_int_equal(page_map(&page), CKPTLESS_OK);
    atomic_store(&made->stop_epoch, 77);
    assert_int_equal(atomic_load(&page->stop_epoch), 77);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    page_unmap(page);
    page_unmap(made);
}

/* The keeper keeps a descriptor under the same number. */
static pid_t start_keeper(void) {
    pid_t keeper = fork();
    if (keeper == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
    return keeper;
}

static void end_keeper(pid_t keeper) {
    assert_int_equal(kill(keeper, SIGKILL), 0);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
}

static void a_program_that_closed_all_descriptors_finds_it_at_its_keeper(void **state) {
    int fd;
    struct wire_page *made = test_page(&fd), *page = NULL;
    pid_t keeper = start_keeper();
    (void)state;
    assert_true(keeper > 0);
    close(fd);
    name_page(fd, keeper);
    assert_int_equal(page_map(&page), CKPTLESS_OK);
    atomic_store(&made->stop_epoch, 78);
    assert_int_equal(atomic_load(&page->stop_epoch), 78);
    page_unmap(page);
    /* Another file under the number is left alone. */
    page = NULL;
    int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(dup2(other, fd), fd);
    assert_int_equal(page_map(&page), CKPTLESS_OK);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    page_unmap(page);
    page_unmap(made);
    if (other != fd) {
        close(fd);
    }
    close(other);
    end_keeper(keeper);
}

static void a_page_that_cannot_be_found_is_one_line(void **state) {
    int fd;
    page_unmap(test_page(&fd));
    (void)state;
    close(fd);
    name_page(fd, 0);
    refused(CKPTLESS_ERR_HELPER, "cannot find the page");
    name_page(fd, getpid());
    refused(CKPTLESS_ERR_HELPER, "cannot find the page");
    name_page(fd, 0x3fffffff);
    refused(CKPTLESS_ERR_HELPER, "cannot find the page");
    assert_int_equal(setenv("CKPTLESS_PAGE_FD", "x", 1), 0);
    refused(CKPTLESS_ERR_INVALID, "CKPTLESS_PAGE_FD=x");
}

static void a_page_of_another_kind_is_refused(void **state) {
    int fd;
    struct wire_page *made = test_page(&fd);
    (void)state;
    made->version = WIRE_PAGE_VERSION + 1;
    name_page(fd, 0);
    refused(CKPTLESS_ERR_VERSION, "version 2 of the shared page");
    page_unmap(made);
    made = test_page(&fd);
    atomic_store(&made->attached_pid, (uint32_t)getpid() + 1);
    name_page(fd, 0);
    refused(CKPTLESS_ERR_STATE, "already is this rank");
    page_unmap(made);
    made = test_page(&fd);
    made->magic = 1;
    name_page(fd, 0);
    refused(CKPTLESS_ERR_HELPER, "cannot find the page");
    page_unmap(made);
    close(fd); /* it was not ours to close */
}

static void the_environment_follows_the_world(void **state) {
    static const char block[] = "RANK=3\0EMPTY=\0WITH=a=b\0GONE\0=none";
    (void)state;
    assert_int_equal(setenv("GONE", "1", 1), 0);
    assert_true(environment_apply(block, sizeof(block)));
    assert_string_equal(getenv("RANK"), "3");
    assert_string_equal(getenv("EMPTY"), "");
    assert_string_equal(getenv("WITH"), "a=b");
    assert_null(getenv("GONE"));
    assert_true(environment_apply("RANK=4", 6)); /* not ended: left out */
    assert_string_equal(getenv("RANK"), "3");
    assert_true(environment_apply(NULL, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_inherited_page_is_mapped_and_its_descriptor_closed),
        cmocka_unit_test(a_program_that_closed_all_descriptors_finds_it_at_its_keeper),
        cmocka_unit_test(a_page_that_cannot_be_found_is_one_line),
        cmocka_unit_test(a_page_of_another_kind_is_refused),
        cmocka_unit_test(the_environment_follows_the_world),
    };
    return cmocka_run_group_tests_name("lib_page", tests, NULL, NULL);
}
