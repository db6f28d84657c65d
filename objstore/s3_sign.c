/* Signature Version 4: canonical request, string to sign, signing key, signature.
 *
 * Our own, because libcurl's (7.88) neither sorts nor encodes the query and mends the clock of
 * nobody. Checked against AWS's published test suite. */
#include "objstore/s3_sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/text.h"
#include "objstore/s3_text.h"

#define CANONICAL_BYTES_MAX ((size_t)256 << 10)

static void hex32(const uint8_t digest[32], char out[65])
{
    hex_encode(slice_of(digest, 32), out);
    out[64] = 0;
}

void s3_sha256_hex(struct slice s, char out[65])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(s.len ? s.ptr : (const uint8_t *)"", s.len, digest);
    hex32(digest, out);
}

static bool hmac(struct slice key, struct slice data, uint8_t out[32])
{
    unsigned n = 32;
    return key.len <= INT32_MAX && HMAC(EVP_sha256(), key.len ? key.ptr : (const uint8_t *)"",
                                        (int)key.len, data.ptr, data.len, out, &n) != NULL;
}

/* ---- query ---- */

/* One encoded pair: its name and value lie in a scratch buffer. */
struct encoded {
    size_t name, name_end, value_end;
};

static struct slice part(const struct buf *b, size_t from, size_t to)
{
    return slice_of(b->ptr + from, to - from);
}

static int encoded_cmp(const struct buf *b, const struct encoded *x, const struct encoded *y)
{
    int c = slice_cmp(part(b, x->name, x->name_end), part(b, y->name, y->name_end));
    return c ? c
             : slice_cmp(part(b, x->name_end, x->value_end), part(b, y->name_end, y->value_end));
}

static int encode_query(const struct s3_pair *query, size_t count, struct buf *scratch,
                        struct encoded *at)
{
    for (size_t i = 0; i < count; i++) {
        struct encoded e = {.name = scratch->len};
        int rc = s3_uri_encode(scratch, query[i].name, false);
        e.name_end = scratch->len;
        if (rc == 0)
            rc = s3_uri_encode(scratch, query[i].value, false);
        e.value_end = scratch->len;
        if (rc < 0)
            return rc;
        /* A handful of pairs: sorted as they come. */
        size_t k = i;
        for (; k > 0 && encoded_cmp(scratch, &e, &at[k - 1]) < 0; k--)
            at[k] = at[k - 1];
        at[k] = e;
    }
    return 0;
}

int s3_sign_query(const struct s3_pair *query, size_t count, struct buf *out)
{
    if (count > S3_SIGN_PAIRS)
        return ERR_LIMIT;
    struct encoded at[S3_SIGN_PAIRS];
    struct buf scratch;
    buf_init(&scratch, CANONICAL_BYTES_MAX);
    int rc = encode_query(query, count, &scratch, at);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = i ? buf_u8(out, '&') : 0;
        if (rc == 0)
            rc = buf_slice(out, part(&scratch, at[i].name, at[i].name_end));
        if (rc == 0)
            rc = buf_u8(out, '=');
        if (rc == 0)
            rc = buf_slice(out, part(&scratch, at[i].name_end, at[i].value_end));
    }
    buf_clear(&scratch);
    return rc;
}

/* ---- path ---- */

static int append_normalized(struct buf *out, struct slice path)
{
    size_t base = out->len;
    bool open = true; /* ends like a directory, so with a '/' */
    for (struct slice rest = path; rest.len;) {
        size_t n = slice_find(rest, '/');
        struct slice segment = slice_of(rest.ptr, n);
        bool dots = slice_eq(segment, SLICE("..")) || slice_eq(segment, SLICE("."));
        open = n < rest.len || dots;
        rest = slice_from(rest, n + 1);
        if (slice_eq(segment, SLICE(".."))) {
            while (out->len > base && out->ptr[--out->len] != '/')
                ;
        } else if (segment.len && !dots) {
            int rc = buf_u8(out, '/');
            if (rc == 0)
                rc = s3_uri_encode(out, segment, false);
            if (rc < 0)
                return rc;
        }
    }
    return open ? buf_u8(out, '/') : 0;
}

/* ---- headers ---- */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static int name_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    for (size_t i = 0; i < n; i++) {
        int c = lower(a.ptr[i]) - lower(b.ptr[i]);
        if (c)
            return c;
    }
    return (a.len > b.len) - (a.len < b.len);
}

static int append_lower(struct buf *b, struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        int rc = buf_u8(b, lower(name.ptr[i]));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Without space around it, and with runs of white space as one space. */
static int append_value(struct buf *b, struct slice value)
{
    bool space = false, any = false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.ptr[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            space = any;
            continue;
        }
        int rc = space ? buf_u8(b, ' ') : 0;
        if (rc == 0)
            rc = buf_u8(b, c);
        if (rc < 0)
            return rc;
        space = false;
        any = true;
    }
    return 0;
}

static void sort_headers(const struct s3_sign_request *req, const struct s3_pair **at)
{
    for (size_t i = 0; i < req->header_count; i++) {
        const struct s3_pair *h = &req->headers[i];
        size_t k = i;
        for (; k > 0 && name_cmp(h->name, at[k - 1]->name) < 0; k--)
            at[k] = at[k - 1];
        at[k] = h;
    }
}

