/* The store's face: checks keys, resolves deadlines, measures, and hands each call to the driver.
 *
 * Drivers say what went wrong; operation, key and store are put before it here, so that every text
 * that leaves the room names them in the same way. */
#include "objstore/objstore.h"

#include <assert.h>
#include <stdio.h>

#include "base/random.h"
#include "base/text.h"
#include "objstore/objstore_priv.h"

static const char *const op_names[] = {
    [OBJSTORE_OP_GET] = "GET",       [OBJSTORE_OP_PUT] = "PUT",   [OBJSTORE_OP_POST] = "POST",
    [OBJSTORE_OP_DELETE] = "DELETE", [OBJSTORE_OP_LIST] = "LIST", [OBJSTORE_OP_HEAD] = "HEAD",
};

/* ---- keys ---- */

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    }
    return false;
}

static bool segment_is_bad(struct slice segment)
{
    return segment.len == 0 || slice_eq(segment, SLICE(".")) || slice_eq(segment, SLICE(".."));
}

/* NULL when the key is fine. With `open`, the last segment may be anything: a list prefix. */
static const char *key_fault(struct slice key, bool open)
{
    if (key.len > LIMIT_KEY_BYTES)
        return "is longer than 1024 bytes";
    if (!utf8_valid(key))
        return "is not UTF-8";
    if (has_control(key))
        return "has a control character";
    for (struct slice rest = key;;) {
        size_t n = slice_find(rest, '/');
        bool last = n == rest.len;
        if ((!last || !open) && segment_is_bad(slice_of(rest.ptr, n)))
            return "has an empty, '.' or '..' segment";
        if (last)
            return NULL;
        rest = slice_from(rest, n + 1);
    }
}

static int key_error(struct slice key, const char *fault, struct err *err)
{
    char shown[LIMIT_KEY_SHOWN * 4];
    return err_set(err, ERR_INVALID, "key '%s' %s",
                   text_escape(key, LIMIT_KEY_SHOWN, shown, sizeof shown), fault);
}

int objstore_check_key(struct slice key, struct err *err)
{
    const char *fault = key_fault(key, false);
    return fault ? key_error(key, fault, err) : 0;
}

bool objstore_key_is_valid(struct slice key)
{
    return !key_fault(key, false);
}

int objstore_check_prefix(struct slice prefix, struct slice *out, struct err *err)
{
    while (prefix.len && prefix.ptr[0] == '/')
        prefix = slice_from(prefix, 1);
    while (prefix.len && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    *out = prefix;
    const char *fault = prefix.len ? key_fault(prefix, false) : NULL;
    if (fault)
        return key_error(prefix, fault, err);
    if (prefix.len > LIMIT_KEY_BYTES / 2)
        return key_error(prefix, "is longer than 512 bytes", err);
    return 0;
}

void objstore_resolve_range(const struct objstore_get *get, uint64_t object_bytes, uint64_t *from,
                            uint64_t *to)
{
    *from = 0;
    *to = object_bytes;
    if (get->range == OBJSTORE_RANGE) {
        *from = get->offset < object_bytes ? get->offset : object_bytes;
        if (get->bytes < object_bytes - *from)
            *to = *from + get->bytes;
    } else if (get->range == OBJSTORE_SUFFIX && get->bytes < object_bytes) {
        *from = object_bytes - get->bytes;
    }
}

/* ---- common part ---- */

static void register_metrics(struct objstore_metrics *m, struct metrics *reg)
{
    static const double bounds[] = {.005, .02, .08, .32, 1.28, 5.12};
    static const char *const labels[] = {"operation", "status_code"};
    m->duration = metrics_histogram_family(reg, "tempodb_backend_request_duration_seconds",
                                           "Time spent doing backend storage requests.", bounds,
                                           sizeof bounds / sizeof bounds[0], labels, 2);
    m->get_bytes = metrics_counter(reg, "objstore_get_bytes_total", "Bytes read from the store.");
    m->put_bytes = metrics_counter(reg, "objstore_put_bytes_total", "Bytes written to the store.");
    m->retries = metrics_counter(reg, "objstore_retries_total", "Requests that were sent again.");
}

void objstore_init(struct objstore *s, const struct objstore_ops *ops,
                   const struct objstore_env *env)
{
    s->ops = ops;
    s->log = env->log;
    s->clock = env->clock ? env->clock : &clock_system;
    s->read_only = env->read_only;
    if (env->metrics)
        register_metrics(&s->metrics, env->metrics);
}

void objstore_observe(struct objstore *s, enum objstore_op op, int status, uint64_t start_ns)
{
    if (!s->metrics.duration)
        return;
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    struct slice values[] = {slice_cstr(op_names[op]), status ? slice_cstr(text) : SLICE("error")};
    uint64_t ns = clock_mono_ns(s->clock) - start_ns;
    histogram_observe(metrics_histogram_with(s->metrics.duration, values), (double)ns / 1e9);
}

void objstore_free(struct objstore *s)
{
    if (s)
        s->ops->free(s);
}

struct slice objstore_describe(const struct objstore *s)
{
    return slice_cstr(s->describe);
}

static uint64_t resolve_deadline(const struct objstore *s, uint64_t deadline_ns)
{
    return deadline_ns ? deadline_ns : clock_mono_ns(s->clock) + LIMIT_OBJSTORE_DEADLINE_NS;
}

static int status_of(int rc)
{
    return rc == 0 ? 200 : rc == ERR_EXISTS ? 412 : err_code_http(rc);
}

/* What every call ends with: measured once, the text completed. Returns rc. */
static int ended(struct objstore *s, enum objstore_op op, struct slice key, uint64_t start_ns,
                 int rc, struct err *err)
{
    if (!s->ops->observes)
        objstore_observe(s, op, status_of(rc), start_ns);
    if (rc < 0) {
        char shown[LIMIT_KEY_SHOWN * 4];
        text_escape(key, LIMIT_KEY_SHOWN, shown, sizeof shown);
        err_wrap(err, "%s '%s' (%s)", op_names[op], shown, s->describe);
    }
    return rc;
}

/* ---- reading ---- */

static void check_gets(struct objstore_get *gets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        gets[i].object_bytes = 0;
        gets[i].rc = objstore_check_key(gets[i].key, &gets[i].err);
        if (gets[i].rc == 0 && gets[i].range == OBJSTORE_RANGE &&
            gets[i].bytes > UINT64_MAX - gets[i].offset)
            gets[i].rc = err_set(&gets[i].err, ERR_INVALID, "range ends past 2^64");
    }
}

