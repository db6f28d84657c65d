/* The merge: one reader a block, the smallest id of their next rows, fragments combined, written.
 */
#include "catalog/block_merge.h"

#include <stdlib.h>

#include "base/text.h"
#include "block/block_schema.h"
#include "catalog/block_rows.h"

/* How the 128 MB are spent. Readers together: windows of spans, and the stored pages behind them.
 */
#define READ_BYTES ((size_t)12 << 20)
#define READ_BYTES_LEAST ((size_t)256 << 10) /* of one reader, however many there are */
/* By the shredder's own count; its columns take about as much again, encoded a fifth of it. */
#define ROW_GROUP_BYTES ((uint64_t)10 << 20)
/* Strings of windows that are read, while the row group that has them is not written. */
#define HELD_BYTES ((size_t)16 << 20)

struct input {
    const struct block_meta *meta;
    struct block_rows *rows;
    struct block_window *window; /* NULL: at its end */
    uint32_t at;                 /* the next row of the window */
    uint8_t last_id[16];
    bool started;
};

struct merge {
    const struct block_merge_opts *opts;
    struct block_writer *writer;
    struct input *inputs;
    size_t input_count;
    struct block_rows_scratch scratch;
    struct span_batch fragments; /* of one trace */
    VEC(uint32_t) order;
    VEC(struct arena *) held; /* strings of what the writer has not encoded yet */
    size_t held_bytes;
    struct block_merge_stats stats;
    struct err *err;
};

/* ---- what goes together ---- */

static int inputs_check(const struct block_merge_opts *o, struct err *err)
{
    if (o->input_count == 0)
        return err_set(err, ERR_INVALID, "no blocks to merge");
    if (o->input_count > LIMIT_MERGE_INPUTS)
        return err_set(err, ERR_LIMIT, "%zu blocks to merge, at most %d are taken", o->input_count,
                       LIMIT_MERGE_INPUTS);
    const struct block_meta *first = o->inputs[0];
    char a[37], b[37];
    uuid_format(first->id, a);
    for (size_t i = 1; i < o->input_count; i++) {
        const struct block_meta *m = o->inputs[i];
        uuid_format(m->id, b);
        if (!slice_eq(m->tenant, first->tenant))
            return err_set(err, ERR_INVALID, "blocks %s and %s are of different tenants", a, b);
        if (m->replication_factor != first->replication_factor)
            return err_set(err, ERR_INVALID,
                           "blocks %s and %s have replication factors %u and %u: they are not "
                           "merged",
                           a, b, first->replication_factor, m->replication_factor);
        for (size_t k = 0; k < i; k++) {
            if (memcmp(o->inputs[k]->id, m->id, 16) == 0)
                return err_set(err, ERR_INVALID, "block %s is to be merged with itself", b);
        }
    }
    return 0;
}

/* The inputs' lists one behind the other, as far as vParquet4 has columns for them; the attributes
 * of other entries are stored like any. */
static int dedicated_join(const struct block_merge_opts *o, struct arena *a,
                          struct block_dedicated **out, size_t *count, struct err *err)
{
    size_t all = 0;
    for (size_t i = 0; i < o->input_count; i++)
        all += o->inputs[i]->dedicated_count;
    *out = arena_array(a, struct block_dedicated, all);
    if (!*out)
        return arena_err(a, err, "the list of dedicated columns");
    *count = 0;
    for (size_t i = 0; i < o->input_count; i++) {
        const struct block_meta *in = o->inputs[i];
        for (size_t k = 0; k < in->dedicated_count; k++)
            (*out)[(*count)++] = in->dedicated[k];
    }
    *count = shred_dedicated(*out, *count, *out);
    return 0;
}

