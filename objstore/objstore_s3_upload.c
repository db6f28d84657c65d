/* Multipart uploads: a large PUT from memory, and a streamed one that copies into parts.
 *
 * Nothing is visible before the upload completes, and what fails is aborted, so that no parts are
 * left that somebody pays for. (A process that dies leaves them: the bucket wants a lifecycle
 * rule.) */
#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"
#include "objstore/s3_request_priv.h"
#include "objstore/s3_text.h"

struct part_tag {
    char etag[72];
};

/* An upload that the server knows of. */
struct multipart {
    struct s3_store *store;
    struct buf key; /* with the store's prefix */
    uint64_t deadline_ns;
    uint64_t bytes;
    uint64_t start_unix_s; /* by the store's clock */
    char id[1024];
    VEC(struct part_tag) tags; /* by part number, from 1 */
};

/* A 404 to a write says that the upload is gone, not that a key is missing. */
static int write_code(int rc)
{
    return rc == ERR_NOTFOUND ? ERR_IO : rc;
}

/* ---- create, complete, abort ---- */

static int multipart_init(struct multipart *m, struct s3_store *s, struct slice key,
                          uint64_t deadline_ns, struct err *err)
{
    *m = (struct multipart){.store = s, .deadline_ns = deadline_ns};
    m->start_unix_s = clock_unix_ns(s->base.clock) / NS_PER_S + (uint64_t)atomic_load(&s->skew_s);
    buf_init(&m->key, 2 * LIMIT_KEY_BYTES);
    return s3_full_key(s, key, &m->key, err);
}

static void multipart_clear(struct multipart *m)
{
    buf_clear(&m->key);
    vec_free(&m->tags);
}

static int multipart_create(struct multipart *m, struct err *err)
{
    struct s3_request r = {
        .store = m->store,
        .op = OBJSTORE_OP_POST,
        .method = "POST",
        .key = buf_view(&m->key),
        .query = {{SLICE("uploads"), SLICE("")}},
        .query_count = 1,
        .deadline_ns = m->deadline_ns,
    };
    buf_init(&r.out, LIMIT_S3_ERROR_BYTES);
    struct s3_xml_want want = {"UploadId", m->id, sizeof m->id};
    int rc = s3_request_run(&r, err);
    if (rc == 0)
        rc = s3_xml_read(buf_view(&r.out), &want, 1, NULL, 0, err);
    if (rc == 0 && !m->id[0])
        rc = err_set(err, ERR_CORRUPT, "the new upload has no usable UploadId");
    s3_request_clear(&r);
    return rc < 0 ? (err_wrap(err, "beginning a multipart upload"), rc) : 0;
}

static void multipart_abort(struct multipart *m)
{
    if (!m->id[0])
        return;
    /* The upload's own deadline may be what failed it. */
    uint64_t soon_ns = clock_mono_ns(m->store->base.clock) + 5 * NS_PER_S;
    struct s3_request r = {
        .store = m->store,
        .op = OBJSTORE_OP_DELETE,
        .method = "DELETE",
        .key = buf_view(&m->key),
        .query = {{SLICE("uploadId"), slice_cstr(m->id)}},
        .query_count = 1,
        .deadline_ns = soon_ns,
    };
    struct err err;
    buf_init(&r.out, LIMIT_S3_ERROR_BYTES);
    if (s3_request_run(&r, &err) < 0)
        LOG_WARN(m->store->base.log, "multipart upload not aborted",
                 KV_SLICE("key", buf_view(&m->key)), KV_ERR(&err));
    s3_request_clear(&r);
}

