/* The catalogue in memory: views for queries, additions by this process, and the thread that polls
 * the store. Everything under one lock that is never held across I/O. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/text.h"
#include "catalog/catalog_priv.h"

struct catalog_block *catalog_block_acquire(struct catalog_block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

struct catalog_block *catalog_block_release(struct catalog_block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        arena_free(b->arena); /* b lives in it */
    return NULL;
}

struct catalog_segment *catalog_segment_acquire(struct catalog_segment *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct catalog_segment *catalog_segment_release(struct catalog_segment *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        for (uint32_t i = 0; i < s->footer.section_count; i++)
            shared_bytes_release(s->raw[i]);
        arena_free(s->arena);
    }
    return NULL;
}

/* ---- state ---- */

struct catalog_tenant *catalog_tenant_locked(struct catalog *c, struct slice name, bool make)
{
    uint32_t lo = 0, hi = c->shared.tenants.count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int d = slice_cmp(slice_cstr(c->shared.tenants.at[mid]->name), name);
        if (d == 0)
            return c->shared.tenants.at[mid];
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!make)
        return NULL;
    struct catalog_tenant *t = calloc(1, sizeof *t);
    if (!t || !(t->name = strndup((const char *)name.ptr, name.len)) ||
        !vec_reserve(&c->shared.tenants, 1)) {
        if (t)
            free(t->name);
        free(t);
        return NULL;
    }
    memmove(c->shared.tenants.at + lo + 1, c->shared.tenants.at + lo,
            (c->shared.tenants.count - lo) * sizeof t);
    c->shared.tenants.at[lo] = t;
    c->shared.tenants.count++;
    return t;
}

uint32_t catalog_block_find(const struct catalog_tenant *t, const uint8_t id[16], bool *found)
{
    uint32_t lo = 0, hi = t->blocks.count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int d = memcmp(t->blocks.at[mid]->meta.id, id, 16);
        if (d == 0) {
            *found = true;
            return mid;
        }
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = false;
    return lo;
}

bool catalog_insert_block_locked(struct catalog *c, struct catalog_tenant *t,
                                 struct catalog_block *b)
{
    bool found;
    uint32_t at = catalog_block_find(t, b->meta.id, &found);
    if (found || catalog_is_superseded_locked(c, slice_cstr(t->name), b->meta.id)) {
        catalog_block_release(b);
        return true;
    }
    if (!vec_reserve(&t->blocks, 1))
        return false;
    memmove(t->blocks.at + at + 1, t->blocks.at + at, (t->blocks.count - at) * sizeof b);
    t->blocks.at[at] = b;
    t->blocks.count++;
    return true;
}

uint32_t catalog_segment_find_locked(const struct catalog *c, struct slice name, bool *found)
{
    uint32_t lo = 0, hi = c->shared.segments.count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int d = slice_cmp(c->shared.segments.at[mid]->name, name);
        if (d == 0) {
            *found = true;
            return mid;
        }
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = false;
    return lo;
}

bool catalog_insert_segment_locked(struct catalog *c, struct catalog_segment *s)
{
    bool found;
    uint32_t at = catalog_segment_find_locked(c, s->name, &found);
    if (found || !vec_reserve(&c->shared.segments, 1))
        return false;
    memmove(c->shared.segments.at + at + 1, c->shared.segments.at + at,
            (c->shared.segments.count - at) * sizeof s);
    c->shared.segments.at[at] = s;
    c->shared.segments.count++;
    return true;
}

void catalog_remove_segment_locked(struct catalog *c, uint32_t index)
{
    struct catalog_segment *s = c->shared.segments.at[index];
    for (uint32_t i = 0; i < s->footer.section_count; i++) {
        if (s->raw[i])
            c->shared.raw_bytes -= s->raw[i]->len;
    }
    c->shared.segments.count--;
    memmove(c->shared.segments.at + index, c->shared.segments.at + index + 1,
            (c->shared.segments.count - index) * sizeof s);
    catalog_segment_release(s);
}

struct catalog_build_state *catalog_build_of_locked(struct catalog *c, struct slice name)
{
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        if (slice_eq(slice_cstr(c->shared.builds.at[i]->name), name))
            return c->shared.builds.at[i];
    }
    return NULL;
}

