/* Reading from S3: whole objects, ranges and suffixes, resumed where a connection broke.
 *
 * Every answer is checked against what was asked before a byte of it counts: status, Content-Range
 * or Content-Length, and on a resumed read the ETag, so that two versions are never mixed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "objstore/s3_request_priv.h"
#include "objstore/s3_text.h"

struct s3_get {
    struct s3_request r;
    struct objstore_get *get;
    struct buf key;
    size_t base;       /* bytes that lay in out before */
    size_t max;        /* out's own maximum */
    size_t try_start;  /* length of out when this try began */
    bool known;        /* an answer has told from, to and total */
    bool head_only;    /* only the object's size is wanted */
    uint64_t from, to; /* of the object */
    uint64_t total;
    char etag[72];
    char range_text[64];
    char if_match[76];
};

static size_t got(const struct s3_get *g)
{
    return g->r.out.len - g->base;
}

/* ---- asking ---- */

static void add_header(struct s3_request *r, struct slice name, const char *value)
{
    r->headers[r->header_count++] = (struct s3_pair){name, slice_cstr(value)};
}

static void bound_out(struct s3_get *g, uint64_t bytes)
{
    uint64_t room = g->max - g->base;
    g->r.out.max = g->base + (size_t)(bytes < room ? bytes : room);
}

static void prepare_get(struct s3_request *r)
{
    struct s3_get *g = r->user;
    const struct objstore_get *get = g->get;
    r->header_count = 0;
    g->try_start = r->out.len;
    r->method = g->head_only ? "HEAD" : "GET";
    if (g->head_only)
        return;
    if (g->known) {
        snprintf(g->range_text, sizeof g->range_text, "bytes=%llu-%llu",
                 (unsigned long long)(g->from + got(g)), (unsigned long long)(g->to - 1));
        add_header(r, SLICE("range"), g->range_text);
        if (g->etag[0]) {
            snprintf(g->if_match, sizeof g->if_match, "\"%s\"", g->etag);
            add_header(r, SLICE("if-match"), g->if_match);
        }
        bound_out(g, g->to - g->from);
        return;
    }
    bound_out(g, get->range == OBJSTORE_WHOLE ? UINT64_MAX : get->bytes);
    if (get->range == OBJSTORE_RANGE)
        snprintf(g->range_text, sizeof g->range_text, "bytes=%llu-%llu",
                 (unsigned long long)get->offset,
                 (unsigned long long)(get->offset + get->bytes - 1));
    else
        snprintf(g->range_text, sizeof g->range_text, "bytes=-%llu",
                 (unsigned long long)get->bytes);
    if (get->range != OBJSTORE_WHOLE)
        add_header(r, SLICE("range"), g->range_text);
}

/* ---- checking the head of an answer ---- */

static int corrupt(struct s3_get *g, const char *what)
{
    char shown[160];
    struct slice range = s3_request_header(&g->r, "Content-Range");
    return err_set(&g->r.err, ERR_CORRUPT, "status %d %s (asked %s, Content-Range '%s')",
                   g->r.status, what, g->range_text[0] ? g->range_text : "for all",
                   text_escape(range, 60, shown, sizeof shown));
}

/* The object is another one than the one begun with: read it from its start. */
static int start_over(struct s3_get *g, const char *why)
{
    g->r.out.len = g->base;
    g->known = false;
    err_set(&g->r.err, ERR_IO, "%s", why);
    return 1;
}

static bool etag_differs(struct s3_get *g, const char *etag)
{
    return g->etag[0] && etag[0] && strcmp(g->etag, etag) != 0;
}

static int check_206(struct s3_get *g, const char *etag)
{
    uint64_t from, to, total, want_from, want_to;
    bool none;
    if (!s3_content_range_parse(s3_request_header(&g->r, "Content-Range"), &from, &to, &total,
                                &none) ||
        none)
        return corrupt(g, "without a usable Content-Range");
    if (g->known) {
        if (etag_differs(g, etag) || total != g->total)
            return start_over(g, "the object changed while it was read");
        return from == g->from + (g->try_start - g->base) && to == g->to
                   ? 0
                   : corrupt(g, "with another range than asked for");
    }
    objstore_resolve_range(g->get, total, &want_from, &want_to);
    if (g->get->range == OBJSTORE_WHOLE || from != want_from || to != want_to)
        return corrupt(g, "with another range than asked for");
    g->from = from;
    g->to = to;
    g->total = total;
    return 0;
}

