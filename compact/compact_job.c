/* One merge: choose, plan, write, commit, mark. */
#include <stdio.h>

#include "base/text.h"
#include "catalog/block_check.h"
#include "catalog/block_merge.h"
#include "compact/compact_priv.h"
#include "compact/compact_select.h"

/* ---- blocks that cannot be merged ---- */

static bool is_held(const struct compactor *k, const uint8_t id[16], uint64_t now)
{
    for (uint32_t i = 0; i < k->held.count; i++) {
        if (memcmp(k->held.at[i].id, id, 16) == 0)
            return now < k->held.at[i].until_mono_ns;
    }
    return false;
}

static void hold(struct compactor *k, const uint8_t id[16])
{
    struct compact_held h = {.until_mono_ns = clock_mono_ns(k->opts.clock) + LIMIT_HELD_NS};
    memcpy(h.id, id, 16);
    for (uint32_t i = 0; i < k->held.count; i++) {
        if (memcmp(k->held.at[i].id, id, 16) == 0 || k->held.count == LIMIT_HELD_BLOCKS) {
            k->held.at[i] = h;
            return;
        }
    }
    /* Without memory it is tried again, which costs time and does no harm. */
    (void)vec_push(&k->held, h);
}

/* The input that the error names, or all of them. */
static void hold_culprit(struct compactor *k, const struct catalog_plan *p, const struct err *err)
{
    bool named = false;
    for (size_t i = 0; i < p->input_count; i++) {
        char uuid[37];
        uuid_format(p->ids[i], uuid);
        if (strstr(err->msg, uuid)) {
            hold(k, p->ids[i]);
            named = true;
        }
    }
    for (size_t i = 0; i < p->input_count && !named; i++)
        hold(k, p->ids[i]);
}

/* ---- the merge ---- */

struct job {
    struct compactor *k;
    struct catalog_plan *p;
    uint64_t deadline_mono_ns;
    bool passed; /* the output's meta.json may be there from now on */
};

static int progress(void *ctx, const struct block_merge_stats *so_far)
{
    struct job *j = ctx;
    struct err err = {0};
    (void)so_far;
    if (compactor_stopping(j->k))
        return 1;
    int rc = catalog_plan_beat(j->k->opts.catalog, j->p, j->deadline_mono_ns, &err);
    return rc == ERR_CANCELLED; /* a store that fails once is asked again at the next beat */
}

static int commit(void *ctx, struct err *err)
{
    struct job *j = ctx;
    int rc = catalog_plan_check(j->k->opts.catalog, j->p, j->deadline_mono_ns, err);
    if (rc == 0 && compactor_stopping(j->k))
        rc = err_set(err, ERR_CANCELLED, "stopping");
    j->passed = rc == 0;
    return rc;
}

static uint64_t merge_deadline(const struct compactor *k, const struct catalog_plan *p)
{
    uint64_t bytes = 0;
    for (size_t i = 0; p->inputs && i < p->input_count; i++)
        bytes += p->inputs[i]->meta.size;
    uint64_t seconds = bytes / MERGE_BYTES_PER_S;
    return clock_mono_ns(k->opts.clock) + MERGE_TIMEOUT_NS +
           (seconds < 7 * 86400 ? seconds : 7 * 86400) * NS_PER_S;
}

static int merge(struct job *j, struct arena *a, struct block_meta *meta,
                 struct block_merge_stats *stats, struct err *err)
{
    const struct catalog_plan *p = j->p;
    const struct block_meta *inputs[LIMIT_PLAN_INPUTS];
    for (size_t i = 0; i < p->input_count; i++)
        inputs[i] = &p->inputs[i]->meta;
    struct block_merge_opts o = {
        .store = j->k->opts.store,
        .inputs = inputs,
        .input_count = p->input_count,
        .row_group_bytes = p->opts.row_group_bytes,
        .bloom_false_positive = p->opts.bloom_false_positive,
        .bloom_shard_bytes = p->opts.bloom_shard_bytes,
        .deadline_mono_ns = j->deadline_mono_ns,
        .progress = progress,
        .progress_ctx = j,
        .commit = commit,
        .commit_ctx = j,
    };
    memcpy(o.id, p->output, 16);
    int rc = block_merge(&o, a, meta, stats, err);
    if (rc < 0)
        return rc;
    /* Two processes may have written it at once: only what is whole takes the inputs' place. */
    struct block_check check = {.meta = meta};
    rc = block_check_many(j->k->opts.store, &check, 1, j->deadline_mono_ns, err);
    if (rc == 0 && check.rc < 0) {
        rc = check.rc;
        if (err)
            *err = check.err;
    }
    return rc;
}

static void count(struct compactor *k, const struct catalog_plan *p, const struct block_meta *meta,
                  const struct block_merge_stats *stats)
{
    char text[16];
    snprintf(text, sizeof text, "%u", meta->compaction_level ? meta->compaction_level - 1 : 0);
    struct slice level = slice_cstr(text);
    counter_add(metrics_counter_with(k->m.blocks, &level), p->input_count);
    counter_add(metrics_counter_with(k->m.objects_written, &level), stats->traces_written);
    counter_add(metrics_counter_with(k->m.bytes_written, &level), meta->size);
    counter_add(metrics_counter_with(k->m.combined, &level), stats->rows_combined);
    snprintf(text, sizeof text, "%u", meta->replication_factor);
    struct slice factor = slice_cstr(text);
    counter_add(metrics_counter_with(k->m.spans_combined, &factor), stats->spans_dropped);
}