/* S3 begins its 200 before it knows the outcome: the body tells. */
static enum s3_verdict judge_complete(struct s3_request *r)
{
    char root[64];
    struct s3_error e;
    if (r->call.rc < 0 || r->status != 200)
        return S3_COMMON;
    int rc = s3_xml_read(buf_view(&r->out), NULL, 0, root, sizeof root, &r->err);
    if (rc < 0) { /* cut, or never finished */
        r->rc = rc == ERR_CORRUPT ? err_set(&r->err, ERR_IO, "status 200 without a result") : rc;
        return S3_AGAIN;
    }
    if (strcmp(root, "CompleteMultipartUploadResult") == 0)
        return S3_COMMON;
    s3_xml_error(buf_view(&r->out), &e);
    bool overload = strcmp(e.code, "SlowDown") == 0 || strcmp(e.code, "ServiceUnavailable") == 0;
    bool passing = overload || strcmp(e.code, "InternalError") == 0;
    r->rc = err_set(&r->err,
                    overload    ? ERR_UNAVAILABLE
                    : passing   ? ERR_IO
                    : e.code[0] ? ERR_IO
                                : ERR_CORRUPT,
                    "status 200 with the error %s: %s", e.code[0] ? e.code : root, e.message);
    return passing ? S3_AGAIN : S3_DONE;
}

static int complete_body(const struct multipart *m, struct buf *body, struct err *err)
{
    int rc = buf_str(body, "<CompleteMultipartUpload>");
    for (uint32_t i = 0; i < m->tags.count && rc == 0; i++)
        rc = buf_printf(body, "<Part><PartNumber>%u</PartNumber><ETag>&quot;%s&quot;</ETag></Part>",
                        i + 1, m->tags.at[i].etag);
    if (rc == 0)
        rc = buf_str(body, "</CompleteMultipartUpload>");
    return rc < 0 ? err_set(err, rc, "no memory for the list of parts") : 0;
}

/* The upload is unknown: an earlier try may have completed it, its answer lost. (Ours, or one that
 * curl made by itself on a fresh connection.) Then an object of our size stands there, no older
 * than the upload, give or take a minute between the clocks. */
static bool is_there(struct multipart *m, struct slice key)
{
    struct objstore_info info = {0};
    return s3_head(&m->store->base, key, m->deadline_ns, &info, NULL) == 0 &&
           info.bytes == m->bytes && info.modified_unix_ns / NS_PER_S + 60 >= m->start_unix_s;
}

static int multipart_complete(struct multipart *m, struct err *err)
{
    struct buf body;
    buf_init(&body, LIMIT_S3_XML_BYTES);
    int rc = complete_body(m, &body, err);
    struct s3_request r = {
        .store = m->store,
        .op = OBJSTORE_OP_POST,
        .method = "POST",
        .key = buf_view(&m->key),
        .query = {{SLICE("uploadId"), slice_cstr(m->id)}},
        .query_count = 1,
        .body = buf_view(&body),
        .deadline_ns = m->deadline_ns,
        .judge = judge_complete,
    };
    buf_init(&r.out, LIMIT_S3_ERROR_BYTES);
    if (rc == 0)
        rc = s3_request_run(&r, err);
    struct slice key = slice_from(buf_view(&m->key), strlen(m->store->prefix));
    if (rc == ERR_NOTFOUND)
        rc = is_there(m, key) ? 0 : err_set(err, ERR_IO, "%s", r.err.msg);
    s3_request_clear(&r);
    buf_clear(&body);
    return rc < 0 ? (err_wrap(err, "completing a multipart upload"), rc) : 0;
}

/* ---- parts ---- */

struct part {
    struct s3_request r;
    struct multipart *m;
    uint32_t number; /* from 1; 0: the place is free */
    char number_text[12];
    struct buf bytes; /* the streamed upload's copy */
};

static enum s3_verdict judge_part(struct s3_request *r)
{
    struct part *p = r->user;
    if (r->call.rc < 0 || r->status != 200)
        return S3_COMMON;
    struct part_tag *tag = &p->m->tags.at[p->number - 1];
    s3_etag_copy(s3_request_header(r, "ETag"), tag->etag, sizeof tag->etag);
    r->rc = tag->etag[0] && !strpbrk(tag->etag, "<&>\"")
                ? 0
                : err_set(&r->err, ERR_CORRUPT, "part %u has no usable ETag", p->number);
    return S3_DONE;
}

