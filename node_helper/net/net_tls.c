/*
 * What of OpenSSL the connections need: TLS 1.3 with one external pre-shared key, (EC)DHE on top of it for forward
 * secrecy, no certificates, no tickets. Must not know frames or peers.
 *
 * Why a fresh SSL_SESSION for each handshake: a session carries its time of birth and is refused by the server when it
 * is more than five minutes old, which is when a step's first successor may come.
 */
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "node_helper/net/net_internal.h"

static const unsigned char psk_identity[] = "ckptless";
#define PSK_IDENTITY_BYTES (sizeof(psk_identity) - 1)

/* TLS_AES_128_GCM_SHA256: an external key is bound to a hash, and SHA-256 is the one every build has. */
static const unsigned char psk_cipher[] = { 0x13, 0x01 };

static SSL_SESSION *create_psk_session(SSL *ssl) {
    struct net *net = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, psk_cipher);
    SSL_SESSION *session = NULL;

    if (net == NULL || cipher == NULL || (session = SSL_SESSION_new()) == NULL) {
        return NULL;
    }
    if (SSL_SESSION_set1_master_key(session, net->secret, sizeof(net->secret)) != 1 ||
        SSL_SESSION_set_cipher(session, cipher) != 1 ||
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
        SSL_SESSION_free(session);
        return NULL;
    }
    return session;
}

static int offer_psk(SSL *ssl, const EVP_MD *digest, const unsigned char **ret_identity, size_t *ret_identity_bytes,
                     SSL_SESSION **ret_session) {
    *ret_identity = NULL;
    *ret_identity_bytes = 0;
    *ret_session = NULL;
    if (digest != NULL && EVP_MD_get_type(digest) != NID_sha256) {
        return 1; /* the server wants another hash: go on without the key, and fail there */
    }
    if ((*ret_session = create_psk_session(ssl)) == NULL) {
        return 0;
    }
    *ret_identity = psk_identity;
    *ret_identity_bytes = PSK_IDENTITY_BYTES;
    return 1;
}

static int find_psk(SSL *ssl, const unsigned char *identity, size_t identity_bytes, SSL_SESSION **ret_session) {
    *ret_session = NULL;
    if (identity_bytes != PSK_IDENTITY_BYTES || memcmp(identity, psk_identity, PSK_IDENTITY_BYTES) != 0) {
        return 1; /* unknown: without a certificate the handshake ends here */
    }
    *ret_session = create_psk_session(ssl);
    return *ret_session != NULL;
}

SSL_CTX *net_tls_create(struct net *net) {
    ERR_clear_error();
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    if (tls == NULL) {
        return NULL;
    }
    if (SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(tls, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(tls, "X25519:P-256") != 1 || SSL_CTX_set_num_tickets(tls, 0) != 1) {
        SSL_CTX_free(tls);
        ERR_clear_error();
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    /* A peer that dies says no goodbye; that is a closed connection to us, not a protocol error. */
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_app_data(tls, net);
    SSL_CTX_set_psk_use_session_callback(tls, offer_psk);
    SSL_CTX_set_psk_find_session_callback(tls, find_psk);
    return tls;
}

struct bufferevent *net_tls_start(struct net *net, int fd, bool accepted) {
    ERR_clear_error();
    SSL *ssl = SSL_new(net->tls);
    if (ssl == NULL) {
        return NULL;
    }
    if (!accepted) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL); /* a server that comes with a certificate instead: no */
    }
    return bufferevent_openssl_socket_new(net->base, fd, ssl,
                                          accepted ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING,
                                          BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
}

bool net_tls_has_heard(struct bufferevent *bev) {
    OSSL_HANDSHAKE_STATE state = SSL_get_state(bufferevent_openssl_get_ssl(bev));

    return state != TLS_ST_BEFORE && state != TLS_ST_SR_CLNT_HELLO;
}

bool net_tls_authenticated(struct bufferevent *bev) {
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    return ssl != NULL && SSL_version(ssl) == TLS1_3_VERSION && SSL_session_reused(ssl) == 1;
}

bool net_tls_write_now(struct bufferevent *bev, const uint8_t *bytes, size_t count) {
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    ERR_clear_error();
    bool written = SSL_write(ssl, bytes, (int)count) == (int)count;
    ERR_clear_error();
    return written;
}

void net_tls_shutdown(struct bufferevent *bev) {
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    ERR_clear_error();
    if (ssl != NULL && SSL_is_init_finished(ssl)) {
        (void)SSL_shutdown(ssl);
        ERR_clear_error();
    }
}

static void describe_handshake(unsigned long error, char *ret_text, size_t capacity) {
    int reason = ERR_GET_REASON(error);

    if (reason == SSL_R_BINDER_DOES_NOT_VERIFY) {
        snprintf(ret_text, capacity, "wrong secret");
    } else if (reason == SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER || reason == SSL_R_TLSV1_ALERT_DECRYPT_ERROR) {
        snprintf(ret_text, capacity, "wrong secret: the other end refused ours");
    } else {
        const char *text = ERR_reason_error_string(error);
        snprintf(ret_text, capacity, "not a ckptless peer: %s", text != NULL ? text : "TLS handshake failed");
    }
}

void net_tls_describe(struct bufferevent *bev, short what, bool handshaking, char *ret_text, size_t capacity) {
    int system_error = (what & BEV_EVENT_ERROR) != 0 ? EVUTIL_SOCKET_ERROR() : 0;
    unsigned long error = bufferevent_get_openssl_error(bev);
    const char *text = error != 0 ? ERR_reason_error_string(error) : NULL;

    if (error != 0 && handshaking) {
        describe_handshake(error, ret_text, capacity);
    } else if (text != NULL) {
        snprintf(ret_text, capacity, "TLS: %s", text);
    } else if ((what & BEV_EVENT_EOF) != 0 || system_error == 0) {
        snprintf(ret_text, capacity, "%s", handshaking ? "closed during the handshake" : "closed by the other end");
    } else {
        snprintf(ret_text, capacity, "%s", strerror(system_error));
    }
}