static int writer_begin(struct merge *m, struct arena *a, uint64_t objects_max)
{
    const struct block_merge_opts *o = m->opts;
    const struct block_meta *first = o->inputs[0];
    struct block_dedicated *dedicated;
    struct block_writer_opts w = {
        .tenant = o->tenant.len ? o->tenant : first->tenant,
        .row_group_bytes = o->row_group_bytes && o->row_group_bytes < ROW_GROUP_BYTES
                               ? o->row_group_bytes
                               : ROW_GROUP_BYTES,
        .bloom_false_positive = o->bloom_false_positive > 0 ? o->bloom_false_positive : .01,
        .bloom_shard_bytes = o->bloom_shard_bytes ? o->bloom_shard_bytes : 100 << 10,
        .replication_factor = first->replication_factor,
        .objects_max = objects_max,
        .start_unix_ns = first->start_unix_ns,
        .end_unix_ns = first->end_unix_ns,
        .deadline_mono_ns = o->deadline_mono_ns,
        .commit = o->commit,
        .commit_ctx = o->commit_ctx,
    };
    memcpy(w.id, o->id, sizeof w.id);
    for (size_t i = 0; i < o->input_count; i++) {
        const struct block_meta *in = o->inputs[i];
        if (in->compaction_level >= w.compaction_level)
            w.compaction_level = in->compaction_level + (in->compaction_level < UINT32_MAX);
        if (in->start_unix_ns < w.start_unix_ns)
            w.start_unix_ns = in->start_unix_ns;
        if (in->end_unix_ns > w.end_unix_ns)
            w.end_unix_ns = in->end_unix_ns;
    }
    if (w.start_unix_ns == 0) /* an input does not tell, and no search would see it */
        w.end_unix_ns = 0;
    int rc = dedicated_join(o, a, &dedicated, &w.dedicated_count, m->err);
    w.dedicated = dedicated;
    return rc < 0 ? rc : block_writer_begin(m->writer, &w, m->err);
}

/* ---- strings that must live ---- */

static void held_free(struct merge *m)
{
    for (uint32_t i = 0; i < m->held.count; i++)
        arena_free(m->held.at[i]);
    vec_reset(&m->held);
    m->held_bytes = 0;
}

/* The window's strings stay as long as the writer may need them. */
static int window_hold(struct merge *m, struct input *in)
{
    if (block_writer_pending(m->writer) == 0)
        return 0;
    if (!vec_reserve(&m->held, 1))
        return err_set(m->err, ERR_NOMEM, "no memory for a merge");
    m->held_bytes += arena_used(in->window->text);
    m->held.at[m->held.count++] = block_rows_take_text(in->rows);
    if (m->held_bytes < HELD_BYTES)
        return 0;
    int rc = block_writer_cut(m->writer, m->err);
    held_free(m);
    return rc;
}

/* ---- inputs ---- */

static int progress(struct merge *m)
{
    m->stats.bytes_fetched = 0;
    for (size_t i = 0; i < m->input_count; i++)
        m->stats.bytes_fetched += block_rows_fetched(m->inputs[i].rows);
    if (m->opts->progress && m->opts->progress(m->opts->progress_ctx, &m->stats) != 0)
        return err_set(m->err, ERR_CANCELLED, "the merge was given up");
    return 0;
}

/* Tempo's readers and ours find rows by bisecting, so ids ascend; a block that breaks that is not
 * merged into another. */
static int row_check(struct merge *m, struct input *in)
{
    const struct block_row *row = &in->window->rows.at[in->at];
    if (in->started && memcmp(row->id, in->last_id, sizeof row->id) <= 0) {
        char uuid[37], id[33] = {0}, last[33] = {0};
        uuid_format(in->meta->id, uuid);
        hex_encode(slice_of(row->id, 16), id);
        hex_encode(slice_of(in->last_id, 16), last);
        return err_set(m->err, ERR_CORRUPT,
                       "block %s, row group %u, row %lld: trace id %s comes after %s", uuid,
                       in->window->row_group, (long long)in->window->first_row + in->at, id, last);
    }
    in->started = true;
    memcpy(in->last_id, row->id, sizeof row->id);
    m->stats.rows_read++;
    m->stats.spans_read += row->span_count;
    return 0;
}

