/* Whose data a query is about: its tenants, what they may ask, and what they have. */
#include "app/overrides.h"
#include "frontend/frontend_priv.h"

#include <stdlib.h>

/* The stricter of two limits of which 0 is none. */
static uint64_t stricter(uint64_t a, uint64_t b)
{
    return a == 0 || (b && b < a) ? b : a;
}

static int64_t stricter_signed(int64_t a, int64_t b)
{
    return (int64_t)stricter(a > 0 ? (uint64_t)a : 0, b > 0 ? (uint64_t)b : 0);
}

/* A query over several tenants is held to the strictest limit of any of them. */
static void take_limits(struct query *q)
{
    struct app *app = q->frontend->opts.app;
    struct query_limits *all = &q->limits;
    *all = (struct query_limits){0};
    for (size_t i = 0; i < q->tenant_count; i++) {
        const struct overrides_limits *l = overrides_acquire(app->overrides, q->tenants[i]);
        int64_t search = l->max_search_duration_ns, metrics = l->max_metrics_duration_ns;
        search = search ? search : app->cfg.query_frontend.search.max_duration_ns;
        metrics = metrics ? metrics : app->cfg.query_frontend.metrics.max_duration_ns;
        all->search_duration_ns = stricter_signed(all->search_duration_ns, search);
        all->metrics_duration_ns = stricter_signed(all->metrics_duration_ns, metrics);
        all->trace_bytes = stricter(all->trace_bytes, l->max_bytes_per_trace);
        all->tag_bytes = stricter(all->tag_bytes, l->max_bytes_per_tag_values_query);
        all->tag_blocks = stricter_signed(all->tag_blocks, l->max_blocks_per_tag_values_query);
        overrides_release(app->overrides, l);
    }
}

int query_tenants(struct query *q, struct err *err)
{
    struct app *app = q->frontend->opts.app;
    int rc = app_tenants(app, q->req, q->tenants, LIMIT_QUERY_TENANTS, &q->tenant_count, err);
    if (rc < 0)
        return rc;
    q->tenant = q->tenant_count == 1 ? q->tenants[0] : net_request_header(q->req, "x-scope-orgid");
    take_limits(q);
    return 0;
}

/* ---- what they have ---- */

/* As the blocks of one tenant are: newest end first. */
static int newest_first(const void *a, const void *b)
{
    const struct query_source *x = a, *y = b;
    uint64_t x_end = x->block->meta.end_unix_ns, y_end = y->block->meta.end_unix_ns;
    if (x_end != y_end)
        return x_end < y_end ? 1 : -1;
    int d = slice_cmp(x->tenant, y->tenant);
    return d ? d : memcmp(x->block->meta.id, y->block->meta.id, 16);
}

static int list_sources(struct query *q, struct query_data *d, struct err *err)
{
    size_t blocks = 0;
    for (size_t i = 0; i < d->view_count; i++)
        blocks += d->views[i].block_count;
    d->live = arena_array(q->arena, struct query_source, d->view_count);
    d->blocks = arena_array(q->arena, struct query_source, blocks);
    if (!d->live || !d->blocks)
        return arena_err(q->arena, err, "a query's blocks");
    for (size_t i = 0; i < d->view_count; i++) {
        const struct catalog_view *v = &d->views[i];
        struct query_source s = {.tenant = q->tenants[i], .view = v, .cancel = &q->cancel};
        if (v->section_count)
            d->live[d->live_count++] = s;
        for (size_t k = 0; k < v->block_count; k++) {
            s.block = v->blocks[k];
            d->blocks[d->block_count++] = s;
        }
    }
    q->job_bytes = 0;
    for (size_t i = 0; i < d->block_count; i++)
        q->job_bytes += d->blocks[i].block->meta.size / d->block_count;
    if (d->view_count > 1)
        qsort(d->blocks, d->block_count, sizeof *d->blocks, newest_first);
    return 0;
}

int query_data_acquire(struct query *q, struct query_data *out, struct err *err)
{
    *out = (struct query_data){0};
    out->views = arena_zalloc(q->arena, q->tenant_count * sizeof *out->views);
    if (!out->views)
        return arena_err(q->arena, err, "a query's blocks");
    int rc = 0;
    for (size_t i = 0; i < q->tenant_count && rc == 0; i++) {
        rc = catalog_view(q->frontend->opts.catalog, q->tenants[i], q->deadline_mono_ns, q->arena,
                          &out->views[i], err);
        out->view_count += rc == 0;
    }
    if (rc == 0)
        rc = list_sources(q, out, err);
    if (rc < 0)
        query_data_release(out);
    return rc;
}

void query_data_release(struct query_data *d)
{
    for (size_t i = 0; i < d->view_count; i++)
        catalog_view_release(&d->views[i]);
    *d = (struct query_data){0};
}
