/* Fetching and decoding the columns of a row group; levels to maps. */
#include "worker/scan.h"

#include <stdlib.h>

#include "worker/worker_limits.h"

enum query_step scan_step(struct scan *s, enum query_step step)
{
    enum query_step before = s->step;
    uint64_t now = clock_mono_ns(s->clock);
    if (before < QUERY_STEPS)
        s->stats->step_ns[before] += now - s->step_mono_ns;
    s->step = step;
    s->step_mono_ns = now;
    return before;
}

uint64_t scan_span_entries(const struct scan *s)
{
    int leaf = s->footer->leaf_of[BLOCK_SPAN_ID];
    const struct parquet_row_group *rg = &s->footer->file->row_groups[s->row_group];
    return leaf >= 0 && rg->chunks[leaf].num_values > 0 ? (uint64_t)rg->chunks[leaf].num_values : 0;
}

bool scan_has(const struct scan *s, int leaf)
{
    return s->ready ? leaf < BLOCK_V4_LEAVES : s->footer->leaf_of[leaf] >= 0;
}

struct slice scan_path(const struct scan *s, int leaf)
{
    if (s->ready || s->footer->leaf_of[leaf] < 0)
        return slice_cstr(block_leaves[leaf].path);
    return s->footer->file->leaves[s->footer->leaf_of[leaf]].path;
}

static int leaf_error(const struct scan *s, int leaf, struct err *err, const char *what)
{
    struct slice path = scan_path(s, leaf);
    return err_set(err, ERR_CORRUPT, "column %.*s: %s", SLICE_ARGS(path), what);
}

static void release_buf(void *ctx)
{
    buf_clear(ctx);
}

/* Bytes that outlive the columns: the arena frees them. */
static int keep_bytes(struct scan *s, struct buf *bytes, struct err *err)
{
    struct buf *kept = arena_alloc(s->arena, sizeof *kept);
    if (!kept || !arena_on_reset(s->arena, release_buf, kept))
        return arena_err(s->arena, err, "a row group");
    *kept = *bytes;
    buf_init(bytes, 0);
    return 0;
}

static int fetch(struct scan *s, const int *leaves, size_t count, struct err *err)
{
    struct objstore_get *gets = arena_zalloc(s->arena, count * sizeof *gets);
    if (!gets)
        return arena_err(s->arena, err, "a row group");
    struct buf key;
    buf_init(&key, 4096);
    int rc = block_key(&key, s->meta->tenant, s->meta->id, "data.parquet");
    if (rc < 0)
        return err_set(err, rc, "the block's key is too long");
    const struct parquet_file *f = s->footer->file;
    const struct parquet_row_group *rg = &f->row_groups[s->row_group];
    for (size_t i = 0; i < count; i++) {
        const struct parquet_chunk *chunk = &rg->chunks[s->footer->leaf_of[leaves[i]]];
        gets[i] = (struct objstore_get){.key = buf_view(&key),
                                        .range = OBJSTORE_RANGE,
                                        .offset = chunk->offset,
                                        .bytes = chunk->bytes};
        buf_init(&gets[i].out, LIMIT_FETCH_BYTES);
    }
    enum query_step before = scan_step(s, QUERY_STEP_FETCH);
    rc = objstore_get_many(s->store, gets, count, s->deadline_mono_ns, err);
    s->stats->requests += count;
    scan_step(s, QUERY_STEP_DECODE);
    for (size_t i = 0; i < count; i++) {
        struct slice bytes = buf_view(&gets[i].out);
        s->stats->bytes_read += bytes.len;
        s->stats->columns++;
        if (rc == 0 && bytes.len != gets[i].bytes)
            rc = leaf_error(s, leaves[i], err, "the object ends inside the column chunk");
        if (rc == 0)
            rc = keep_bytes(s, &gets[i].out, err);
        if (rc == 0) {
            rc = parquet_chunk_decode(f, s->row_group, (uint32_t)s->footer->leaf_of[leaves[i]],
                                      bytes, s->arena, &s->decoded[leaves[i]], err);
            s->have[leaves[i]] = rc == 0;
        }
        buf_clear(&gets[i].out);
    }
    scan_step(s, before);
    buf_clear(&key);
    return rc;
}

int scan_need(struct scan *s, const int *leaves, size_t count, struct err *err)
{
    int missing[BLOCK_LEAVES];
    size_t n = 0;
    bool listed[BLOCK_LEAVES] = {false};
    for (size_t i = 0; i < count; i++) {
        int leaf = leaves[i];
        if (s->have[leaf] || listed[leaf])
            continue;
        listed[leaf] = true;
        if (s->ready) {
            s->decoded[leaf] = s->ready[leaf];
            s->have[leaf] = true;
        } else if (s->footer->leaf_of[leaf] < 0) {
            s->decoded[leaf] = (struct column){.type = block_leaves[leaf].column_type,
                                               .rep_max = block_leaves[leaf].rep_max,
                                               .def_max = block_leaves[leaf].def_max};
            s->have[leaf] = true;
        } else {
            missing[n++] = leaf;
        }
    }
    return n ? fetch(s, missing, n, err) : 0;
}

const struct column *scan_column(const struct scan *s, int leaf)
{
    return &s->decoded[leaf];
}

/* Every span has one entry in a required span-level column; entries of traces, resources and
 * scopes without spans have lower definition levels. */
int scan_maps(struct scan *s, struct err *err)
{
    if (s->have_maps)
        return 0;
    /* Any required span-level leaf does: take one that is decoded, else a small one. */
    static const int candidates[] = {BLOCK_SPAN_START, BLOCK_SPAN_DURATION, BLOCK_SPAN_NAME,
                                     BLOCK_SPAN_STATUS_CODE, BLOCK_SPAN_ID};
    int leaf = BLOCK_SPAN_KIND;
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        if (s->have[candidates[i]])
            leaf = candidates[i];
    }
    int rc = scan_need(s, &leaf, 1, err);
    if (rc < 0)
        return rc;
    const struct column *c = scan_column(s, leaf);
    s->span_trace = arena_array(s->arena, uint32_t, c->values);
    s->span_resource = arena_array(s->arena, uint32_t, c->values);
    s->span_scope = arena_array(s->arena, uint32_t, c->values);
    if (!s->span_trace || !s->span_resource || !s->span_scope)
        return arena_err(s->arena, err, "a row group");
    uint32_t traces = 0, resources = 0, scopes = 0, spans = 0;
    for (uint32_t i = 0; i < c->entries; i++) {
        uint8_t rep = c->rep[i], def = c->def[i];
        traces += rep == 0;
        resources += rep <= BLOCK_REP_RESOURCE && def >= BLOCK_REP_RESOURCE;
        scopes += rep <= BLOCK_REP_SCOPE && def >= BLOCK_REP_SCOPE;
        if (def == c->def_max) {
            s->span_trace[spans] = traces - 1;
            s->span_resource[spans] = resources - 1;
            s->span_scope[spans] = scopes - 1;
            spans++;
        }
    }
    if (c->entries && (c->rep[0] != 0 || traces != c->rows || spans != c->values))
        return leaf_error(s, leaf, err, "levels do not add up");
    for (uint32_t i = 0; i < spans; i++) {
        if (s->span_trace[i] >= traces || s->span_resource[i] >= resources ||
            s->span_scope[i] >= scopes)
            return leaf_error(s, leaf, err, "a span stands outside of a scope");
    }
    s->traces = traces;
    s->resources = resources;
    s->scopes = scopes;
    s->spans = spans;
    s->have_maps = true;
    return 0;
}
