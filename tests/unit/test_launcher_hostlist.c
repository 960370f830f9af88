/*
 * Names out of Slurm's lists of nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "step_launcher/hostlist.h"

static void names_are_found_or_the_list_is_refused(void **state) {
    static const struct {
        const char *list;
        uint32_t count, index;
        const char *name; /* NULL: refused */
    } cases[] = {
        { "", 1, 0, NULL },
        { ",", 2, 0, NULL },
        { "n[", 1, 0, NULL },
        { "n[]", 0, 0, NULL },
        { "n[1", 1, 0, NULL },
        { "n[1-]", 2, 0, NULL },
        { "n[3-1]", 3, 0, NULL },
        { "n[1-4294967295]", 2, 0, NULL },
        { "n[x]", 1, 0, NULL },
        { "n[1-3]", 2, 0, NULL },
        { "n[1-3]", 4, 0, NULL },
        { "n[1-3]", 3, 3, NULL },
        { "a[1-2]b[1-2]", 4, 0, NULL },
        { "n1", 1, 0, "n1" },
        { "n1,n2", 2, 1, "n2" },
        { "n[1-3]", 3, 0, "n1" },
        { "n[1-3]", 3, 2, "n3" },
        { "n[1,3,07-10],login", 7, 1, "n3" },
        { "n[1,3,07-10],login", 7, 2, "n07" },
        { "n[1,3,07-10],login", 7, 5, "n10" },
        { "n[1,3,07-10],login", 7, 6, "login" },
        { "a,n[098-101]-ib", 5, 3, "n100-ib" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char name[64] = "";
        bool found = hostlist_name(cases[i].list, cases[i].count, cases[i].index, name, sizeof(name));
        if (found != (cases[i].name != NULL)) {
            fail_msg("\"%s\"[%u of %u]: %s", cases[i].list, cases[i].index, cases[i].count, found ? name : "refused");
        }
        if (found) {
            assert_string_equal(name, cases[i].name);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(names_are_found_or_the_list_is_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
