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

void scan_window(struct scan *s, int64_t row_first, int64_t row_count)
{
    s->row_first = row_first;
    s->row_count = row_count;
    s->have_maps = false;
    memset(s->have, 0, sizeof s->have);
}

void scan_close(struct scan *s)
{
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        if (!s->readers[i])
            continue;
        s->stats->columns++;
        s->stats->pages += parquet_reader_decoded(s->readers[i]);
        s->stats->pages_skipped +=
            parquet_reader_pages(s->readers[i]) - parquet_reader_decoded(s->readers[i]);
        parquet_reader_free(s->readers[i]);
        s->readers[i] = NULL;
    }
}

int scan_fetch(struct scan *s, struct objstore_get *gets, size_t count, struct err *err)
{
    struct buf text;
    struct slice key;
    buf_init(&text, 4096);
    int rc = block_key(&text, s->meta->tenant, s->meta->id, "data.parquet");
    bool kept = rc == 0 && arena_slice(s->group, buf_view(&text), &key);
    buf_clear(&text);
    if (rc < 0)
        return err_set(err, rc, "the block's key is too long");
    for (size_t i = 0; i < count; i++) {
        if (gets[i].bytes > LIMIT_FETCH_BYTES)
            return err_set(err, ERR_LIMIT, "%llu bytes of a column, at most %zu are read",
                           (unsigned long long)gets[i].bytes, LIMIT_FETCH_BYTES);
        void *storage = arena_alloc(s->group, (size_t)gets[i].bytes);
        if (!kept || !storage)
            return arena_err(s->group, err, "a row group");
        gets[i].key = key;
        gets[i].range = OBJSTORE_RANGE;
        buf_init_fixed(&gets[i].out, storage, (size_t)gets[i].bytes);
    }
    enum query_step before = scan_step(s, QUERY_STEP_FETCH);
    rc = objstore_get_many(s->store, gets, count, s->deadline_mono_ns, err);
    scan_step(s, before);
    s->stats->requests += count;
    for (size_t i = 0; i < count; i++) {
        s->stats->bytes_read += gets[i].out.len;
        if (rc == 0 && gets[i].out.len != gets[i].bytes)
            rc = err_set(err, ERR_CORRUPT, "the object ends %zu bytes behind byte %llu, not %llu",
                         gets[i].out.len, (unsigned long long)gets[i].offset,
                         (unsigned long long)gets[i].bytes);
    }
    return rc;
}

static const struct parquet_chunk *chunk_of(const struct scan *s, int leaf)
{
    return &s->footer->file->row_groups[s->row_group].chunks[s->footer->leaf_of[leaf]];
}

int scan_open(struct scan *s, const int *leaves, size_t count, struct err *err)
{
    struct objstore_get *gets = arena_zalloc(s->group, count * sizeof *gets);
    size_t n = 0;
    if (!gets)
        return arena_err(s->group, err, "a row group");
    for (size_t i = 0; i < count; i++) {
        if (s->readers[leaves[i]])
            continue;
        gets[n].offset = chunk_of(s, leaves[i])->offset;
        gets[n++].bytes = chunk_of(s, leaves[i])->bytes;
    }
    int rc = n ? scan_fetch(s, gets, n, err) : 0;
    n = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (!s->readers[leaves[i]])
            rc = parquet_reader_new(
                s->footer->file, s->row_group, (uint32_t)s->footer->leaf_of[leaves[i]],
                buf_view(&gets[n++].out), LIMIT_SCAN_BYTES, s->group, &s->readers[leaves[i]], err);
    }
    return rc;
}

static int decode(struct scan *s, const int *leaves, size_t count, struct err *err)
{
    enum query_step before = scan_step(s, QUERY_STEP_DECODE);
    int rc = scan_open(s, leaves, count, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = parquet_reader_take(s->readers[leaves[i]], s->row_first, s->row_count,
                                 &s->decoded[leaves[i]], err);
        s->have[leaves[i]] = rc == 0;
    }
    scan_step(s, before);
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
    return n ? decode(s, missing, n, err) : 0;
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
    size_t room = (size_t)c->values + 1; /* each entry is written, and only spans are kept */
    s->span_trace = arena_array(s->arena, uint32_t, room);
    s->span_resource = arena_array(s->arena, uint32_t, room);
    s->span_scope = arena_array(s->arena, uint32_t, room);
    if (!s->span_trace || !s->span_resource || !s->span_scope)
        return arena_err(s->arena, err, "a row group");
    uint32_t traces = 0, resources = 0, scopes = 0, spans = 0;
    bool rows_only = c->def == NULL || c->values == c->entries; /* nobody lacks a span */
    for (uint32_t i = 0; i < c->entries; i++) { /* without a branch: what is there varies */
        uint8_t rep = c->rep[i], def = rows_only ? c->def_max : c->def[i];
        traces += rep == 0;
        resources += (rep <= BLOCK_REP_RESOURCE) & (def >= BLOCK_REP_RESOURCE);
        scopes += (rep <= BLOCK_REP_SCOPE) & (def >= BLOCK_REP_SCOPE);
        s->span_trace[spans] = traces - 1;
        s->span_resource[spans] = resources - 1;
        s->span_scope[spans] = scopes - 1;
        spans += def == c->def_max;
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