int objstore_get_many(struct objstore *s, struct objstore_get *gets, size_t count,
                      uint64_t deadline_mono_ns, struct err *err)
{
    uint64_t start_ns = clock_mono_ns(s->clock);
    check_gets(gets, count);
    s->ops->get_many(s, gets, count, resolve_deadline(s, deadline_mono_ns));
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        struct objstore_get *g = &gets[i];
        ended(s, OBJSTORE_OP_GET, g->key, start_ns, g->rc, &g->err);
        if (g->rc < 0)
            buf_clear(&g->out);
        else
            counter_add(s->metrics.get_bytes, g->out.len);
        if (g->rc < 0 && rc == 0) {
            rc = g->rc;
            err_set(err, g->err.code, "%s", g->err.msg);
        }
    }
    return rc;
}

int objstore_get(struct objstore *s, struct slice key, uint64_t deadline_mono_ns, struct buf *out,
                 struct err *err)
{
    struct objstore_get g = {.key = key, .range = OBJSTORE_WHOLE, .out = *out};
    int rc = objstore_get_many(s, &g, 1, deadline_mono_ns, err);
    *out = g.out;
    return rc;
}

int objstore_head(struct objstore *s, struct slice key, uint64_t deadline_mono_ns,
                  struct objstore_info *info, struct err *err)
{
    uint64_t start_ns = clock_mono_ns(s->clock);
    *info = (struct objstore_info){0};
    int rc = objstore_check_key(key, err);
    if (rc == 0)
        rc = s->ops->head(s, key, resolve_deadline(s, deadline_mono_ns), info, err);
    return ended(s, OBJSTORE_OP_HEAD, key, start_ns, rc, err);
}

int objstore_list(struct objstore *s, struct slice prefix, struct slice start_after,
                  bool delimiter_slash, objstore_list_fn *fn, void *ctx, uint64_t deadline_mono_ns,
                  struct err *err)
{
    uint64_t start_ns = clock_mono_ns(s->clock);
    const char *fault = key_fault(prefix, true);
    int rc = fault ? key_error(prefix, fault, err) : 0;
    if (rc == 0 && (start_after.len > LIMIT_KEY_BYTES || !utf8_valid(start_after)))
        rc = key_error(start_after, "is no key to start after", err);
    if (rc == 0) {
        struct objstore_list_query query = {
            .prefix = prefix,
            .start_after = start_after,
            .delimiter_slash = delimiter_slash,
            .fn = fn,
            .ctx = ctx,
            .deadline_ns = resolve_deadline(s, deadline_mono_ns),
        };
        rc = s->ops->list(s, &query, err);
    }
    return ended(s, OBJSTORE_OP_LIST, prefix, start_ns, rc, err);
}

