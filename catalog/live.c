/* Live spans as columns: decode the sections, group by trace, shred. */
#include "catalog/live.h"

#include <pthread.h>
#include <stdlib.h>

#include "block/shred.h"
#include "otlp/otlp.h"

struct live {
    atomic_uint refs;
    struct shredder *shredder;
    const struct column *columns;
    uint32_t rows;
    uint64_t bytes;
    VEC(struct shared_bytes *) raws;        /* the columns' strings point into them */
    VEC(struct live_key { struct catalog_segment *segment; }) keys; /* what it was made of */
};

struct live_slot {
    char *tenant;
    bool building;
    struct live *live;
};

struct live_cache {
    struct catalog *catalog;
    const struct clock *clock;
    pthread_mutex_t mu;
    pthread_cond_t built;
    VEC(struct live_slot *) slots; /* hold mu */
};

int live_cache_new(struct catalog *c, const struct clock *clock, struct live_cache **out,
                   struct err *err)
{
    struct live_cache *lc = calloc(1, sizeof *lc);
    if (!lc)
        return err_set(err, ERR_NOMEM, "no memory for the live columns");
    lc->catalog = c;
    lc->clock = clock;
    pthread_mutex_init(&lc->mu, NULL);
    pthread_cond_init(&lc->built, NULL);
    *out = lc;
    return 0;
}

struct live *live_release(struct live *l)
{
    if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) {
        shredder_free(l->shredder);
        for (uint32_t i = 0; i < l->raws.count; i++)
            shared_bytes_release(l->raws.at[i]);
        for (uint32_t i = 0; i < l->keys.count; i++)
            catalog_segment_release(l->keys.at[i].segment);
        vec_free(&l->raws);
        vec_free(&l->keys);
        free(l);
    }
    return NULL;
}

void live_cache_free(struct live_cache *lc)
{
    if (!lc)
        return;
    for (uint32_t i = 0; i < lc->slots.count; i++) {
        live_release(lc->slots.at[i]->live);
        free(lc->slots.at[i]->tenant);
        free(lc->slots.at[i]);
    }
    vec_free(&lc->slots);
    pthread_cond_destroy(&lc->built);
    pthread_mutex_destroy(&lc->mu);
    free(lc);
}

const struct column *live_columns(const struct live *l)
{
    return l->columns;
}

uint32_t live_rows(const struct live *l)
{
    return l->rows;
}

uint64_t live_bytes(const struct live *l)
{
    return l->bytes;
}

/* ---- building ---- */

static int decode_section(const struct shared_bytes *raw, struct span_batch *batch,
                          struct err *err)
{
    struct cursor c = cursor_of(shared_bytes_view(raw));
    struct slice body;
    int rc;
    while ((rc = segment_next(&c, &body, err)) == 0) {
        rc = otlp_decode(body, batch, err);
        if (rc < 0)
            return rc;
        span_batch_end_fragment(batch);
    }
    return rc < 0 ? rc : 0;
}

static int shred_all(struct shredder *s, const struct span_batch *batch, struct err *err)
{
    uint32_t n = batch->spans.count;
    uint32_t *order = malloc((n ? n : 1) * sizeof *order);
    int64_t kept = order ? span_batch_group(batch, order) : ERR_NOMEM;
    int rc = kept < 0 ? err_set(err, ERR_NOMEM, "no memory to group %u spans", n) : 0;
    for (uint32_t i = 0; i < kept && rc == 0;) {
        uint32_t next = i + 1;
        while (next < kept && memcmp(batch->spans.at[order[next]].trace_id,
                                     batch->spans.at[order[i]].trace_id, 16) == 0)
            next++;
        const struct trace t = {batch, order + i, next - i};
        rc = shredder_add(s, &t, err);
        i = next;
    }
    free(order);
    return rc;
}

static int live_build(struct live_cache *lc, const struct catalog_view *view,
                      uint64_t deadline_mono_ns, struct live **out, struct err *err)
{
    struct span_batch batch = {0};
    struct live *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, ERR_NOMEM, "no memory for the live columns");
    atomic_init(&l->refs, 1);
    int rc = shredder_new(&l->shredder, err);
    if (rc == 0)
        rc = shredder_reset(l->shredder, NULL, 0, err);
    for (size_t i = 0; i < view->section_count && rc == 0; i++) {
        struct shared_bytes *raw;
        rc = catalog_section_raw(lc->catalog, &view->sections[i], deadline_mono_ns, &raw, err);
        if (rc < 0)
            break;
        l->bytes += raw->len;
        if (!vec_push(&l->raws, raw)) {
            shared_bytes_release(raw);
            rc = err_set(err, ERR_NOMEM, "no memory for the live columns");
            break;
        }
        struct catalog_segment *segment = view->sections[i].segment;
        if (!vec_push(&l->keys, (struct live_key){segment}))
            rc = err_set(err, ERR_NOMEM, "no memory for the live columns");
        else
            catalog_segment_acquire(segment);
        if (rc == 0)
            rc = decode_section(raw, &batch, err);
    }
    if (rc == 0)
        rc = shred_all(l->shredder, &batch, err);
    span_batch_clear(&batch);
    if (rc < 0) {
        live_release(l);
        return rc;
    }
    l->columns = shredder_columns(l->shredder);
    l->rows = shredder_rows(l->shredder);
    *out = l;
    return 0;
}

