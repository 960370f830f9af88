/*
 * munge, loaded when it is wanted: a cluster that authenticates otherwise need not have it. A credential may be opened
 * more than once (each node of one munged, each successor of a helper) and later than it is meant to (a successor may
 * come after days): it is read for what is sealed in it, not as a proof that somebody has spoken just now. Who sealed
 * it is looked at: another user's secret would be one that he knows.
 */
#include "node_helper/seal/seal.h"

#include <dlfcn.h>
#include <munge.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIGEST_BYTES 32u

struct munge_library {
    void *handle;
    munge_err_t (*encode)(char **, munge_ctx_t, const void *, int);
    munge_err_t (*decode)(const char *, munge_ctx_t, void **, int *, uid_t *, gid_t *);
    munge_ctx_t (*ctx_create)(void);
    void (*ctx_destroy)(munge_ctx_t);
    const char *(*ctx_strerror)(munge_ctx_t);
    const char *(*strerror)(munge_err_t);
    munge_err_t (*ctx_set)(munge_ctx_t, int, ...);
};

static bool load(struct munge_library *library, char *ret_error, size_t capacity) {
    const struct {
        void *entry;
        const char *name;
    } rows[] = {
        { &library->encode, "munge_encode" },
        { &library->decode, "munge_decode" },
        { &library->ctx_create, "munge_ctx_create" },
        { &library->ctx_destroy, "munge_ctx_destroy" },
        { &library->ctx_strerror, "munge_ctx_strerror" },
        { &library->strerror, "munge_strerror" },
        { &library->ctx_set, "munge_ctx_set" },
    };
    library->handle = dlopen("libmunge.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL) {
        snprintf(ret_error, capacity, "libmunge.so.2 cannot be loaded, though Slurm's AuthType is auth/munge");
        return false;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *symbol = dlsym(library->handle, rows[i].name);
        if (symbol == NULL) {
            snprintf(ret_error, capacity, "libmunge.so.2 has no %s", rows[i].name);
            (void)dlclose(library->handle);
            return false;
        }
        *(void **)rows[i].entry = symbol;
    }
    return true;
}

static munge_ctx_t create_context(const struct munge_library *library, const char *socket) {
    munge_ctx_t context = library->ctx_create();

    if (context != NULL && socket[0] != '\0' && library->ctx_set(context, MUNGE_OPT_SOCKET, socket) != EMUNGE_SUCCESS) {
        library->ctx_destroy(context);
        return NULL;
    }
    return context;
}

static void describe(const struct munge_library *library, munge_ctx_t context, munge_err_t code, char *ret_error,
                     size_t capacity) {
    const char *text = context != NULL ? library->ctx_strerror(context) : NULL;

    snprintf(ret_error, capacity, "munge: %s", text != NULL ? text : library->strerror(code));
}

void seal_plain(const uint8_t *secret, char *ret_text) {
    for (size_t i = 0; i < WIRE_SECRET_BYTES; i++) {
        snprintf(ret_text + 2 * i, 3, "%02x", secret[i]);
    }
}

/* What a site's munged does by default may be no encryption at all. */
static munge_err_t restrict_to_us(const struct munge_library *library, munge_ctx_t context) {
    munge_err_t code = library->ctx_set(context, MUNGE_OPT_UID_RESTRICTION, geteuid());

    if (code == EMUNGE_SUCCESS) {
        code = library->ctx_set(context, MUNGE_OPT_CIPHER_TYPE, MUNGE_CIPHER_AES128);
    }
    if (code == EMUNGE_SUCCESS) {
        code = library->ctx_set(context, MUNGE_OPT_MAC_TYPE, MUNGE_MAC_SHA256);
    }
    return code;
}

bool seal_munge(const uint8_t *secret, const char *socket, char *ret_text, char *ret_error, size_t error_capacity) {
    struct munge_library library;
    char *text = NULL;
    bool ok = false;

    if (!load(&library, ret_error, error_capacity)) {
        return false;
    }
    munge_ctx_t context = create_context(&library, socket);
    munge_err_t code = context == NULL ? EMUNGE_NO_MEMORY : restrict_to_us(&library, context);
    if (code == EMUNGE_SUCCESS) {
        code = library.encode(&text, context, secret, (int)WIRE_SECRET_BYTES);
    }
    if (code != EMUNGE_SUCCESS) {
        describe(&library, context, code, ret_error, error_capacity);
    } else if (strlen(text) >= WIRE_SEALED_BYTES) {
        snprintf(ret_error, error_capacity, "munge: a credential of %zu bytes is too long", strlen(text));
    } else {
        snprintf(ret_text, WIRE_SEALED_BYTES, "%s", text);
        ok = true;
    }
    free(text);
    if (context != NULL) {
        library.ctx_destroy(context);
    }
    (void)dlclose(library.handle);
    return ok;
}

static bool is_still_readable(munge_err_t code) {
    return code == EMUNGE_SUCCESS || code == EMUNGE_CRED_EXPIRED || code == EMUNGE_CRED_REWOUND ||
           code == EMUNGE_CRED_REPLAYED;
}

static bool open_munge(const char *text, const char *socket, uint8_t *ret_secret, char *ret_error,
                       size_t error_capacity) {
    struct munge_library library;
    void *payload = NULL;
    int bytes = 0;
    uid_t uid = (uid_t)-1;
    gid_t gid;
    bool ok = false;

    if (!load(&library, ret_error, error_capacity)) {
        return false;
    }
    munge_ctx_t context = create_context(&library, socket);
    munge_err_t code = context == NULL ? EMUNGE_NO_MEMORY : library.decode(text, context, &payload, &bytes, &uid, &gid);
    if (!is_still_readable(code)) {
        describe(&library, context, code, ret_error, error_capacity);
    } else if (payload == NULL || bytes != (int)WIRE_SECRET_BYTES || uid != geteuid()) {
        snprintf(ret_error, error_capacity, "the credential holds no secret of this user");
    } else {
        memcpy(ret_secret, payload, WIRE_SECRET_BYTES);
        ok = true;
    }
    if (payload != NULL) {
        explicit_bzero(payload, (size_t)bytes);
        free(payload);
    }
    if (context != NULL) {
        library.ctx_destroy(context);
    }
    (void)dlclose(library.handle);
    return ok;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool seal_is_plain(const char *text) {
    size_t count = 0;

    while (hex_digit(text[count]) >= 0) {
        count++;
    }
    return text[count] == '\0' && count == 2 * WIRE_SECRET_BYTES;
}

bool seal_open(const char *text, const char *socket, uint8_t *ret_secret, char *ret_error, size_t error_capacity) {
    if (!seal_is_plain(text)) {
        return open_munge(text, socket, ret_secret, ret_error, error_capacity);
    }
    for (size_t i = 0; i < WIRE_SECRET_BYTES; i++) {
        ret_secret[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return true;
}

void seal_derive(const uint8_t *secret, const char *purpose, uint8_t *ret_bytes, size_t count) {
    uint8_t digest[EVP_MAX_MD_SIZE] = { 0 };
    unsigned int bytes = 0;

    (void)HMAC(EVP_sha256(), secret, (int)WIRE_SECRET_BYTES, (const unsigned char *)purpose, strlen(purpose), digest,
               &bytes);
    memcpy(ret_bytes, digest, count < DIGEST_BYTES ? count : DIGEST_BYTES);
    explicit_bzero(digest, sizeof(digest));
}