/* To the next row that has spans. */
static int input_next(struct merge *m, struct input *in)
{
    do {
        if (in->window && ++in->at < in->window->rows.count) {
            int rc = row_check(m, in);
            if (rc < 0)
                return rc;
            continue;
        }
        int rc = in->window ? window_hold(m, in) : 0;
        if (rc == 0)
            rc = block_rows_next(in->rows, &in->window, m->err);
        if (rc > 0)
            in->window = NULL;
        if (rc != 0)
            return rc < 0 ? rc : 0;
        in->at = 0;
        rc = row_check(m, in);
        if (rc == 0)
            rc = progress(m);
        if (rc < 0)
            return rc;
    } while (in->window->rows.at[in->at].span_count == 0);
    return 0;
}

static int inputs_open(struct merge *m, uint64_t *objects_max)
{
    size_t each = READ_BYTES / m->opts->input_count;
    for (size_t i = 0; i < m->opts->input_count; i++) {
        struct input *in = &m->inputs[m->input_count];
        const struct block_rows_opts o = {
            .store = m->opts->store,
            .meta = m->opts->inputs[i],
            .window_bytes = each > READ_BYTES_LEAST ? each : READ_BYTES_LEAST,
            .deadline_mono_ns = m->opts->deadline_mono_ns,
            .scratch = &m->scratch,
        };
        in->meta = o.meta;
        int rc = block_rows_new(&o, &in->rows, m->err);
        if (rc < 0)
            return rc;
        m->input_count++;
        *objects_max += block_rows_total(in->rows);
    }
    m->stats.rows_total = *objects_max;
    return 0;
}

/* ---- traces ---- */

static const struct block_row *row_of(const struct input *in)
{
    return &in->window->rows.at[in->at];
}

static int order_reserve(struct merge *m, uint32_t count)
{
    vec_reset(&m->order);
    return vec_reserve(&m->order, count)
               ? 0
               : err_set(m->err, ERR_NOMEM, "no memory for a trace of %u spans", count);
}

/* A trace that only one block has: as it stands. */
static int write_single(struct merge *m, const struct input *in)
{
    const struct block_row *row = row_of(in);
    int rc = order_reserve(m, row->span_count);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < row->span_count; i++)
        m->order.at[i] = row->span_first + i;
    const struct trace t = {&in->window->batch, m->order.at, row->span_count};
    const struct shred_root root = {row->root_service, row->root_name};
    m->stats.spans_written += row->span_count;
    return block_writer_add_rooted(m->writer, &t, &root, m->err);
}

static int fragment_add(struct merge *m, const struct input *in, struct shred_root *root)
{
    const struct block_row *row = row_of(in);
    int rc = order_reserve(m, row->span_count);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < row->span_count; i++)
        m->order.at[i] = row->span_first + i;
    if (!span_batch_append_spans(&m->fragments, &in->window->batch, m->order.at, row->span_count))
        return err_set(m->err, ERR_NOMEM, "no memory for a trace's fragments");
    span_batch_end_fragment(&m->fragments);
    if (root->service.len == 0)
        root->service = row->root_service;
    if (root->name.len == 0)
        root->name = row->root_name;
    return 0;
}