/* Values of one name given twice are joined with a comma, in the order given. */
static int append_headers(struct buf *canonical, struct buf *names, const struct s3_pair **at,
                          size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (i && name_cmp(at[i]->name, at[i - 1]->name) == 0) {
            canonical->len--; /* the newline */
            rc = buf_u8(canonical, ',');
        } else {
            if (names->len)
                rc = buf_u8(names, ';');
            if (rc == 0)
                rc = append_lower(names, at[i]->name);
            if (rc == 0)
                rc = append_lower(canonical, at[i]->name);
            if (rc == 0)
                rc = buf_u8(canonical, ':');
        }
        if (rc == 0)
            rc = append_value(canonical, at[i]->value);
        if (rc == 0)
            rc = buf_u8(canonical, '\n');
    }
    return rc;
}

/* ---- the whole ---- */

static int build_canonical(const struct s3_sign_request *req, struct buf *out, struct buf *names)
{
    const struct s3_pair *at[S3_SIGN_PAIRS];
    int rc = buf_slice(out, req->method);
    if (rc == 0)
        rc = buf_u8(out, '\n');
    if (rc == 0)
        rc = req->normalize_path ? append_normalized(out, req->path)
                                 : s3_uri_encode(out, req->path, true);
    if (rc == 0)
        rc = buf_u8(out, '\n');
    if (rc == 0)
        rc = s3_sign_query(req->query, req->query_count, out);
    if (rc == 0)
        rc = buf_u8(out, '\n');
    sort_headers(req, at);
    if (rc == 0)
        rc = append_headers(out, names, at, req->header_count);
    if (rc == 0)
        rc = buf_u8(out, '\n');
    if (rc == 0)
        rc = buf_slice(out, buf_view(names));
    if (rc == 0)
        rc = buf_u8(out, '\n');
    if (rc == 0)
        rc = buf_slice(out, req->payload_hash);
    return rc;
}

static bool signing_key(const struct s3_sign_request *req, struct slice date, uint8_t key[32])
{
    uint8_t first[4 + 256];
    if (req->secret_key.len > sizeof first - 4)
        return false;
    memcpy(first, "AWS4", 4);
    if (req->secret_key.len)
        memcpy(first + 4, req->secret_key.ptr, req->secret_key.len);
    bool ok = hmac(slice_of(first, 4 + req->secret_key.len), date, key) &&
              hmac(slice_of(key, 32), req->region, key) &&
              hmac(slice_of(key, 32), req->service, key) &&
              hmac(slice_of(key, 32), SLICE("aws4_request"), key);
    OPENSSL_cleanse(first, sizeof first);
    return ok;
}

static int sign_hash(const struct s3_sign_request *req, const char *canonical_hash,
                     struct slice names, struct buf *authorization)
{
    char time[17];
    s3_time_amz(req->unix_s, time);
    struct buf text;
    buf_init(&text, 1024);
    uint8_t key[32], digest[32];
    char signature[65];
    int rc = buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%.*s/%.*s/aws4_request\n%s", time, time,
                        SLICE_ARGS(req->region), SLICE_ARGS(req->service), canonical_hash);
    if (rc == 0 && (!signing_key(req, slice_of(time, 8), key) ||
                    !hmac(slice_of(key, sizeof key), buf_view(&text), digest)))
        rc = ERR_INVALID;
    OPENSSL_cleanse(key, sizeof key);
    buf_clear(&text);
    if (rc < 0)
        return rc;
    hex32(digest, signature);
    return buf_printf(authorization,
                      "AWS4-HMAC-SHA256 Credential=%.*s/%.8s/%.*s/%.*s/aws4_request, "
                      "SignedHeaders=%.*s, Signature=%s",
                      SLICE_ARGS(req->access_key), time, SLICE_ARGS(req->region),
                      SLICE_ARGS(req->service), SLICE_ARGS(names), signature);
}

int s3_sign(const struct s3_sign_request *req, struct buf *authorization, char canonical_hash[65],
            struct err *err)
{
    if (req->header_count > S3_SIGN_PAIRS || req->query_count > S3_SIGN_PAIRS)
        return err_set(err, ERR_LIMIT, "%zu headers and %zu query pairs to sign; at most %u each",
                       req->header_count, req->query_count, S3_SIGN_PAIRS);
    struct buf canonical, names;
    char hash[65];
    buf_init(&canonical, CANONICAL_BYTES_MAX);
    buf_init(&names, CANONICAL_BYTES_MAX);
    int rc = build_canonical(req, &canonical, &names);
    if (rc == 0) {
        s3_sha256_hex(buf_view(&canonical), hash);
        if (canonical_hash)
            memcpy(canonical_hash, hash, sizeof hash);
        rc = sign_hash(req, hash, buf_view(&names), authorization);
    }
    buf_clear(&canonical);
    buf_clear(&names);
    return rc < 0 ? err_set(err, rc, "the request cannot be signed: %s", err_code_name(rc)) : 0;
}