static int check_200(struct s3_get *g)
{
    uint64_t total, from, to;
    if (g->known)
        return start_over(g, "a resumed read was answered with the whole object");
    struct slice length = s3_request_header(&g->r, "Content-Length");
    if (length.len == 0) {
        /* Chunked: curl has seen the end of it, or says so. */
        if (g->r.call.rc < 0)
            return start_over(g, "an answer of unknown length was cut");
        if (!s3_request_header(&g->r, "Transfer-Encoding").len)
            return corrupt(g, "with neither Content-Length nor chunks");
        total = got(g);
    } else if (!parse_u64(length, &total)) {
        return corrupt(g, "with an unreadable Content-Length");
    }
    objstore_resolve_range(g->get, total, &from, &to);
    if (from != 0 || to != total)
        return corrupt(g, "ignores the range");
    g->from = 0;
    g->to = g->total = total;
    return 0;
}

/* 0: the bytes are those asked for; 1: to be started over; ERR_CORRUPT. */
static int check_head(struct s3_get *g)
{
    char etag[sizeof g->etag];
    s3_etag_copy(s3_request_header(&g->r, "ETag"), etag, sizeof etag);
    int rc = g->r.status == 206 ? check_206(g, etag) : check_200(g);
    if (rc == 0 && !g->known) {
        memcpy(g->etag, etag, sizeof etag);
        g->known = true;
    }
    return rc;
}

/* ---- judging ---- */

static enum s3_verdict finished(struct s3_get *g, uint64_t total)
{
    g->total = total;
    g->r.rc = 0;
    return S3_DONE;
}

/* Nothing of the range lies in the object. Its size is told in one of three ways. */
static enum s3_verdict judge_416(struct s3_get *g)
{
    uint64_t from, to, total;
    bool none;
    struct s3_error e;
    s3_xml_error(buf_view(&g->r.call.fail), &e);
    bool told = s3_content_range_parse(s3_request_header(&g->r, "Content-Range"), &from, &to,
                                       &total, &none) ||
                parse_u64(slice_cstr(e.size), &total);
    if (g->known || g->get->range == OBJSTORE_WHOLE) {
        g->r.rc = ERR_IO;
        start_over(g, "the object became shorter while it was read");
        return S3_AGAIN;
    }
    if (!told) {
        g->head_only = true;
        return S3_AT_ONCE;
    }
    objstore_resolve_range(g->get, total, &from, &to);
    if (from == to)
        return finished(g, total);
    g->r.rc = corrupt(g, "for a range that lies in the object");
    return S3_DONE;
}

static enum s3_verdict judge_head_only(struct s3_get *g)
{
    uint64_t total, from, to;
    if (g->r.call.rc < 0 || g->r.status != 200)
        return S3_COMMON;
    if (!parse_u64(s3_request_header(&g->r, "Content-Length"), &total)) {
        g->r.rc = corrupt(g, "without a Content-Length");
        return S3_DONE;
    }
    objstore_resolve_range(g->get, total, &from, &to);
    if (g->get->bytes == 0 || from == to)
        return finished(g, total);
    /* The object has grown since the 416. */
    g->head_only = false;
    g->r.rc = err_set(&g->r.err, ERR_IO, "the object changed while it was read");
    return S3_AGAIN;
}

static enum s3_verdict judge_get(struct s3_request *r)
{
    struct s3_get *g = r->user;
    int rc = r->call.rc;
    if (g->head_only)
        return judge_head_only(g);
    if (rc == 0 && r->status == 416)
        return judge_416(g);
    if (rc == 0 && r->status == 412 && g->known) {
        /* Changed, or a server that takes If-Match otherwise: the start is the safe way on. */
        r->rc = ERR_IO;
        start_over(g, "the object changed while it was read");
        return S3_AGAIN;
    }
    if (r->status != 200 && r->status != 206)
        return S3_COMMON;
    if (rc == ERR_LIMIT && r->status == 200 && g->get->range != OBJSTORE_WHOLE) {
        r->rc = corrupt(g, "ignores the range");
        return S3_DONE;
    }
    bool cut = rc == ERR_IO || rc == ERR_TIMEOUT;
    if (rc < 0 && (!cut || r->out.len == g->try_start))
        return S3_COMMON; /* nothing usable came */
    int checked = check_head(g);
    if (checked != 0) {
        r->rc = checked > 0 ? ERR_IO : checked;
        return checked > 0 ? S3_AGAIN : S3_DONE;
    }
    if (got(g) == g->to - g->from)
        return finished(g, g->total);
    if (got(g) > g->to - g->from) {
        r->rc = corrupt(g, "with more bytes than its range");
        return S3_DONE;
    }
    if (rc < 0)
        return S3_COMMON;
    r->rc = err_set(&r->err, ERR_IO, "the answer ended after %zu of %llu bytes", got(g),
                    (unsigned long long)(g->to - g->from));
    return S3_AGAIN;
}

