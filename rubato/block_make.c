/* rubato block rewrite and from-otlp: new blocks, of blocks and of OTLP requests. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "catalog/block_merge.h"
#include "otlp/otlp.h"
#include "rubato/block_tool.h"
#include "rubato/frames.h"

/* As the server's defaults. */
#define ROW_GROUP_BYTES ((uint64_t)100 << 20)
#define BLOOM_FALSE_POSITIVE .01
#define BLOOM_SHARD_BYTES (100 << 10)

static int new_id(struct block_tool *t, uint8_t id[16], struct err *err)
{
    if (!t->args.id) {
        random_bytes(id, 16);
        id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* a UUID of version 4 */
        id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
        return 0;
    }
    if (uuid_parse(slice_cstr(t->args.id), id))
        return 0;
    t->bad_usage = true;
    return err_set(err, ERR_INVALID, "--id %s is no UUID", t->args.id);
}

/* A name that is one segment of a key. */
static int tenant_check(struct block_tool *t, struct slice tenant, struct err *err)
{
    if (tenant.len && slice_find(tenant, '/') == tenant.len)
        return 0;
    t->bad_usage = true;
    return err_set(err, ERR_INVALID, "a tenant's name is not empty and has no /");
}

/* The new block, and where it is. */
static int put_made(struct block_tool *t, const struct block_meta *m, struct objstore *store,
                    struct err *err)
{
    char uuid[37];
    uuid_format(m->id, uuid);
    if (!t->args.json)
        return block_tool_put(t,
                              buf_printf(&t->out,
                                         "%s  tenant %.*s in %.*s: %" PRId64 " traces, %" PRIu64
                                         " bytes, %u row groups\n",
                                         uuid, SLICE_ARGS(m->tenant),
                                         SLICE_ARGS(objstore_describe(store)), m->total_objects,
                                         m->size, m->total_records),
                              err);
    int rc = buf_printf(&t->out, "{\"id\":\"%s\",\"meta\":", uuid);
    return block_tool_put(t, rc < 0 ? rc : block_meta_write(m, &t->out, NULL), err);
}

/* ---- rewrite ---- */

static int rewrite_progress(void *ctx, const struct block_merge_stats *s)
{
    block_tool_progress(ctx, "traces", s->rows_read, s->rows_total);
    return 0;
}

static int put_stats(struct block_tool *t, const struct block_merge_stats *s, struct err *err)
{
    int rc = t->args.json ? buf_printf(&t->out,
                                       ",\"rowsRead\":%" PRIu64 ",\"spansRead\":%" PRIu64
                                       ",\"rowsCombined\":%" PRIu64 ",\"spansDropped\":%" PRIu64
                                       ",\"spansWritten\":%" PRIu64 "}\n",
                                       s->rows_read, s->spans_read, s->rows_combined,
                                       s->spans_dropped, s->spans_written)
                          : buf_printf(&t->out,
                                       "%" PRIu64 " rows and %" PRIu64 " spans read, %" PRIu64
                                       " traces combined, %" PRIu64
                                       " repeated spans dropped, %" PRIu64 " spans written\n",
                                       s->rows_read, s->spans_read, s->rows_combined,
                                       s->spans_dropped, s->spans_written);
    return block_tool_put(t, rc, err);
}

static int inputs_load(struct block_tool *t, const struct block_meta **inputs, size_t count,
                       struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct tool_blocks found = {0};
        struct block_meta *meta = arena_alloc(t->arena, sizeof *meta);
        int rc = meta ? block_tool_find(t, t->args.rest[2 + i], true, &found, err)
                      : arena_err(t->arena, err, "a meta.json");
        if (rc == 0)
            rc = block_tool_meta(t, &found.at.at[0], meta, err);
        tool_blocks_clear(&found);
        if (rc < 0)
            return rc;
        inputs[i] = meta;
    }
    return 0;
}

int block_tool_rewrite(struct block_tool *t, struct err *err)
{
    size_t count = (size_t)t->args.rest_count - 2;
    const struct block_meta **inputs = arena_array(t->arena, const struct block_meta *, count);
    struct objstore *out = NULL;
    struct block_meta meta;
    struct block_merge_stats stats;
    struct block_merge_opts opts = {
        .store = t->store,
        .inputs = inputs,
        .input_count = count,
        .tenant = t->args.tenant ? slice_cstr(t->args.tenant) : t->tenant,
        .bloom_false_positive = BLOOM_FALSE_POSITIVE,
        .bloom_shard_bytes = BLOOM_SHARD_BYTES,
        .deadline_mono_ns = block_tool_deadline(),
        .progress = rewrite_progress,
        .progress_ctx = t,
    };
    int rc = inputs ? new_id(t, opts.id, err) : arena_err(t->arena, err, "the inputs");
    if (rc == 0)
        rc = tenant_check(t, opts.tenant, err);
    if (rc == 0 && t->args.out)
        rc = block_tool_store(t, t->args.out, true, &out, err);
    if (rc == 0)
        rc = inputs_load(t, inputs, count, err);
    opts.out = out;
    if (rc == 0)
        rc = block_merge(&opts, t->arena, &meta, &stats, err);
    block_tool_progress_end(t);
    if (rc == 0)
        rc = put_made(t, &meta, out ? out : t->store, err);
    if (rc == 0)
        rc = put_stats(t, &stats, err);
    objstore_free(out);
    return rc;
}

/* ---- from-otlp ---- */

/* What was read: strings of the spans point into files and arena. */
struct otlp_input {
    struct block_tool *tool;
    VEC(struct buf) files;
    struct span_batch batch;
    VEC(uint32_t) order;
    uint64_t requests;
};