/* ---- writing ---- */

static int check_write(const struct objstore *s, struct slice key, struct err *err)
{
    if (s->read_only)
        return err_set(err, ERR_DENIED, "the store is open for reading only");
    return objstore_check_key(key, err);
}

int objstore_put(struct objstore *s, struct slice key, struct slice body, unsigned flags,
                 uint64_t deadline_mono_ns, struct err *err)
{
    assert((flags & ~(unsigned)OBJSTORE_IF_ABSENT) == 0);
    uint64_t start_ns = clock_mono_ns(s->clock);
    int rc = check_write(s, key, err);
    if (rc == 0)
        rc = s->ops->put(s, key, body, flags, resolve_deadline(s, deadline_mono_ns), err);
    if (rc == 0)
        counter_add(s->metrics.put_bytes, body.len);
    return ended(s, OBJSTORE_OP_PUT, key, start_ns, rc, err);
}

int objstore_delete(struct objstore *s, struct slice key, uint64_t deadline_mono_ns,
                    struct err *err)
{
    uint64_t start_ns = clock_mono_ns(s->clock);
    int rc = check_write(s, key, err);
    if (rc == 0)
        rc = s->ops->remove(s, key, resolve_deadline(s, deadline_mono_ns), err);
    return ended(s, OBJSTORE_OP_DELETE, key, start_ns, rc, err);
}

int objstore_upload_begin(struct objstore *s, struct slice key, uint64_t deadline_mono_ns,
                          struct objstore_upload **out, struct err *err)
{
    uint64_t start_ns = clock_mono_ns(s->clock);
    *out = NULL;
    int rc = check_write(s, key, err);
    if (rc == 0)
        rc = s->ops->upload_begin(s, key, resolve_deadline(s, deadline_mono_ns), out, err);
    if (rc < 0)
        return ended(s, OBJSTORE_OP_PUT, key, start_ns, rc, err);
    struct objstore_upload *u = *out;
    u->store = s;
    u->start_ns = start_ns;
    u->bytes = 0;
    size_t n = key.len < LIMIT_KEY_SHOWN ? key.len : LIMIT_KEY_SHOWN;
    memcpy(u->key, key.ptr, n);
    u->key[n] = 0;
    return 0;
}

int objstore_upload_write(struct objstore_upload *u, struct slice bytes, struct err *err)
{
    int rc = u->store->ops->upload_write(u, bytes, err);
    if (rc == 0)
        u->bytes += bytes.len;
    else
        err_wrap(err, "PUT '%s' (%s), byte %llu", u->key, u->store->describe,
                 (unsigned long long)u->bytes);
    return rc;
}

int objstore_upload_finish(struct objstore_upload *u, struct err *err)
{
    struct objstore_upload was = *u; /* u is gone after finish */
    int rc = was.store->ops->upload_finish(u, err);
    if (rc == 0)
        counter_add(was.store->metrics.put_bytes, was.bytes);
    return ended(was.store, OBJSTORE_OP_PUT, slice_cstr(was.key), was.start_ns, rc, err);
}

void objstore_upload_abort(struct objstore_upload *u)
{
    if (u)
        u->store->ops->upload_abort(u);
}

/* ---- probe ---- */

int objstore_probe(struct objstore *s, struct objstore_caps *caps, uint64_t deadline_mono_ns,
                   struct err *err)
{
    /* No '/' in it, so that it never looks like a tenant; random, so that two probes never meet. */
    uint8_t id[8];
    char hex[2 * sizeof id];
    char key[64];
    random_bytes(id, sizeof id);
    hex_encode(slice_of(id, sizeof id), hex);
    snprintf(key, sizeof key, "rubato-probe-%.*s", (int)sizeof hex, hex);
    struct slice k = slice_cstr(key);

    uint64_t deadline_ns = resolve_deadline(s, deadline_mono_ns);
    caps->create_if_absent = false;
    atomic_store(&s->lacks_create_if_absent, false); /* ask the store itself, not what we know */
    int rc = objstore_put(s, k, SLICE("first"), OBJSTORE_IF_ABSENT, deadline_ns, err);
    if (rc < 0)
        return rc;
    int second = objstore_put(s, k, SLICE("second"), OBJSTORE_IF_ABSENT, deadline_ns, err);
    rc = objstore_delete(s, k, deadline_ns, second < 0 && second != ERR_EXISTS ? NULL : err);
    if (second < 0 && second != ERR_EXISTS)
        return second;
    if (rc < 0)
        return rc;
    caps->create_if_absent = second == ERR_EXISTS;
    atomic_store(&s->lacks_create_if_absent, !caps->create_if_absent);
    return 0;
}
