/* The walk over a source. Memory is that of one row group at a time. */
#include "worker/scan_source.h"

#include <stdlib.h>

#include "base/text.h"
#include "worker/worker_limits.h"

static bool is_done(const struct scan_visit *v)
{
    return v->is_done && v->is_done(v->ctx);
}

static void skip_row_group(const struct scan *s)
{
    s->stats->row_groups_skipped++;
    s->stats->spans_skipped += scan_span_entries(s);
}

static int visit(struct scan *s, const struct scan_visit *v, struct err *err)
{
    int rc = v->batch(v->ctx, s, err);
    scan_step(s, QUERY_STEPS);
    s->stats->row_groups++;
    s->stats->traces += s->traces;
    s->stats->spans += s->spans;
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
        if (clock_mono_ns(start.clock) > start.deadline_mono_ns) {
            rc = err_set(err, ERR_TIMEOUT, "the query's time is up");
            break;
        }
        if (query_is_cancelled(source)) {
            rc = err_set(err, ERR_CANCELLED, "the query was cancelled");
            break;
        }
        *s = start;
        s->footer = footer;
        s->row_group = i;
        if (v->may_matter && !v->may_matter(v->ctx, s)) {
            skip_row_group(s);
            continue;
        }
        rc = visit(s, v, err);
        counter_add(w->row_groups, 1);
        if (rc < 0 && err)
            err_wrap(err, "row group %u", i);
        arena_reset(s->arena);
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
    rc = visit(s, v, err);
    live_release(live);
    return rc;
}

int scan_source(struct worker *w, const struct query_source *source, const struct scan_visit *v,
                uint64_t deadline_mono_ns, struct query_stats *stats, struct err *err)
{
    struct query_stats done = {0};
    struct scan *s = calloc(1, sizeof *s);
    struct arena *a = arena_new(LIMIT_SCAN_BYTES);
    int rc = s && a ? 0 : err_set(err, ERR_NOMEM, "no memory for a scan");
    if (rc == 0) {
        *s = (struct scan){.store = w->opts.store,
                           .meta = source->block ? &source->block->meta : NULL,
                           .clock = w->opts.clock,
                           .deadline_mono_ns = deadline_mono_ns,
                           .arena = a,
                           .stats = &done,
                           .step = QUERY_STEPS};
        rc = source->block ? visit_block(w, source, v, s, err) : visit_live(w, source, v, s, err);
    }
    arena_free(a);
    free(s);
    counter_add(w->bytes, done.bytes_read);
    query_stats_add(stats, &done);
    if (rc < 0 && source->block && err && rc != ERR_INVALID && rc != ERR_UNSUPPORTED) {
        char uuid[37];
        uuid_format(source->block->meta.id, uuid);
        err_wrap(err, "block %s", uuid);
    }
    return rc;
}