void catalog_link_builds_locked(struct catalog *c)
{
    for (uint32_t i = 0; i < c->shared.segments.count; i++)
        c->shared.segments.at[i]->build = slice_of(NULL, 0);
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        struct catalog_build_state *b = c->shared.builds.at[i];
        for (uint32_t k = 0; k < b->segments.count; k++) {
            bool found;
            uint32_t at = catalog_segment_find_locked(c, slice_cstr(b->segments.at[k]), &found);
            if (found)
                c->shared.segments.at[at]->build = slice_cstr(b->name);
        }
    }
}

void catalog_gauges_locked(struct catalog *c)
{
    gauge_set(c->m.live_segments, c->shared.segments.count);
    gauge_set(c->m.live_bytes, (int64_t)c->shared.raw_bytes);
}

void catalog_tenant_gauges_locked(struct catalog *c, const struct catalog_tenant *t)
{
    int64_t objects[2] = {0}, bytes[2] = {0};
    for (uint32_t i = 0; i < t->blocks.count; i++) {
        objects[0] += t->blocks.at[i]->meta.total_objects;
        bytes[0] += (int64_t)t->blocks.at[i]->meta.size;
    }
    for (uint32_t i = 0; i < t->dead.count; i++) {
        const struct catalog_block *b = t->dead.at[i].dead.block;
        objects[1] += b ? b->meta.total_objects : 0;
        bytes[1] += b ? (int64_t)b->meta.size : 0;
    }
    const struct slice status[] = {SLICE("live"), SLICE("compacted")};
    for (int i = 0; i < 2; i++) {
        const struct slice labels[] = {slice_cstr(t->name), status[i]};
        gauge_set(metrics_gauge_with(c->m.backend_objects, labels), objects[i]);
        gauge_set(metrics_gauge_with(c->m.backend_bytes, labels), bytes[i]);
    }
    struct slice label = slice_cstr(t->name);
    gauge_set(metrics_gauge_with(c->m.blocklist_length, &label), t->blocks.count);
}

bool catalog_tombstone_locked(struct catalog *c, struct slice name)
{
    uint64_t now = clock_mono_ns(c->opts.clock);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->shared.tombstones.count; i++) {
        struct catalog_tombstone t = c->shared.tombstones.at[i];
        if (now - t.at_mono_ns < CATALOG_TOMBSTONE_NS)
            c->shared.tombstones.at[kept++] = t;
        else
            free(t.name);
    }
    c->shared.tombstones.count = kept;
    char *copy = strndup((const char *)name.ptr, name.len);
    if (!copy || !vec_push(&c->shared.tombstones, (struct catalog_tombstone){copy, now})) {
        free(copy);
        return false;
    }
    return true;
}

bool catalog_is_tombstoned_locked(const struct catalog *c, struct slice name)
{
    for (uint32_t i = 0; i < c->shared.tombstones.count; i++) {
        if (slice_eq(slice_cstr(c->shared.tombstones.at[i].name), name))
            return true;
    }
    return false;
}

void catalog_build_state_free(struct catalog_build_state *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->segments.count; i++)
        free(b->segments.at[i]);
    vec_free(&b->segments);
    free(b->name);
    free(b);
}

uint64_t catalog_linger_ns(const struct catalog *c)
{
    return c->opts.linger_ns ? c->opts.linger_ns : CATALOG_LINGER_NS;
}

uint64_t catalog_listing_deadline(const struct catalog *c)
{
    return clock_mono_ns(c->opts.clock) + catalog_linger_ns(c) / 3 * 2;
}

/* ---- life ---- */