/* Writes the output and commits it. */
static int make_output(struct job *j, struct err *err)
{
    struct compactor *k = j->k;
    struct block_meta meta;
    struct block_merge_stats stats = {0};
    uint64_t start = clock_mono_ns(k->opts.clock);
    struct arena *a = arena_new((size_t)1 << 20);
    int rc = a ? merge(j, a, &meta, &stats, err) : err_set(err, ERR_NOMEM, "no memory to merge");
    if (rc == 0)
        rc = catalog_plan_commit(k->opts.catalog, j->p, &meta, err);
    if (rc == 0) {
        char uuid[37];
        uuid_format(meta.id, uuid);
        count(k, j->p, &meta, &stats);
        LOG_INFO(&k->log, "blocks compacted", KV_SLICE("tenant", j->p->tenant),
                 KV_U64("inputs", j->p->input_count), KV_STR("block", uuid),
                 KV_U64("level", meta.compaction_level), KV_I64("traces", meta.total_objects),
                 KV_U64("spans", stats.spans_written), KV_U64("bytes", meta.size),
                 KV_U64("ms", (clock_mono_ns(k->opts.clock) - start) / NS_PER_MS));
    }
    arena_free(a);
    return rc;
}

int compact_run(struct compactor *k, struct catalog_plan *p, struct err *err)
{
    struct job j = {.k = k, .p = p, .deadline_mono_ns = merge_deadline(k, p)};
    int rc = p->committed ? 0 : make_output(&j, err);
    if (rc == 0)
        return catalog_plan_finish(k->opts.catalog, p, j.deadline_mono_ns, err);
    if (rc == ERR_CORRUPT && !j.passed)
        hold_culprit(k, p, err);
    /* Once its meta.json may be there, only a look at the store tells what has become of it; and a
     * plan that another process has taken is that one's. */
    if (j.passed || (rc == ERR_CANCELLED && !compactor_stopping(k)))
        catalog_plan_abandon(k->opts.catalog, p);
    else
        catalog_plan_drop(k->opts.catalog, p, clock_mono_ns(k->opts.clock) + 10 * NS_PER_S, NULL);
    return rc;
}

/* ---- choosing ---- */

/* Blocks that are held go to the end, and out of *n. */
static void leave_out_held(struct compactor *k, struct catalog_block **blocks, size_t *n)
{
    uint64_t now = clock_mono_ns(k->opts.clock);
    for (size_t i = 0; i < *n;) {
        if (!is_held(k, blocks[i]->meta.id, now)) {
            i++;
            continue;
        }
        struct catalog_block *b = blocks[i];
        blocks[i] = blocks[--*n];
        blocks[*n] = b;
    }
}

static int choose(struct compactor *k, const struct compactor_tenant *limits, struct arena *a,
                  struct catalog_block **blocks, size_t n, struct catalog_block **chosen,
                  size_t *chosen_count, uint64_t *outstanding, struct err *err)
{
    const struct compact_rules rules = {
        .now_unix_ns = clock_unix_ns(k->opts.clock),
        .window_ns = limits->compaction_window_ns,
        .objects_max = k->opts.objects_max,
        .bytes_max = k->opts.block_bytes_max,
        .inputs_min = k->opts.inputs_min,
        .inputs_max = k->opts.inputs_max,
    };
    struct compact_select s;
    size_t first, run;
    *chosen_count = 0;
    int rc = compact_select_init(&s, &rules, blocks, n, a, err);
    while (rc == 0 && compact_select_next(&s, &first, &run)) {
        *outstanding += run;
        for (size_t i = 0; *outstanding == run && i < run; i++)
            chosen[(*chosen_count)++] = s.items[first + i].block;
    }
    return rc;
}

static bool builder_is_behind(const struct compactor *k)
{
    uint64_t raw = 0, oldest;
    if (k->opts.waiting_bytes_max)
        catalog_waiting(k->opts.catalog, &raw, &oldest);
    return raw > k->opts.waiting_bytes_max;
}

static int compact_chosen(struct compactor *k, struct catalog_block **chosen, size_t n, bool *did,
                          struct err *err)
{
    const struct catalog_plan_opts opts = {k->opts.row_group_bytes, k->opts.bloom_false_positive,
                                           k->opts.bloom_shard_bytes};
    struct catalog_plan *p;
    uint64_t deadline = clock_mono_ns(k->opts.clock) + MERGE_TIMEOUT_NS;
    int rc = catalog_plan_begin(k->opts.catalog, chosen, n, &opts, deadline, &p, err);
    if (rc < 0 || !p)
        return rc; /* another process is at it: the next round sees what is left */
    rc = compact_run(k, p, err);
    *did = rc == 0;
    return rc;
}

int compact_tenant(struct compactor *k, struct slice tenant, bool *did, uint64_t *outstanding,
                   struct err *err)
{
    struct compactor_tenant limits = compactor_limits(k, tenant);
    struct catalog_block **blocks = NULL, *chosen[LIMIT_PLAN_INPUTS];
    size_t all = 0, n, chosen_count = 0;
    *did = false;
    *outstanding = 0;
    if (limits.compaction_disabled)
        return 0;
    struct arena *a = arena_new(LIMIT_COMPACT_ARENA_BYTES);
    if (!a)
        return err_set(err, ERR_NOMEM, "no memory to choose blocks");
    int rc = catalog_compactable(k->opts.catalog, tenant, a, &blocks, &all, err);
    n = all;
    leave_out_held(k, blocks, &n);
    if (rc == 0)
        rc = choose(k, &limits, a, blocks, n, chosen, &chosen_count, outstanding, err);
    if (rc == 0 && chosen_count && !builder_is_behind(k))
        rc = compact_chosen(k, chosen, chosen_count, did, err);
    if (*did)
        *outstanding -= chosen_count;
    for (size_t i = 0; i < all; i++)
        catalog_block_release(blocks[i]);
    arena_free(a);
    return rc;
}