static bool same_sections(const struct live *l, const struct catalog_view *view)
{
    if (l->keys.count != view->section_count)
        return false;
    for (uint32_t i = 0; i < l->keys.count; i++) {
        if (l->keys.at[i].segment != view->sections[i].segment)
            return false;
    }
    return true;
}

static struct live_slot *slot_locked(struct live_cache *lc, struct slice tenant)
{
    for (uint32_t i = 0; i < lc->slots.count; i++) {
        if (slice_eq(slice_cstr(lc->slots.at[i]->tenant), tenant))
            return lc->slots.at[i];
    }
    struct live_slot *s = calloc(1, sizeof *s);
    if (!s || !(s->tenant = strndup((const char *)tenant.ptr, tenant.len)) ||
        !vec_push(&lc->slots, s)) {
        if (s)
            free(s->tenant);
        free(s);
        return NULL;
    }
    return s;
}

int live_cache_get(struct live_cache *lc, struct slice tenant, const struct catalog_view *view,
                   uint64_t deadline_mono_ns, struct live **out, struct err *err)
{
    *out = NULL;
    pthread_mutex_lock(&lc->mu);
    struct live_slot *slot = slot_locked(lc, tenant);
    while (slot && slot->building)
        pthread_cond_wait(&lc->built, &lc->mu);
    if (!slot) {
        pthread_mutex_unlock(&lc->mu);
        return err_set(err, ERR_NOMEM, "no memory for the live columns");
    }
    if (view->section_count == 0) {
        slot->live = live_release(slot->live);
        pthread_mutex_unlock(&lc->mu);
        return 0;
    }
    if (slot->live && same_sections(slot->live, view)) {
        *out = slot->live;
        atomic_fetch_add_explicit(&slot->live->refs, 1, memory_order_relaxed);
        pthread_mutex_unlock(&lc->mu);
        return 0;
    }
    slot->building = true;
    slot->live = live_release(slot->live);
    pthread_mutex_unlock(&lc->mu);

    int rc = live_build(lc, view, deadline_mono_ns, out, err);

    pthread_mutex_lock(&lc->mu);
    slot->building = false;
    if (rc == 0) {
        slot->live = *out;
        atomic_fetch_add_explicit(&slot->live->refs, 1, memory_order_relaxed);
    }
    pthread_cond_broadcast(&lc->built);
    pthread_mutex_unlock(&lc->mu);
    return rc;
}

/* ---- one trace ---- */

static bool decode_has_trace(const struct span_batch *b, uint32_t first, const uint8_t id[16])
{
    for (uint32_t i = first; i < b->spans.count; i++) {
        if (memcmp(b->spans.at[i].trace_id, id, 16) == 0)
            return true;
    }
    return false;
}

int live_find_trace(struct catalog *c, const struct catalog_view *view, const uint8_t id[16],
                    uint64_t deadline_mono_ns, struct arena *a, struct span_batch *out,
                    struct shared_bytes ***raws, size_t *raw_count, struct err *err)
{
    uint64_t fingerprint = segment_fingerprint(id);
    *raw_count = 0;
    *raws = arena_array(a, struct shared_bytes *, view->section_count);
    if (!*raws)
        return arena_err(a, err, "a trace");
    int rc = 0;
    for (size_t i = 0; i < view->section_count && rc == 0; i++) {
        if (!segment_has_trace(view->sections[i].section, fingerprint))
            continue;
        struct shared_bytes *raw;
        rc = catalog_section_raw(c, &view->sections[i], deadline_mono_ns, &raw, err);
        if (rc < 0)
            break;
        (*raws)[(*raw_count)++] = raw;
        struct cursor cur = cursor_of(shared_bytes_view(raw));
        struct slice body;
        while ((rc = segment_next(&cur, &body, err)) == 0) {
            const struct span_batch before = *out;
            rc = otlp_decode(body, out, err);
            if (rc < 0)
                break;
            if (decode_has_trace(out, before.spans.count, id)) {
                span_batch_end_fragment(out);
                continue;
            }
            /* Nothing of this request is wanted. */
            out->resources.count = before.resources.count;
            out->scopes.count = before.scopes.count;
            out->spans.count = before.spans.count;
            out->events.count = before.events.count;
            out->links.count = before.links.count;
            out->attrs.count = before.attrs.count;
            out->values.count = before.values.count;
        }
        rc = rc < 0 ? rc : 0;
    }
    return rc;
}