static int write_combined(struct merge *m, const uint8_t id[16])
{
    struct shred_root root = {0};
    uint32_t base = 0;
    span_batch_reset(&m->fragments);
    for (size_t i = 0; i < m->input_count; i++) {
        const struct input *in = &m->inputs[i];
        if (!in->window || memcmp(row_of(in)->id, id, 16) != 0)
            continue;
        int rc = fragment_add(m, in, &root);
        if (rc < 0)
            return rc;
        if (m->fragments.fragments == 1)
            base = m->fragments.spans.count;
    }
    uint32_t count = m->fragments.spans.count;
    int rc = order_reserve(m, count);
    int64_t kept = rc < 0 ? rc : span_batch_group(&m->fragments, m->order.at);
    /* A repeat of the whole trace leaves it as it is. */
    if (kept > base)
        rc = trace_sort(&m->fragments, m->order.at, (uint32_t)kept);
    if (kept < 0 || rc < 0)
        return err_set(m->err, ERR_NOMEM, "no memory to combine %u spans", count);
    m->stats.rows_combined++;
    m->stats.spans_dropped += count - (uint64_t)kept;
    m->stats.spans_written += (uint64_t)kept;
    const struct trace t = {&m->fragments, m->order.at, (uint32_t)kept};
    return block_writer_add_rooted(m->writer, &t, &root, m->err);
}

/* The smallest id that comes next, and how many inputs have it; false when all are at their end. */
static bool next_id(const struct merge *m, uint8_t id[16], const struct input **first,
                    size_t *count)
{
    *first = NULL;
    *count = 0;
    for (size_t i = 0; i < m->input_count; i++) {
        const struct input *in = &m->inputs[i];
        int d = !in->window ? 1 : !*first ? -1 : memcmp(row_of(in)->id, id, 16);
        if (d > 0)
            continue;
        if (d < 0) {
            memcpy(id, row_of(in)->id, 16);
            *first = in;
            *count = 0;
        }
        ++*count;
    }
    return *first != NULL;
}

static int merge_rows(struct merge *m)
{
    int rc = 0;
    uint8_t id[16];
    const struct input *first;
    size_t count;
    for (size_t i = 0; i < m->input_count && rc == 0; i++)
        rc = input_next(m, &m->inputs[i]);
    while (rc == 0 && next_id(m, id, &first, &count)) {
        rc = count == 1 ? write_single(m, first) : write_combined(m, id);
        m->stats.traces_written++;
        if (rc == 0 && block_writer_pending(m->writer) == 0)
            held_free(m);
        for (size_t i = 0; i < m->input_count && rc == 0; i++) {
            struct input *in = &m->inputs[i];
            if (in->window && memcmp(row_of(in)->id, id, 16) == 0)
                rc = input_next(m, in);
        }
    }
    return rc;
}

static void merge_clear(struct merge *m)
{
    block_writer_free(m->writer);
    held_free(m);
    vec_free(&m->held);
    vec_free(&m->order);
    span_batch_clear(&m->fragments);
    for (size_t i = 0; i < m->input_count; i++)
        block_rows_free(m->inputs[i].rows);
    block_rows_scratch_clear(&m->scratch);
    free(m->inputs);
}

int block_merge(const struct block_merge_opts *opts, struct arena *a, struct block_meta *meta,
                struct block_merge_stats *stats, struct err *err)
{
    struct merge m = {.opts = opts, .err = err};
    uint64_t objects_max = 0;
    int rc = inputs_check(opts, err);
    if (rc < 0)
        return rc;
    m.inputs = calloc(opts->input_count, sizeof *m.inputs);
    if (!m.inputs)
        return err_set(err, ERR_NOMEM, "no memory for a merge");
    rc = block_rows_scratch_init(&m.scratch, err);
    if (rc == 0)
        rc = inputs_open(&m, &objects_max);
    if (rc == 0)
        rc = block_writer_new(opts->out ? opts->out : opts->store, &m.writer, err);
    if (rc == 0)
        rc = writer_begin(&m, a, objects_max);
    if (rc == 0)
        rc = merge_rows(&m);
    if (rc == 0 && m.stats.traces_written == 0)
        rc = err_set(err, ERR_INVALID, "the blocks hold no spans: there is nothing to write");
    if (rc == 0)
        rc = block_writer_finish(m.writer, meta, err);
    if (rc == 0 && opts->progress)
        opts->progress(opts->progress_ctx, &m.stats); /* too late to give up */
    if (stats)
        *stats = m.stats;
    merge_clear(&m);
    return rc;
}
