/* The walk over a source: row group by row group, and in each window by window. */
#include "worker/scan_source.h"

#include <stdlib.h>

#include "base/text.h"
#include "worker/worker_limits.h"

/* ---- memory ---- */

/* A job's arenas. Those of a job that is done go to the next one, which then meets memory that the
 * kernel has filled already; when no job is left, one remains. */
struct scan_memory {
    struct scan_memory *next;
    struct scan scan;
    struct arena *group, *window;
};

static void memory_free(struct scan_memory *m)
{
    if (!m)
        return;
    arena_free(m->window);
    arena_free(m->group);
    free(m);
}

void scan_memories_free(struct worker *w)
{
    for (struct scan_memory *m = w->memories, *next; m; m = next) {
        next = m->next;
        memory_free(m);
    }
    w->memories = NULL;
}

static struct scan_memory *memory_take(struct worker *w)
{
    pthread_mutex_lock(&w->mu);
    struct scan_memory *m = w->memories;
    if (m)
        w->memories = m->next;
    w->jobs++;
    pthread_mutex_unlock(&w->mu);
    if (m)
        return m;
    m = calloc(1, sizeof *m);
    if (m) {
        m->group = arena_new_large(LIMIT_SCAN_BYTES, SCAN_KEEP_GROUP_BYTES);
        m->window = arena_new_large(LIMIT_SCAN_BYTES, SCAN_KEEP_WINDOW_BYTES);
    }
    if (m && m->group && m->window)
        return m;
    memory_free(m);
    return NULL;
}

static void memory_give(struct worker *w, struct scan_memory *m)
{
    struct scan_memory *rest = NULL;
    if (m) {
        arena_reset(m->window);
        arena_reset(m->group);
    }
    pthread_mutex_lock(&w->mu);
    if (m) {
        m->next = w->memories;
        w->memories = m;
    }
    if (--w->jobs == 0 && w->memories) {
        rest = w->memories->next;
        w->memories->next = NULL;
    }
    pthread_mutex_unlock(&w->mu);
    for (struct scan_memory *next; rest; rest = next) {
        next = rest->next;
        memory_free(rest);
    }
}

/* ---- the walk ---- */

static bool is_done(const struct scan_visit *v)
{
    return v->is_done && v->is_done(v->ctx);
}

static int begin(struct scan *s, const struct scan_visit *v, bool *wanted, struct err *err)
{
    *wanted = true;
    int rc = v->begin ? v->begin(v->ctx, s, wanted, err) : 0;
    scan_step(s, QUERY_STEPS);
    return rc;
}

static int visit_window(struct scan *s, const struct scan_visit *v, struct err *err)
{
    int rc = v->batch(v->ctx, s, err);
    scan_step(s, QUERY_STEPS);
    s->stats->traces += s->traces;
    s->stats->spans += s->spans;
    arena_reset(s->arena);
    return rc;
}

/* Rows that have about WINDOW_SPANS spans. */
static int64_t window_rows(const struct scan *s, int64_t rows)
{
    uint64_t spans = scan_span_entries(s);
    if (spans <= WINDOW_SPANS)
        return rows;
    double share = (double)WINDOW_SPANS / (double)spans;
    int64_t n = (int64_t)((double)rows * share);
    return n > 1 ? n : 1;
}

/* Asked before each window, so that a query that is over ends soon. */
static int check_time(const struct scan *s, const struct query_source *source, struct err *err)
{
    if (clock_mono_ns(s->clock) > s->deadline_mono_ns)
        return err_set(err, ERR_TIMEOUT, "the query's time is up");
    if (query_is_cancelled(source))
        return err_set(err, ERR_CANCELLED, "the query was cancelled");
    return 0;
}

static int visit_row_group(struct scan *s, const struct query_source *source,
                           const struct scan_visit *v, struct err *err)
{
    int64_t rows = s->footer->file->row_groups[s->row_group].rows;
    bool wanted;
    int rc = begin(s, v, &wanted, err);
    if (rc == 0 && !wanted) {
        s->stats->row_groups_skipped++;
        s->stats->spans_skipped += scan_span_entries(s);
        return 0;
    }
    s->stats->row_groups++;
    int64_t window = window_rows(s, rows);
    for (int64_t row = 0; row < rows && rc == 0 && !is_done(v); row += window) {
        rc = check_time(s, source, err);
        if (rc < 0)
            break;
        scan_window(s, row, rows - row < window ? rows - row : window);
        rc = visit_window(s, v, err);
    }
    return rc;
}

static int visit_block(struct worker *w, const struct query_source *source,
                       const struct scan_visit *v, struct scan *s, struct err *err)
{
    const struct scan start = *s;
    struct footer *footer;
    scan_step(s, QUERY_STEP_FOOTER);
    int rc = footer_cache_get(w->footers, w->opts.store, start.meta, start.deadline_mono_ns,
                              &footer, err);
    scan_step(s, QUERY_STEPS);
    if (rc < 0)
        return rc;
    uint32_t end = footer->file->row_group_count;
    if (source->row_group_end && source->row_group_end < end)
        end = source->row_group_end;
    for (uint32_t i = source->row_group_first; rc == 0 && i < end && !is_done(v); i++) {
        *s = start;
        s->footer = footer;
        s->row_group = i;
        rc = visit_row_group(s, source, v, err);
        counter_add(w->row_groups, 1);
        if (rc < 0 && err)
            err_wrap(err, "row group %u", i);
        scan_close(s);
        arena_reset(s->arena);
        arena_reset(s->group);
    }
    footer_cache_put(w->footers, footer);
    return rc;
}

static int visit_live(struct worker *w, const struct query_source *source,
                      const struct scan_visit *v, struct scan *s, struct err *err)
{
    struct live *live;
    scan_step(s, QUERY_STEP_LIVE);
    int rc = live_cache_get(w->live, source->tenant, source->view, s->deadline_mono_ns, &live, err);
    scan_step(s, QUERY_STEPS);
    if (rc < 0 || !live)
        return rc;
    s->ready = live_columns(live);
    s->stats->bytes_read += live_bytes(live);
    bool wanted;
    rc = begin(s, v, &wanted, err);
    s->stats->row_groups++;
    if (rc == 0 && wanted)
        rc = visit_window(s, v, err);
    live_release(live);
    return rc;
}

int scan_source(struct worker *w, const struct query_source *source, const struct scan_visit *v,
                uint64_t deadline_mono_ns, struct query_stats *stats, struct err *err)
{
    struct query_stats done = {0};
    struct scan_memory *m = memory_take(w);
    int rc = m ? 0 : err_set(err, ERR_NOMEM, "no memory for a scan");
    if (rc == 0) {
        struct scan *s = &m->scan;
        *s = (struct scan){.store = w->opts.store,
                           .meta = source->block ? &source->block->meta : NULL,
                           .clock = w->opts.clock,
                           .deadline_mono_ns = deadline_mono_ns,
                           .arena = m->window,
                           .group = m->group,
                           .stats = &done,
                           .step = QUERY_STEPS};
        rc = source->block ? visit_block(w, source, v, s, err) : visit_live(w, source, v, s, err);
    }
    memory_give(w, m);
    counter_add(w->bytes, done.bytes_read);
    query_stats_add(stats, &done);
    if (rc < 0 && source->block && err && rc != ERR_INVALID && rc != ERR_UNSUPPORTED) {
        char uuid[37];
        uuid_format(source->block->meta.id, uuid);
        err_wrap(err, "block %s", uuid);
    }
    return rc;
}