int catalog_new(const struct catalog_opts *opts, struct catalog **out, struct err *err)
{
    static const char *const tenant_label[] = {"tenant"};
    static const char *const status_labels[] = {"tenant", "status"};
    static const double poll_bounds[] = {.005, .025, .1, .5, 2.5, 10, 60};
    struct catalog *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NOMEM, "no memory for the catalogue");
    c->opts = *opts;
    c->log = log_room(opts->log, "catalog");
    int rc = block_quarantine_new(&c->log, opts->metrics, &c->quarantine, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    uint8_t id[8];
    random_bytes(id, sizeof id);
    hex_encode(slice_of(id, sizeof id), c->writer);
    struct metrics *m = opts->metrics;
    c->m.poll_errors = metrics_counter(m, "catalog_poll_errors_total",
                                       "Listings of the store that failed.");
    c->m.bad_segments = metrics_counter(m, "catalog_bad_segments_total",
                                        "Segments that could not be read.");
    c->m.bad_blocks = metrics_counter(m, "catalog_bad_blocks_total",
                                      "Blocks whose meta.json could not be read.");
    c->m.live_segments = metrics_gauge(m, "catalog_live_segments",
                                       "Segments that are not in blocks yet.");
    c->m.live_bytes = metrics_gauge(m, "catalog_live_bytes",
                                    "Raw bytes of live segments kept in memory.");
    c->m.blocklist_length = metrics_gauge_family(m, "tempodb_blocklist_length",
                                                 "Live blocks of a tenant.", tenant_label, 1);
    c->m.index_errors = metrics_counter_family(m, "tempodb_blocklist_tenant_index_errors_total",
                                               "Tenant indexes that could not be read.",
                                               tenant_label, 1);
    c->m.backend_objects = metrics_gauge_family(m, "tempodb_backend_objects_total",
                                                "Traces in the store.", status_labels, 2);
    c->m.backend_bytes = metrics_gauge_family(m, "tempodb_backend_bytes_total",
                                              "Bytes of blocks in the store.", status_labels, 2);
    c->m.poll_seconds = metrics_histogram(m, "tempodb_blocklist_poll_duration_seconds",
                                          "Time to list the store.", poll_bounds,
                                          sizeof poll_bounds / sizeof poll_bounds[0]);
    pthread_mutex_init(&c->plan_io, NULL);
    pthread_mutex_init(&c->shared.mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->shared.changed, &attr);
    pthread_condattr_destroy(&attr);
    *out = c;
    return 0;
}

static void wait_until_locked(struct catalog *c, uint64_t mono_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(mono_ns / NS_PER_S),
                          .tv_nsec = (long)(mono_ns % NS_PER_S)};
    pthread_cond_timedwait(&c->shared.changed, &c->shared.mu, &ts);
}

static void *catalog_thread(void *arg)
{
    struct catalog *c = arg;
    uint64_t full_at = 0;
    pthread_mutex_lock(&c->shared.mu);
    while (!c->shared.stop) {
        c->shared.poll_now = false;
        uint64_t number = ++c->shared.polls_begun;
        pthread_mutex_unlock(&c->shared.mu);
        uint64_t start = clock_mono_ns(c->opts.clock);
        bool full = start >= full_at;
        struct err err = {0};
        int rc = catalog_poll(c, full, &err);
        uint64_t end = clock_mono_ns(c->opts.clock);
        histogram_observe(c->m.poll_seconds, (double)(end - start) / (double)NS_PER_S);
        if (rc < 0) {
            counter_add(c->m.poll_errors, 1);
            LOG_ERROR(&c->log, "cannot list the store", KV_ERR(&err));
        } else if (full) {
            full_at = start + c->opts.block_poll_ns;
        }
        pthread_mutex_lock(&c->shared.mu);
        if (rc == 0) {
            c->shared.loaded = true;
            c->shared.polls_done = number;
        } else {
            c->shared.load_err = err;
        }
        pthread_cond_broadcast(&c->shared.changed);
        /* A first listing that failed is tried again soon. */
        uint64_t pause = c->shared.loaded ? c->opts.segment_poll_ns : NS_PER_S;
        uint64_t next = end + pause;
        while (!c->shared.stop && !c->shared.poll_now && clock_mono_ns(c->opts.clock) < next)
            wait_until_locked(c, next);
    }
    pthread_mutex_unlock(&c->shared.mu);
    return NULL;
}

int catalog_start(struct catalog *c, struct err *err)
{
    int rc = pthread_create(&c->thread, NULL, catalog_thread, c);
    if (rc)
        return err_set(err, ERR_UNAVAILABLE, "cannot start the catalogue's thread: %s",
                       strerror(rc));
    pthread_setname_np(c->thread, "catalog");
    c->started = true;
    return 0;
}

