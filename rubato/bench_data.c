/* The data of rubato bench query: blocks of the shop's traces, the same for the same number of
 * spans. They are kept in the user's cache directory, for making them takes longer than asking. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/block_store.h"
#include "objstore/objstore.h"
#include "rubato/bench.h"
#include "rubato/shop.h"

/* Changes whenever the data would. */
#define DATA_VERSION 2
#define BLOCKS 6
#define SPANS_PER_TRACE 7 /* about */
#define ARENA_BYTES ((size_t)4 << 30)

struct id {
    uint8_t bytes[16];
};

struct maker {
    struct objstore *store;
    struct block_writer *writer;
    struct shop shop;
    struct arena *arena; /* of the row group's strings */
    struct span_batch batch;
    struct id *ids; /* of the block's traces, ascending */
    uint64_t spans_made, spans_wanted;
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct id));
}

/* So many ids that they suffice for the block's spans. */
static void make_ids(struct maker *m, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < 16; k += 8) {
            uint64_t r = rng_next(&m->shop.rng);
            memcpy(m->ids[i].bytes + k, &r, sizeof r);
        }
    }
    qsort(m->ids, count, sizeof *m->ids, compare_ids);
}

static int add_trace(struct maker *m, const struct id *id, uint64_t start_s, uint64_t range_s,
                     struct err *err)
{
    uint32_t before = m->batch.spans.count;
    uint64_t at = start_s * NS_PER_S + rng_below(&m->shop.rng, range_s * NS_PER_S);
    m->shop.next_id = slice_of(id->bytes, sizeof id->bytes);
    if (!shop_trace(&m->shop, at, m->arena, &m->batch))
        return err_set(err, ERR_NOMEM, "no memory for the shop's traces");
    uint32_t n = m->batch.spans.count - before;
    uint32_t *order = arena_array(m->arena, uint32_t, n);
    if (!order)
        return arena_err(m->arena, err, "the shop's traces");
    for (uint32_t i = 0; i < n; i++)
        order[i] = before + i;
    m->spans_made += n;
    const struct trace trace = {&m->batch, order, n};
    int rc = block_writer_add(m->writer, &trace, err);
    if (rc == 0 && block_writer_pending(m->writer) == 0) { /* the row group is written */
        span_batch_reset(&m->batch);
        arena_reset(m->arena);
    }
    return rc;
}

static int make_block(struct maker *m, unsigned number, struct err *err)
{
    size_t traces = (size_t)(m->spans_wanted / BLOCKS / SPANS_PER_TRACE) + 1;
    uint64_t range_s = BENCH_RANGE_S / BLOCKS;
    struct block_meta meta;
    const struct block_writer_opts opts = {
        .tenant = SLICE(BENCH_TENANT),
        .id = {0xbe, 0xac, [6] = 0x40, [8] = 0x80, [15] = (uint8_t)number},
        .row_group_bytes = (uint64_t)100 << 20,
        .bloom_false_positive = .01,
        .bloom_shard_bytes = 100 << 10,
        .deadline_mono_ns = clock_mono_ns(&clock_system) + 3600 * NS_PER_S};
    m->ids = malloc(traces * sizeof *m->ids);
    if (!m->ids)
        return err_set(err, ERR_NOMEM, "no memory for %zu trace ids", traces);
    make_ids(m, traces);
    span_batch_reset(&m->batch);
    arena_reset(m->arena);
    int rc = block_writer_begin(m->writer, &opts, err);
    for (size_t i = 0; i < traces && rc == 0; i++)
        rc = add_trace(m, &m->ids[i], BENCH_START_S + number * range_s, range_s, err);
    if (rc == 0)
        rc = block_writer_finish(m->writer, &meta, err);
    free(m->ids);
    m->ids = NULL;
    fprintf(stderr, "\rmaking the data: block %u of %u, %llu spans", number + 1, (unsigned)BLOCKS,
            (unsigned long long)m->spans_made);
    return rc;
}

static int make_data(const char *dir, uint64_t spans, struct err *err)
{
    const struct log log = {.fd = STDERR_FILENO, .level = LOG_LEVEL_WARN, .room = "bench"};
    const struct objstore_env env = {.log = &log, .clock = &clock_system};
    struct maker m = {
        .shop = {.rng = {42}}, .spans_wanted = spans, .arena = arena_new(ARENA_BYTES)};
    int rc = m.arena ? 0 : err_set(err, ERR_NOMEM, "no memory for the shop's traces");
    if (rc == 0)
        rc = objstore_local_new(&(struct objstore_local_opts){.path = slice_cstr(dir)}, &env,
                                &m.store, err);
    if (rc == 0)
        rc = block_writer_new(m.store, &m.writer, err);
    for (unsigned i = 0; i < BLOCKS && rc == 0; i++)
        rc = make_block(&m, i, err);
    fputc('\n', stderr);
    block_writer_free(m.writer);
    span_batch_clear(&m.batch);
    arena_free(m.arena);
    objstore_free(m.store);
    return rc;
}

/* <cache>/rubato, made where it is missing. */
static int cache_dir(char *out, size_t size, struct err *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool given = cache && *cache;
    int n = given           ? snprintf(out, size, "%s", cache)
            : home && *home ? snprintf(out, size, "%s/.cache", home)
                            : snprintf(out, size, "/tmp");
    if (n < 0 || (size_t)n + sizeof "/rubato" > size)
        return err_set(err, ERR_LIMIT, "the cache directory's path is too long");
    mkdir(out, 0777); /* what fails here fails below, where it is told */
    snprintf(out + n, size - (size_t)n, "/rubato");
    mkdir(out, 0777);
    return 0;
}

int bench_data(uint64_t spans, char *dir, size_t dir_bytes, struct err *err)
{
    char cache[3072], making[4096 + 32];
    struct stat st;
    int rc = cache_dir(cache, sizeof cache, err);
    if (rc < 0)
        return rc;
    int n = snprintf(dir, dir_bytes, "%s/bench-query-%llu-%d", cache, (unsigned long long)spans,
                     DATA_VERSION);
    if (n < 0 || (size_t)n >= dir_bytes || n >= 4096)
        return err_set(err, ERR_LIMIT, "the cache directory's path is too long");
    if (stat(dir, &st) == 0)
        return 0;
    /* Under another name until it is complete. */
    snprintf(making, sizeof making, "%s.%ld", dir, (long)getpid());
    rc = make_data(making, spans, err);
    if (rc == 0 && rename(making, dir) < 0)
        rc = err_set(err, ERR_IO, "%s: %m", dir);
    return rc;
}