/* ---- the face ---- */

static int start_get(struct s3_store *s, struct s3_get *g, struct objstore_get *get,
                     struct s3_batch *batch, uint64_t deadline_ns)
{
    buf_init(&g->key, 2 * LIMIT_KEY_BYTES);
    int rc = s3_full_key(s, get->key, &g->key, &get->err);
    if (rc < 0)
        return rc;
    g->get = get;
    g->base = get->out.len;
    g->max = get->out.max;
    g->head_only = get->range != OBJSTORE_WHOLE && get->bytes == 0;
    g->r.store = s;
    g->r.op = OBJSTORE_OP_GET;
    g->r.method = "GET";
    g->r.key = buf_view(&g->key);
    g->r.deadline_ns = deadline_ns;
    g->r.out = get->out;
    g->r.keeps_partial = true;
    g->r.prepare = prepare_get;
    g->r.judge = judge_get;
    g->r.user = g;
    s3_batch_start(batch, &g->r);
    return 0;
}

static void take_result(struct s3_get *g)
{
    struct objstore_get *get = g->get;
    get->out = g->r.out;
    get->out.max = g->max;
    g->r.out = (struct buf){0};
    get->rc = g->r.rc;
    get->err = g->r.err;
    get->object_bytes = g->r.rc == 0 ? g->total : 0;
    s3_request_clear(&g->r);
}

void s3_get_many(struct objstore *store, struct objstore_get *gets, size_t count,
                 uint64_t deadline_ns)
{
    struct s3_store *s = (struct s3_store *)store;
    struct s3_get *all = calloc(count ? count : 1, sizeof *all);
    struct s3_batch batch;
    s3_batch_init(&batch, s);
    for (size_t i = 0; i < count; i++) {
        if (gets[i].rc < 0)
            continue;
        gets[i].rc = all ? start_get(s, &all[i], &gets[i], &batch, deadline_ns)
                         : err_set(&gets[i].err, ERR_NOMEM, "no memory for %zu reads", count);
    }
    s3_batch_wait(&batch, 0);
    s3_batch_clear(&batch);
    for (size_t i = 0; i < count && all; i++) {
        if (all[i].get)
            take_result(&all[i]);
        buf_clear(&all[i].key);
    }
    free(all);
}

int s3_head(struct objstore *store, struct slice key, uint64_t deadline_ns,
            struct objstore_info *info, struct err *err)
{
    struct s3_store *s = (struct s3_store *)store;
    struct buf full;
    buf_init(&full, 2 * LIMIT_KEY_BYTES);
    int rc = s3_full_key(s, key, &full, err);
    struct s3_request r = {
        .store = s,
        .op = OBJSTORE_OP_HEAD,
        .method = "HEAD",
        .key = buf_view(&full),
        .deadline_ns = deadline_ns,
    };
    if (rc == 0)
        rc = s3_request_run(&r, err);
    if (rc == 0 && !parse_u64(s3_request_header(&r, "Content-Length"), &info->bytes))
        rc = err_set(err, ERR_CORRUPT, "status %d without a Content-Length", r.status);
    if (rc == 0) {
        uint64_t modified_s = 0;
        (void)s3_time_parse_http(s3_request_header(&r, "Last-Modified"), &modified_s);
        info->modified_unix_ns = modified_s * NS_PER_S;
        s3_etag_copy(s3_request_header(&r, "ETag"), info->etag, sizeof info->etag);
    }
    s3_request_clear(&r);
    buf_clear(&full);
    return rc;
}