void catalog_stop(struct catalog *c)
{
    if (!c->started)
        return;
    pthread_mutex_lock(&c->shared.mu);
    c->shared.stop = true;
    pthread_cond_broadcast(&c->shared.changed);
    pthread_mutex_unlock(&c->shared.mu);
    pthread_join(c->thread, NULL);
    c->started = false;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    catalog_stop(c);
    for (uint32_t i = 0; i < c->shared.tenants.count; i++) {
        struct catalog_tenant *t = c->shared.tenants.at[i];
        for (uint32_t k = 0; k < t->blocks.count; k++)
            catalog_block_release(t->blocks.at[k]);
        for (uint32_t k = 0; k < t->dead.count; k++)
            catalog_block_release(t->dead.at[k].dead.block);
        vec_free(&t->blocks);
        vec_free(&t->dead);
        vec_free(&t->flagged);
        free(t->name);
        free(t);
    }
    while (c->shared.segments.count)
        catalog_remove_segment_locked(c, c->shared.segments.count - 1);
    catalog_forget_lent_locked(c);
    for (uint32_t i = 0; i < c->shared.builds.count; i++)
        catalog_build_state_free(c->shared.builds.at[i]);
    for (uint32_t i = 0; i < c->shared.plans.count; i++)
        catalog_plan_state_free(c->shared.plans.at[i]);
    for (uint32_t i = 0; i < c->shared.build_names.count; i++)
        free(c->shared.build_names.at[i]);
    for (uint32_t i = 0; i < c->shared.tombstones.count; i++)
        free(c->shared.tombstones.at[i].name);
    vec_free(&c->shared.plans);
    vec_free(&c->shared.build_names);
    vec_free(&c->shared.tenants);
    vec_free(&c->shared.segments);
    vec_free(&c->shared.builds);
    vec_free(&c->shared.tombstones);
    block_quarantine_free(c->quarantine);
    pthread_cond_destroy(&c->shared.changed);
    pthread_mutex_destroy(&c->shared.mu);
    pthread_mutex_destroy(&c->plan_io);
    free(c);
}

static int wait_loaded_locked(struct catalog *c, uint64_t deadline_mono_ns, struct err *err)
{
    while (!c->shared.loaded) {
        if (c->shared.stop)
            return err_set(err, ERR_UNAVAILABLE, "stopping");
        if (clock_mono_ns(c->opts.clock) >= deadline_mono_ns) {
            if (c->shared.load_err.code) {
                if (err)
                    *err = c->shared.load_err;
                return c->shared.load_err.code;
            }
            return err_set(err, ERR_TIMEOUT, "the first listing of the store is not done");
        }
        wait_until_locked(c, deadline_mono_ns);
    }
    return 0;
}

int catalog_wait(struct catalog *c, uint64_t deadline_mono_ns, struct err *err)
{
    pthread_mutex_lock(&c->shared.mu);
    int rc = wait_loaded_locked(c, deadline_mono_ns, err);
    pthread_mutex_unlock(&c->shared.mu);
    return rc;
}

int catalog_refresh(struct catalog *c, uint64_t deadline_mono_ns, struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&c->shared.mu);
    uint64_t wanted = c->shared.polls_begun + 1;
    c->shared.poll_now = true;
    pthread_cond_broadcast(&c->shared.changed);
    while (rc == 0 && c->shared.polls_done < wanted) {
        if (c->shared.stop)
            rc = err_set(err, ERR_UNAVAILABLE, "stopping");
        else if (clock_mono_ns(c->opts.clock) >= deadline_mono_ns)
            rc = err_set(err, ERR_TIMEOUT, "the store was not listed in time");
        else
            wait_until_locked(c, deadline_mono_ns);
    }
    pthread_mutex_unlock(&c->shared.mu);
    return rc;
}

/* ---- segments of this process ---- */

