/*
 * Which file counts the kills for want of memory, under every layout of cgroups.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "node_helper/shell/memory.h"

#define V1_MOUNTS                                                                                                      \
    "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"                    \
    "31 24 0:27 / /sys/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory\n"                             \
    "32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
#define V1_BOUND "40 31 0:27 /lab-n2 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
#define V2_MOUNTS                                                                                                      \
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"                                                                            \
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void the_file_is_found(void **state) {
    static const struct {
        const char *cgroup, *mounts, *path; /* NULL: none */
    } cases[] = {
        { "", "", NULL },
        { "4:memory", V1_MOUNTS, NULL },
        { "4:memory:/a\n", "", NULL },
        { "4:memory:/a\n", "31 24 0:27 / /x rw", NULL },
        { "4:memory:/a\n", V2_MOUNTS, NULL },
        { "3:cpuset:/c\n4:memory:/slurm/job_1\n0::/\n", V1_MOUNTS,
          "/sys/fs/cgroup/memory/slurm/job_1/memory.oom_control" },
        { "4:memory:/\n", V1_MOUNTS, "/sys/fs/cgroup/memory//memory.oom_control" },
        { "4:hugetlb,memory:/a\n", V1_MOUNTS, "/sys/fs/cgroup/memory/a/memory.oom_control" },
        { "4:memory:/lab-n2/slurm\n", V1_MOUNTS V1_BOUND, "/sys/fs/cgroup/memory/slurm/memory.oom_control" },
        { "0::/system.slice/slurmstepd.scope/job_1\n", V2_MOUNTS,
          "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_1/memory.events" },
        { "4:memoryless:/a\n", V1_MOUNTS, NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[1024] = "";
        bool found = memory_watch_find(cases[i].cgroup, cases[i].mounts, path, sizeof(path));
        assert_int_equal(found, cases[i].path != NULL);
        if (found) {
            assert_string_equal(path, cases[i].path);
        }
    }
}

static void a_path_that_does_not_fit_is_not_used(void **state) {
    char path[32];
    (void)state;
    assert_false(memory_watch_find("4:memory:/slurm/job_1\n", V1_MOUNTS, path, sizeof(path)));
    assert_false(memory_watch_find("4:memory:/a\n", V1_MOUNTS, path, sizeof(path)));
}

static void nobody_has_been_killed_here(void **state) {
    struct memory_watch watch;
    (void)state;
    memory_watch_begin(&watch, getpid());
    assert_false(memory_watch_look(&watch));
    memory_watch_begin(&watch, 0);
    assert_string_equal(watch.path, "");
    assert_false(memory_watch_look(&watch));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_found),
        cmocka_unit_test(a_path_that_does_not_fit_is_not_used),
        cmocka_unit_test(nobody_has_been_killed_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
