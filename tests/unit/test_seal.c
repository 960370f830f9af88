/*
 * The step secret's text: what cannot be one is refused without showing it, what is in the open comes back, what is
 * derived tells nothing of it. With munged the system tests do it (t0400-secret).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/seal/seal.h"

#define NO_SOCKET "/no/such/socket"

static const uint8_t secret[WIRE_SECRET_BYTES] = "\x00\x01\xfe\xff, the rest of 32 bytes";

static void what_is_no_secret_is_refused_and_not_shown(void **state) {
    static const char *const rows[] = {
        "",
        "00",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0",
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "MUNGE:",
        "MUNGE:AwQDAAB:",
    };
    uint8_t got[WIRE_SECRET_BYTES];
    char error[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        error[0] = '\0';
        assert_false(seal_is_plain(rows[i]));
        assert_false(seal_open(rows[i], NO_SOCKET, got, error, sizeof(error)));
        assert_true(error[0] != '\0');
        assert_true(strlen(rows[i]) < 3 || strstr(error, rows[i]) == NULL);
    }
}

static void without_munged_nothing_is_sealed(void **state) {
    char text[WIRE_SEALED_BYTES] = "", error[256] = "";

    (void)state;
    assert_false(seal_munge(secret, NO_SOCKET, text, error, sizeof(error)));
    assert_string_equal(text, "");
    assert_non_null(strstr(error, NO_SOCKET));
}

static void a_plain_secret_comes_back(void **state) {
    char text[WIRE_SEALED_BYTES], error[256];
    uint8_t got[WIRE_SECRET_BYTES];

    (void)state;
    seal_plain(secret, text);
    assert_true(seal_is_plain(text));
    assert_true(seal_open(text, "", got, error, sizeof(error)));
    assert_memory_equal(got, secret, sizeof(secret));
}

static void each_purpose_derives_other_bytes(void **state) {
    uint8_t a[32], b[32], again[32], head[8];

    (void)state;
    seal_derive(secret, "a", a, sizeof(a));
    seal_derive(secret, "b", b, sizeof(b));
    seal_derive(secret, "a", again, sizeof(again));
    seal_derive(secret, "a", head, sizeof(head));
    assert_memory_equal(a, again, sizeof(a));
    assert_memory_equal(a, head, sizeof(head));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, secret, sizeof(a));
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_secret_is_refused_and_not_shown),
        cmocka_unit_test(without_munged_nothing_is_sealed),
        cmocka_unit_test(a_plain_secret_comes_back),
        cmocka_unit_test(each_purpose_derives_other_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