int catalog_segment_name(struct catalog *c, struct buf *out)
{
    pthread_mutex_lock(&c->shared.mu);
    uint64_t seq = c->shared.seq++;
    pthread_mutex_unlock(&c->shared.mu);
    return buf_printf(out, "%s%013llu-%s-%08llu", CATALOG_WAL_PREFIX,
                      (unsigned long long)(clock_unix_ns(c->opts.clock) / NS_PER_MS), c->writer,
                      (unsigned long long)seq);
}

bool catalog_segment_is_ours(const struct catalog *c, struct slice name)
{
    size_t at = sizeof CATALOG_WAL_PREFIX - 1 + 13 + 1;
    return name.len > at + 16 && memcmp(name.ptr + at, c->writer, 16) == 0;
}

int catalog_add_segment(struct catalog *c, struct slice name, uint64_t bytes, struct arena *a,
                        const struct segment_footer *footer, struct shared_bytes **raw,
                        struct err *err)
{
    struct catalog_segment *s = arena_zalloc(a, sizeof *s);
    if (!s || !arena_slice(a, name, &s->name)) {
        for (uint32_t i = 0; i < footer->section_count; i++)
            shared_bytes_release(raw[i]);
        arena_free(a);
        return err_set(err, ERR_NOMEM, "no memory for a segment");
    }
    atomic_init(&s->refs, 1);
    s->arena = a;
    s->added_mono_ns = clock_mono_ns(c->opts.clock);
    s->bytes = bytes;
    s->footer = *footer;
    s->raw = raw;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < footer->section_count; i++) {
        s->raw_bytes += footer->sections[i].raw_bytes;
        if (!raw[i])
            continue;
        if (c->shared.raw_bytes + raw[i]->len > c->opts.live_bytes_max)
            raw[i] = shared_bytes_release(raw[i]); /* read again when asked for */
        else
            c->shared.raw_bytes += raw[i]->len;
    }
    bool ok = catalog_insert_segment_locked(c, s);
    if (ok)
        catalog_gauges_locked(c);
    pthread_mutex_unlock(&c->shared.mu);
    if (!ok) {
        catalog_segment_release(s);
        return err_set(err, ERR_NOMEM, "no memory for a segment");
    }
    return 0;
}

/* ---- views ---- */

static int newest_first(const void *a, const void *b)
{
    const struct block_meta *x = &(*(struct catalog_block *const *)a)->meta;
    const struct block_meta *y = &(*(struct catalog_block *const *)b)->meta;
    if (x->end_unix_ns != y->end_unix_ns)
        return x->end_unix_ns < y->end_unix_ns ? 1 : -1;
    return memcmp(x->id, y->id, 16);
}

static bool section_is_visible_locked(struct catalog *c, const struct catalog_segment *s,
                                      struct slice tenant)
{
    if (s->build.len == 0)
        return true;
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    if (!t)
        return true;
    uint8_t id[16];
    bool found;
    catalog_build_block_id(s->build, tenant, id);
    catalog_block_find(t, id, &found);
    return !found && !catalog_is_superseded_locked(c, tenant, id);
}

static int view_locked(struct catalog *c, struct slice tenant, struct arena *a,
                       struct catalog_view *out, struct err *err)
{
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    size_t block_count = t ? t->blocks.count : 0;
    out->blocks = arena_array(a, struct catalog_block *, block_count);
    /* One section a tenant in a segment, for now: slices come with many writers. */
    out->sections = arena_array(a, struct catalog_section, c->shared.segments.count);
    if (!out->blocks || !out->sections)
        return arena_err(a, err, "the list of blocks");
    for (size_t i = 0; i < block_count; i++)
        out->blocks[out->block_count++] = catalog_block_acquire(t->blocks.at[i]);
    for (uint32_t i = 0; i < c->shared.segments.count; i++) {
        struct catalog_segment *s = c->shared.segments.at[i];
        for (uint32_t k = 0; k < s->footer.section_count; k++) {
            if (!slice_eq(s->footer.sections[k].tenant, tenant))
                continue;
            if (section_is_visible_locked(c, s, tenant))
                out->sections[out->section_count++] = (struct catalog_section){
                    catalog_segment_acquire(s), &s->footer.sections[k], k};
            break;
        }
    }
    return 0;
}