static int part_start(struct part *p, struct multipart *m, struct slice body,
                      struct s3_batch *batch, struct err *err)
{
    if (m->tags.count == LIMIT_S3_PARTS)
        return err_set(err, ERR_LIMIT, "more than %u parts", LIMIT_S3_PARTS);
    if (!vec_push(&m->tags, (struct part_tag){.etag = ""}))
        return err_set(err, ERR_NOMEM, "no memory for a part");
    p->m = m;
    p->number = m->tags.count;
    m->bytes += body.len;
    snprintf(p->number_text, sizeof p->number_text, "%u", p->number);
    p->r = (struct s3_request){
        .store = m->store,
        .op = OBJSTORE_OP_PUT,
        .method = "PUT",
        .key = buf_view(&m->key),
        .query = {{SLICE("partNumber"), slice_cstr(p->number_text)},
                  {SLICE("uploadId"), slice_cstr(m->id)}},
        .query_count = 2,
        .body = body,
        .deadline_ns = m->deadline_ns,
        .judge = judge_part,
        .user = p,
    };
    buf_init(&p->r.out, LIMIT_S3_ERROR_BYTES);
    s3_batch_start(batch, &p->r);
    return 0;
}

/* Frees the places of finished parts. The first failure is the upload's. */
static int collect(struct part *parts, size_t count, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        struct part *p = &parts[i];
        if (!p->number || !p->r.finished)
            continue;
        if (p->r.rc < 0 && rc == 0)
            rc = err_set(err, write_code(p->r.rc), "part %u: %s", p->number, p->r.err.msg);
        s3_request_clear(&p->r);
        p->number = 0;
    }
    return rc;
}

static struct part *free_place(struct part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!parts[i].number)
            return &parts[i];
    }
    return NULL;
}

/* ---- a large PUT from memory ---- */

static int put_parts(struct multipart *m, struct part *parts, struct slice body,
                     struct s3_batch *batch, struct err *err)
{
    /* Equal parts but the last, as some stores want; more bytes each when 10000 would not do. */
    uint64_t part_bytes = m->store->part_bytes;
    uint64_t least = body.len / LIMIT_S3_PARTS + 1;
    if (part_bytes < least)
        part_bytes = least;
    int rc = 0;
    for (size_t at = 0; at < body.len && rc == 0;) {
        s3_batch_wait(batch, LIMIT_S3_PARTS_PARALLEL - 1);
        rc = collect(parts, LIMIT_S3_PARTS_PARALLEL, err);
        struct part *p = free_place(parts, LIMIT_S3_PARTS_PARALLEL);
        size_t n = body.len - at < part_bytes ? body.len - at : (size_t)part_bytes;
        if (rc == 0)
            rc = part_start(p, m, slice_of(body.ptr + at, n), batch, err);
        at += n;
    }
    /* After a failure nothing more is sent, but what is under way is waited for: it points into the
     * caller's memory. */
    s3_batch_wait(batch, 0);
    int last = collect(parts, LIMIT_S3_PARTS_PARALLEL, rc == 0 ? err : NULL);
    return rc < 0 ? rc : last;
}

int s3_put_multipart(struct s3_store *s, struct slice key, struct slice body, uint64_t deadline_ns,
                     struct err *err)
{
    struct multipart m;
    struct s3_batch batch;
    struct part *parts = calloc(LIMIT_S3_PARTS_PARALLEL, sizeof *parts);
    s3_batch_init(&batch, s);
    int rc = multipart_init(&m, s, key, deadline_ns, err);
    if (rc == 0 && !parts)
        rc = err_set(err, ERR_NOMEM, "no memory for parts");
    if (rc == 0)
        rc = multipart_create(&m, err);
    if (rc == 0)
        rc = put_parts(&m, parts, body, &batch, err);
    if (rc == 0)
        rc = multipart_complete(&m, err);
    if (rc < 0)
        multipart_abort(&m);
    s3_batch_clear(&batch);
    multipart_clear(&m);
    free(parts);
    return rc;
}

/* ---- a streamed upload ---- */

struct s3_upload {
    struct objstore_upload base;
    struct multipart m;
    struct buf key; /* without the store's prefix */
    struct s3_batch batch;
    struct buf fill; /* the part that is being filled */
    struct part parts[LIMIT_S3_UPLOAD_PARALLEL];
    uint64_t part_bytes;
};