static bool is_json(const char *path)
{
    struct slice p = slice_cstr(path);
    return slice_ends(p, SLICE(".json")) || slice_ends(p, SLICE(".json.zst"));
}

/* Spans must have a trace: one without could not be found again. */
static int fragment_end(struct otlp_input *in, uint32_t spans_before, struct err *err)
{
    static const uint8_t none[16] = {0};
    in->requests++;
    for (uint32_t i = spans_before; i < in->batch.spans.count; i++) {
        if (memcmp(in->batch.spans.at[i].trace_id, none, 16) == 0)
            return err_set(err, ERR_INVALID, "request %" PRIu64 " has a span without trace id",
                           in->requests);
    }
    span_batch_end_fragment(&in->batch);
    return 0;
}

static int read_frames(struct otlp_input *in, struct slice bytes, struct err *err)
{
    struct cursor c = cursor_of(bytes);
    struct slice request;
    int rc;
    while ((rc = frames_next(&c, &request, err)) == 0) {
        uint32_t before = in->batch.spans.count;
        rc = otlp_decode(request, &in->batch, err);
        if (rc < 0)
            err_wrap(err, "request %" PRIu64, in->requests + 1);
        else
            rc = fragment_end(in, before, err);
        if (rc < 0)
            return rc;
        block_tool_progress(in->tool, "bytes read", cursor_offset(&c), bytes.len);
    }
    return rc < 0 ? rc : 0;
}

static int read_input(struct otlp_input *in, const char *path, struct err *err)
{
    struct buf bytes;
    buf_init(&bytes, FRAMES_BYTES_MAX);
    int rc = frames_read_file(path, &bytes, err);
    if (rc == 0 && !vec_push(&in->files, bytes))
        rc = err_set(err, ERR_NOMEM, "%s: no memory", path);
    if (rc < 0) {
        buf_clear(&bytes);
        return rc;
    }
    uint32_t before = in->batch.spans.count;
    if (is_json(path)) {
        rc = otlp_json_decode(buf_view(&bytes), in->tool->arena, &in->batch, err);
        rc = rc < 0 ? rc : fragment_end(in, before, err);
    } else {
        rc = read_frames(in, buf_view(&bytes), err);
    }
    if (rc < 0)
        err_wrap(err, "%s", path);
    return rc;
}

static int write_traces(struct otlp_input *in, struct block_writer *w, struct err *err)
{
    const struct span *spans = in->batch.spans.at;
    if (!vec_reserve(&in->order, in->batch.spans.count))
        return err_set(err, ERR_NOMEM, "no memory for %u spans", in->batch.spans.count);
    uint32_t *order = in->order.at;
    int64_t kept = span_batch_group(&in->batch, order);
    int rc =
        kept < 0 ? err_set(err, ERR_NOMEM, "no memory for %u spans", in->batch.spans.count) : 0;
    for (uint32_t i = 0; i < kept && rc == 0;) {
        uint32_t next = i + 1;
        while (next < kept &&
               memcmp(spans[order[next]].trace_id, spans[order[i]].trace_id, 16) == 0)
            next++;
        const struct trace trace = {&in->batch, order + i, next - i};
        rc = block_writer_add(w, &trace, err);
        block_tool_progress(in->tool, "spans written", next, (uint64_t)kept);
        i = next;
    }
    return rc;
}

static int write_block(struct otlp_input *in, struct objstore *store, struct block_meta *meta,
                       struct err *err)
{
    struct block_tool *t = in->tool;
    struct block_writer *w = NULL;
    size_t dedicated =
        shred_dedicated(t->args.dedicated.at, t->args.dedicated.count, t->args.dedicated.at);
    struct block_writer_opts opts = {
        .tenant = t->args.tenant ? slice_cstr(t->args.tenant) : SLICE("single-tenant"),
        .dedicated = t->args.dedicated.at,
        .dedicated_count = dedicated,
        .row_group_bytes = ROW_GROUP_BYTES,
        .bloom_false_positive = BLOOM_FALSE_POSITIVE,
        .bloom_shard_bytes = BLOOM_SHARD_BYTES,
        .deadline_mono_ns = block_tool_deadline(),
    };
    int rc = new_id(t, opts.id, err);
    if (rc == 0)
        rc = tenant_check(t, opts.tenant, err);
    if (rc == 0 && in->batch.spans.count == 0)
        rc = err_set(err, ERR_INVALID, "there are no spans in the files");
    if (rc == 0)
        rc = block_writer_new(store, &w, err);
    if (rc == 0)
        rc = block_writer_begin(w, &opts, err);
    if (rc == 0)
        rc = write_traces(in, w, err);
    if (rc == 0)
        rc = block_writer_finish(w, meta, err);
    block_writer_free(w);
    return rc;
}

int block_tool_from_otlp(struct block_tool *t, struct err *err)
{
    struct otlp_input in = {.tool = t};
    struct objstore *store = NULL;
    struct block_meta meta;
    int rc = 0;
    for (int i = 0; i < t->args.rest_count && rc == 0; i++)
        rc = read_input(&in, t->args.rest[i], err);
    if (rc == 0)
        rc = block_tool_store(t, t->args.out ? t->args.out : ".", true, &store, err);
    if (rc == 0)
        rc = write_block(&in, store, &meta, err);
    block_tool_progress_end(t);
    if (rc == 0)
        rc = put_made(t, &meta, store, err);
    if (rc == 0)
        rc = block_tool_put(t, t->args.json ? buf_str(&t->out, "}\n") : 0, err);
    objstore_free(store);
    for (uint32_t i = 0; i < in.files.count; i++)
        buf_clear(&in.files.at[i]);
    vec_free(&in.files);
    vec_free(&in.order);
    span_batch_clear(&in.batch);
    return rc;
}