int catalog_view(struct catalog *c, struct slice tenant, uint64_t deadline_mono_ns,
                 struct arena *a, struct catalog_view *out, struct err *err)
{
    *out = (struct catalog_view){0};
    pthread_mutex_lock(&c->shared.mu);
    int rc = wait_loaded_locked(c, deadline_mono_ns, err);
    if (rc == 0)
        rc = view_locked(c, tenant, a, out, err);
    pthread_mutex_unlock(&c->shared.mu);
    if (rc == 0)
        qsort(out->blocks, out->block_count, sizeof *out->blocks, newest_first);
    return rc;
}

void catalog_view_release(struct catalog_view *v)
{
    for (size_t i = 0; i < v->block_count; i++)
        catalog_block_release(v->blocks[i]);
    for (size_t i = 0; i < v->section_count; i++)
        catalog_segment_release(v->sections[i].segment);
    *v = (struct catalog_view){0};
}

int catalog_section_raw(struct catalog *c, const struct catalog_section *s,
                        uint64_t deadline_mono_ns, struct shared_bytes **out, struct err *err)
{
    struct catalog_segment *seg = s->segment;
    pthread_mutex_lock(&c->shared.mu);
    *out = seg->raw[s->index] ? shared_bytes_acquire(seg->raw[s->index]) : NULL;
    pthread_mutex_unlock(&c->shared.mu);
    if (*out)
        return 0;

    struct objstore_get get = {.key = seg->name,
                               .range = OBJSTORE_RANGE,
                               .offset = s->section->offset,
                               .bytes = s->section->bytes};
    buf_init(&get.out, LIMIT_SEGMENT_SECTION_BYTES);
    int rc = objstore_get_many(c->opts.store, &get, 1, deadline_mono_ns, err);
    if (rc == 0 && get.out.len != s->section->bytes)
        rc = err_set(err, ERR_CORRUPT, "%.*s: %zu of %llu bytes of a section came",
                     SLICE_ARGS(seg->name), get.out.len, (unsigned long long)s->section->bytes);
    if (rc == 0) {
        rc = segment_section_decode(buf_view(&get.out), s->section, out, err);
        if (rc < 0)
            err_wrap(err, "%.*s", SLICE_ARGS(seg->name));
    }
    buf_clear(&get.out);
    if (rc < 0)
        return rc;

    /* Kept for the next query when there is room and the segment is still live. */
    pthread_mutex_lock(&c->shared.mu);
    bool live;
    uint32_t at = catalog_segment_find_locked(c, seg->name, &live);
    live = live && c->shared.segments.at[at] == seg;
    if ((live || seg->lent) && !seg->raw[s->index] &&
        c->shared.raw_bytes + (*out)->len <= c->opts.live_bytes_max) {
        seg->raw[s->index] = shared_bytes_acquire(*out);
        c->shared.raw_bytes += (*out)->len;
    }
    pthread_mutex_unlock(&c->shared.mu);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int catalog_tenants(struct catalog *c, catalog_tenant_fn *fn, void *ctx)
{
    VEC(char *) names = {0};
    bool ok = true;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.tenants.count && ok; i++) {
        char *name = strdup(c->shared.tenants.at[i]->name);
        ok = name && vec_push(&names, name);
    }
    for (uint32_t i = 0; i < c->shared.segments.count && ok; i++) {
        const struct segment_footer *f = &c->shared.segments.at[i]->footer;
        for (uint32_t k = 0; k < f->section_count && ok; k++) {
            struct slice tenant = f->sections[k].tenant;
            char *name = strndup((const char *)tenant.ptr, tenant.len);
            ok = name && vec_push(&names, name);
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
    if (names.count)
        qsort(names.at, names.count, sizeof names.at[0], compare_names);
    for (uint32_t i = 0; i < names.count; i++) {
        if (ok && (i == 0 || strcmp(names.at[i - 1], names.at[i]) != 0))
            fn(ctx, slice_cstr(names.at[i]));
    }
    for (uint32_t i = 0; i < names.count; i++)
        free(names.at[i]);
    vec_free(&names);
    return ok ? 0 : ERR_NOMEM;
}