static void upload_free(struct s3_upload *u)
{
    s3_batch_wait(&u->batch, 0);
    collect(u->parts, LIMIT_S3_UPLOAD_PARALLEL, NULL);
    for (size_t i = 0; i < LIMIT_S3_UPLOAD_PARALLEL; i++)
        buf_clear(&u->parts[i].bytes);
    s3_batch_clear(&u->batch);
    multipart_clear(&u->m);
    buf_clear(&u->key);
    buf_clear(&u->fill);
    free(u);
}

int s3_upload_begin(struct objstore *store, struct slice key, uint64_t deadline_ns,
                    struct objstore_upload **out, struct err *err)
{
    struct s3_store *s = (struct s3_store *)store;
    struct s3_upload *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, ERR_NOMEM, "no memory for an upload");
    u->part_bytes =
        s->part_bytes < LIMIT_S3_UPLOAD_PART_BYTES ? s->part_bytes : LIMIT_S3_UPLOAD_PART_BYTES;
    s3_batch_init(&u->batch, s);
    buf_init(&u->key, LIMIT_KEY_BYTES);
    buf_init(&u->fill, (size_t)u->part_bytes);
    int rc = multipart_init(&u->m, s, key, deadline_ns, err);
    if (rc == 0 && buf_slice(&u->key, key) < 0)
        rc = err_set(err, ERR_NOMEM, "no memory for an upload");
    if (rc < 0) {
        upload_free(u);
        return rc;
    }
    *out = &u->base;
    return 0;
}

/* Sends the filled part; waits only when all places are taken. */
static int send_fill(struct s3_upload *u, struct err *err)
{
    int rc = u->m.id[0] ? 0 : multipart_create(&u->m, err);
    if (rc < 0)
        return rc;
    s3_batch_wait(&u->batch, LIMIT_S3_UPLOAD_PARALLEL - 1);
    rc = collect(u->parts, LIMIT_S3_UPLOAD_PARALLEL, err);
    if (rc < 0)
        return rc;
    struct part *p = free_place(u->parts, LIMIT_S3_UPLOAD_PARALLEL);
    struct buf spare = p->bytes;
    p->bytes = u->fill;
    u->fill = spare;
    u->fill.max = (size_t)u->part_bytes;
    buf_reset(&u->fill);
    return part_start(p, &u->m, buf_view(&p->bytes), &u->batch, err);
}

int s3_upload_write(struct objstore_upload *base, struct slice bytes, struct err *err)
{
    struct s3_upload *u = (struct s3_upload *)base;
    while (bytes.len) {
        size_t room = (size_t)u->part_bytes - u->fill.len;
        size_t n = bytes.len < room ? bytes.len : room;
        int rc = buf_append(&u->fill, bytes.ptr, n);
        if (rc < 0)
            return err_set(err, rc, "no memory for a part");
        bytes = slice_from(bytes, n);
        if (u->fill.len == u->part_bytes && bytes.len) {
            rc = send_fill(u, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int s3_upload_finish(struct objstore_upload *base, struct err *err)
{
    struct s3_upload *u = (struct s3_upload *)base;
    int rc;
    if (!u->m.id[0]) {
        rc = s3_put_single(u->m.store, buf_view(&u->key), buf_view(&u->fill), 0, u->m.deadline_ns,
                           err);
        upload_free(u);
        return rc;
    }
    rc = u->fill.len ? send_fill(u, err) : 0;
    s3_batch_wait(&u->batch, 0);
    int last = collect(u->parts, LIMIT_S3_UPLOAD_PARALLEL, rc == 0 ? err : NULL);
    if (rc == 0)
        rc = last;
    if (rc == 0)
        rc = multipart_complete(&u->m, err);
    if (rc < 0)
        multipart_abort(&u->m);
    upload_free(u);
    return rc;
}

void s3_upload_abort(struct objstore_upload *base)
{
    struct s3_upload *u = (struct s3_upload *)base;
    s3_batch_wait(&u->batch, 0);
    multipart_abort(&u->m);
    upload_free(u);
}
