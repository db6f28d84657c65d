/* rubato bench block: what reading and writing blocks costs on this machine. Everything is in
 * memory and on one thread, and times are of the processor, so the figures are of the block code
 * alone: spans from OTLP to a block, blocks into one, the block's columns back, and the encodings
 * by themselves on what those columns hold. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/vec.h"
#include "block/block_schema.h"
#include "block/parquet_encoding.h"
#include "catalog/block_merge.h"
#include "otlp/otlp.h"
#include "rubato/bench.h"
#include "rubato/frames.h"

#define ARENA_BYTES ((size_t)8 << 30)
#define BLOCKS 2 /* that are merged */

struct bench {
    uint64_t measure_ns; /* each figure is the best of what fits */
    struct buf frames;
    struct span_batch batch[BLOCKS];
    struct objstore *store;
    struct block_writer *writer;
    struct block_meta meta[BLOCKS + 1]; /* the last is the merged one */
    struct arena *a;
    struct parquet_file *file; /* of the merged block */
    struct buf data;
    struct column *columns; /* leaf_count of its first row group */
};

static int usage(FILE *to)
{
    fputs("usage: rubato bench block [--ms N] FILE…\n"
          "\n"
          "FILE holds OTLP requests, each a 4-byte big-endian length and a protobuf\n"
          "ExportTraceServiceRequest; .zst is decompressed.\n"
          "\n"
          "  --ms N   processor time for each figure (100); the best run counts\n",
          to);
    return to == stdout ? 0 : 2;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t deadline(void)
{
    return clock_mono_ns(&clock_system) + 3600 * NS_PER_S;
}

/* Something to be measured. */
typedef int(run_fn)(void *ctx, struct err *err);

/* Nanoseconds of the fastest run. */
static int measure(const struct bench *b, run_fn *run, void *ctx, uint64_t *best, struct err *err)
{
    uint64_t spent = 0;
    *best = UINT64_MAX;
    for (unsigned n = 0; n < 3 || spent < b->measure_ns; n++) {
        uint64_t start = cpu_ns();
        int rc = run(ctx, err);
        uint64_t took = cpu_ns() - start;
        if (rc < 0)
            return rc;
        spent += took;
        if (took < *best)
            *best = took ? took : 1;
    }
    return 0;
}

/* ---- writing and merging ---- */

static int load(struct bench *b, char **files, int count, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = frames_read_file(files[i], &b->frames, err);
    struct cursor c = cursor_of(buf_view(&b->frames));
    for (unsigned n = 0; rc == 0; n++) {
        struct slice request;
        rc = frames_next(&c, &request, err);
        if (rc == 0)
            rc = otlp_decode(request, &b->batch[n % BLOCKS], err);
    }
    if (rc < 0)
        return rc;
    for (int i = 0; i < BLOCKS; i++) {
        if (b->batch[i].spans.count == 0)
            return err_set(err, ERR_INVALID, "fewer than %d requests with spans", BLOCKS);
    }
    return 0;
}

struct write_run {
    struct bench *b;
    unsigned which;
};

static int write_block(void *ctx, struct err *err)
{
    struct write_run *run = ctx;
    struct bench *b = run->b;
    const struct span_batch *batch = &b->batch[run->which];
    const struct block_writer_opts opts = {.tenant = SLICE("bench"),
                                           .id = {(uint8_t)(run->which + 1)},
                                           .row_group_bytes = (uint64_t)100 << 20,
                                           .bloom_false_positive = 0.01,
                                           .bloom_shard_bytes = 100 << 10,
                                           .deadline_mono_ns = deadline()};
    uint32_t *order = calloc(batch->spans.count, sizeof *order);
    if (!order)
        return err_set(err, ERR_NOMEM, "no memory for %u spans", batch->spans.count);
    uint32_t count = (uint32_t)span_batch_group(batch, order);
    int rc = block_writer_begin(b->writer, &opts, err);
    for (uint32_t i = 0, next; i < count && rc == 0; i = next) {
        const uint8_t *id = batch->spans.at[order[i]].trace_id;
        for (next = i + 1; next < count; next++) {
            if (memcmp(batch->spans.at[order[next]].trace_id, id, 16) != 0)
                break;
        }
        const struct trace t = {.batch = batch, .spans = order + i, .span_count = next - i};
        rc = block_writer_add(b->writer, &t, err);
    }
    if (rc == 0)
        rc = block_writer_finish(b->writer, &b->meta[run->which], err);
    free(order);
    return rc;
}

static int merge_blocks(void *ctx, struct err *err)
{
    struct bench *b = ctx;
    const struct block_meta *inputs[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        inputs[i] = &b->meta[i];
    const struct block_merge_opts opts = {.store = b->store,
                                          .inputs = inputs,
                                          .input_count = BLOCKS,
                                          .id = {0xff},
                                          .deadline_mono_ns = deadline()};
    return block_merge(&opts, b->a, &b->meta[BLOCKS], NULL, err);
}

static void print_spans(const char *what, uint64_t spans, uint64_t ns)
{
    printf("%-34s %10.0f spans/CPU s\n", what, (double)spans * 1e9 / (double)ns);
}

static int bench_writes(struct bench *b, struct err *err)
{
    uint64_t spans = 0, total = 0, ns = 0, bytes = 0;
    int rc = 0;
    for (unsigned i = 0; i < BLOCKS && rc == 0; i++) {
        struct write_run run = {b, i};
        rc = measure(b, write_block, &run, &ns, err);
        total += ns;
        spans += b->batch[i].spans.count;
        bytes += b->meta[i].size;
    }
    if (rc < 0)
        return rc;
    print_spans("write: spans to blocks", spans, total);
    rc = measure(b, merge_blocks, b, &ns, err);
    if (rc < 0)
        return rc;
    print_spans("merge: two blocks to one", spans, ns);
    printf("%-34s %10.1f bytes/span, merged %.1f\n", "size", (double)bytes / (double)spans,
           (double)b->meta[BLOCKS].size / (double)spans);
    return 0;
}

/* ---- reading ---- */

static int open_block(struct bench *b, struct err *err)
{
    struct buf key;
    buf_init(&key, 4096);
    int rc = block_key(&key, SLICE("bench"), b->meta[BLOCKS].id, "data.parquet");
    if (rc == 0)
        rc = objstore_get(b->store, buf_view(&key), deadline(), &b->data, err);
    if (rc == 0)
        rc = block_open(b->store, &b->meta[BLOCKS], deadline(), b->a, &b->file, err);
    buf_clear(&key);
    if (rc < 0)
        return rc;
    b->columns = arena_zalloc(b->a, b->file->leaf_count * sizeof *b->columns);
    return b->columns ? 0 : arena_err(b->a, err, "the columns");
}

struct read_run {
    struct bench *b;
    struct arena *a;
    uint32_t first, end; /* leaves */
    struct column last;
};

static int read_columns(void *ctx, struct err *err)
{
    struct read_run *run = ctx;
    int rc = 0;
    arena_reset(run->a);
    for (uint32_t i = run->first; i < run->end && rc == 0; i++) {
        const struct parquet_chunk *c = &run->b->file->row_groups[0].chunks[i];
        rc = parquet_chunk_decode(run->b->file, 0, i,
                                  slice_of(run->b->data.ptr + c->offset, (size_t)c->bytes), run->a,
                                  &run->last, err);
    }
    return rc;
}

/* What a column holds in memory: levels, numbers or indices, the bytes of strings. */
static size_t column_size(const struct column *c)
{
    static const uint8_t sizes[] = {
        [COLUMN_BOOL] = 1, [COLUMN_I32] = 4, [COLUMN_I64] = 8, [COLUMN_F64] = 8};
    size_t bytes = (size_t)c->entries * ((c->rep_max > 0) + (size_t)(c->def_max > 0));
    if (c->type != COLUMN_BYTES)
        return bytes + (size_t)c->values * sizes[c->type];
    const struct slice *strings = c->has_dict ? c->dict : c->v.bytes;
    uint32_t count = c->has_dict ? c->dict_count : c->values;
    for (uint32_t i = 0; i < count; i++)
        bytes += strings[i].len;
    return bytes + (c->has_dict ? (size_t)c->values * 4 : 0);
}

static int bench_columns(struct bench *b, struct err *err)
{
    struct read_run run = {.b = b, .a = arena_new(ARENA_BYTES), .end = b->file->leaf_count};
    uint64_t ns = 0, spans = 0;
    int rc = run.a ? measure(b, read_columns, &run, &ns, err)
                   : err_set(err, ERR_NOMEM, "no memory for columns");
    int id = parquet_leaf_find(b->file, slice_cstr(block_leaves[BLOCK_SPAN_ID].path));
    if (rc == 0 && id >= 0)
        spans = (uint64_t)b->file->row_groups[0].chunks[id].num_values;
    if (rc == 0) {
        print_spans("read: all columns", spans, ns);
        printf("\n%-52s %9s %9s %9s %8s\n", "column", "stored", "entries", "M/s", "GB/s");
    }
    for (uint32_t i = 0; i < b->file->leaf_count && rc == 0; i++) {
        run.first = i;
        run.end = i + 1;
        rc = measure(b, read_columns, &run, &ns, err);
        if (rc < 0)
            break;
        struct slice path = b->file->leaves[i].path;
        struct slice shown = path.len > 52 ? slice_from(path, path.len - 52) : path;
        printf("%-52.*s %9llu %9u %9.0f %8.2f\n", SLICE_ARGS(shown),
               (unsigned long long)b->file->row_groups[0].chunks[i].bytes, run.last.entries,
               (double)run.last.entries * 1e3 / (double)ns,
               (double)column_size(&run.last) / (double)ns);
        const struct parquet_chunk *c = &b->file->row_groups[0].chunks[i];
        rc =
            parquet_chunk_decode(b->file, 0, i, slice_of(b->data.ptr + c->offset, (size_t)c->bytes),
                                 b->a, &b->columns[i], err);
    }
    arena_free(run.a);
    return rc;
}

/* ---- encodings ---- */

enum kind { KIND_LEVELS, KIND_INDICES, KIND_DELTA, KIND_DELTA_LENGTH, KIND_PLAIN, KINDS };

/* Streams of one encoding from all columns, as a writer makes them, one behind the other. */
struct stream {
    const struct column *c;
    const uint8_t *levels; /* KIND_LEVELS */
    uint8_t max;
    struct slice bytes;
};

struct decode_run {
    enum kind kind;
    VEC(struct stream) streams;
    struct buf encoded;
    VEC(size_t) ends; /* of the streams in it */
    uint64_t values, bytes;
    void *out;
};

static enum kind kind_of(const struct column *c)
{
    if (c->type == COLUMN_BYTES)
        return c->has_dict ? KIND_INDICES : KIND_DELTA_LENGTH;
    return c->type == COLUMN_I32 || c->type == COLUMN_I64 ? KIND_DELTA : KIND_PLAIN;
}

static int encode_values(struct decode_run *run, const struct column *c, struct err *err)
{
    struct buf *out = &run->encoded;
    switch (run->kind) {
    case KIND_INDICES:
        return hybrid_encode_indices(c->v.idx, c->values, bit_width(c->dict_count - 1), out);
    case KIND_DELTA:
        return c->type == COLUMN_I32 ? delta_encode_i32(c->v.i32, c->values, out)
                                     : delta_encode_i64(c->v.i64, c->values, out);
    case KIND_DELTA_LENGTH: {
        int32_t *lengths = calloc(c->values, sizeof *lengths);
        if (!lengths)
            return err_set(err, ERR_NOMEM, "no memory for lengths");
        int rc = delta_length_encode(c->v.bytes, c->values, lengths, out, err);
        free(lengths);
        return rc;
    }
    default:
        return c->type == COLUMN_BOOL ? plain_encode_bools(c->v.b, c->values, out)
                                      : plain_encode_fixed(c->v.f64, c->values, 8, out);
    }
}

static int add_stream(struct decode_run *run, const struct column *c, const uint8_t *levels,
                      uint8_t max, struct err *err)
{
    static const uint8_t sizes[] = {[COLUMN_BOOL] = 1,
                                    [COLUMN_I32] = 4,
                                    [COLUMN_I64] = 8,
                                    [COLUMN_F64] = 8,
                                    [COLUMN_BYTES] = sizeof(struct slice)};
    uint32_t count = levels ? c->entries : c->values;
    size_t size = levels ? 1 : run->kind == KIND_INDICES ? 4 : sizes[c->type];
    if (count == 0)
        return 0;
    int rc = levels ? hybrid_encode_levels(levels, count, bit_width(max), &run->encoded)
                    : encode_values(run, c, err);
    if (rc < 0)
        return err_set(err, rc, "no memory for encoded columns");
    run->values += count;
    run->bytes += count * size;
    struct stream s = {.c = c, .levels = levels, .max = max};
    if (!vec_push(&run->streams, s) || !vec_push(&run->ends, run->encoded.len))
        return err_set(err, ERR_NOMEM, "no memory for streams");
    return 0;
}

static int decode_values(const struct decode_run *run, const struct stream *s, struct err *err)
{
    const struct column *c = s->c;
    struct cursor cur = cursor_of(s->bytes);
    switch (run->kind) {
    case KIND_LEVELS:
        return hybrid_decode_levels(s->bytes, bit_width(s->max), s->max, run->out, c->entries, err);
    case KIND_INDICES:
        return hybrid_decode_indices(s->bytes, bit_width(c->dict_count - 1), c->dict_count,
                                     run->out, c->values, err);
    case KIND_DELTA:
        return c->type == COLUMN_I32 ? delta_decode_i32(&cur, run->out, c->values, err)
                                     : delta_decode_i64(&cur, run->out, c->values, err);
    case KIND_DELTA_LENGTH:
        return delta_length_decode(s->bytes, run->out, c->values, err);
    default:
        return c->type == COLUMN_BOOL ? plain_decode_bools(s->bytes, run->out, c->values, err)
                                      : plain_decode_fixed(s->bytes, run->out, c->values, 8, err);
    }
}

static int decode_streams(void *ctx, struct err *err)
{
    struct decode_run *run = ctx;
    int rc = 0;
    for (uint32_t i = 0; i < run->streams.count && rc == 0; i++)
        rc = decode_values(run, &run->streams.at[i], err);
    return rc;
}

static int fill_run(const struct bench *b, struct decode_run *run, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < b->file->leaf_count && rc == 0; i++) {
        const struct column *c = &b->columns[i];
        if (run->kind != KIND_LEVELS) {
            if (kind_of(c) == run->kind)
                rc = add_stream(run, c, NULL, 0, err);
            continue;
        }
        if (c->rep_max)
            rc = add_stream(run, c, c->rep, c->rep_max, err);
        if (rc == 0 && c->def_max)
            rc = add_stream(run, c, c->def, c->def_max, err);
    }
    size_t start = 0, largest = 0;
    for (uint32_t i = 0; i < run->streams.count; i++) {
        struct stream *s = &run->streams.at[i];
        s->bytes = slice_of(run->encoded.ptr + start, run->ends.at[i] - start);
        start = run->ends.at[i];
        if (s->c->entries > largest)
            largest = s->c->entries;
    }
    run->out = calloc(largest + 1, sizeof(struct slice));
    return run->out || rc < 0 ? rc : err_set(err, ERR_NOMEM, "no memory for values");
}

static int bench_encodings(const struct bench *b, struct err *err)
{
    static const char *const names[] = {[KIND_LEVELS] = "levels (runs and packed groups)",
                                        [KIND_INDICES] = "dictionary indices",
                                        [KIND_DELTA] = "DELTA_BINARY_PACKED",
                                        [KIND_DELTA_LENGTH] = "DELTA_LENGTH_BYTE_ARRAY",
                                        [KIND_PLAIN] = "PLAIN bools and doubles"};
    int rc = 0;
    printf("\n%-52s %9s %9s %9s %8s\n", "encoding, of all columns", "stored", "values", "M/s",
           "GB/s");
    for (enum kind k = 0; k < KINDS && rc == 0; k++) {
        struct decode_run run = {.kind = k};
        uint64_t ns = 1;
        buf_init(&run.encoded, ARENA_BYTES);
        rc = fill_run(b, &run, err);
        if (rc == 0)
            rc = measure(b, decode_streams, &run, &ns, err);
        if (rc == 0)
            printf("%-52s %9zu %9llu %9.0f %8.2f\n", names[k], run.encoded.len,
                   (unsigned long long)run.values, (double)run.values * 1e3 / (double)ns,
                   (double)run.bytes / (double)ns);
        buf_clear(&run.encoded);
        vec_free(&run.streams);
        vec_free(&run.ends);
        free(run.out);
    }
    return rc;
}

/* ---- memcpy, to compare with ---- */

struct copy_run {
    uint8_t *from, *to;
    size_t bytes, times;
};

static int copy(void *ctx, struct err *err)
{
    struct copy_run *run = ctx;
    (void)err;
    for (size_t i = 0; i < run->times; i++) {
        memcpy(run->to, run->from, run->bytes);
        __asm__ volatile("" : : "r"(run->to) : "memory");
    }
    return 0;
}

static int bench_memcpy(const struct bench *b, struct err *err)
{
    static const size_t sizes[] = {(size_t)256 << 10, (size_t)64 << 20};
    int rc = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && rc == 0; i++) {
        struct copy_run run = {.from = calloc(1, sizes[i]),
                               .to = calloc(1, sizes[i]),
                               .bytes = sizes[i],
                               .times = ((size_t)64 << 20) / sizes[i]};
        uint64_t ns = 1;
        rc = run.from && run.to ? 0 : err_set(err, ERR_NOMEM, "no memory to copy");
        if (rc == 0) {
            memset(run.from, 1, run.bytes);
            memset(run.to, 1, run.bytes);
            rc = measure(b, copy, &run, &ns, err);
        }
        if (rc == 0)
            printf("memcpy of %5zu KiB %45s %17.2f\n", sizes[i] >> 10, "",
                   (double)(run.bytes * run.times) / (double)ns);
        free(run.from);
        free(run.to);
    }
    return rc;
}

/* ---- ---- */

static int run_all(struct bench *b, char **files, int count, struct err *err)
{
    const struct objstore_env env = {.clock = &clock_system};
    buf_init(&b->frames, FRAMES_BYTES_MAX);
    buf_init(&b->data, ARENA_BYTES);
    b->a = arena_new(ARENA_BYTES);
    int rc = b->a ? 0 : err_set(err, ERR_NOMEM, "no memory for an arena");
    if (rc == 0)
        rc = load(b, files, count, err);
    if (rc == 0)
        rc = objstore_memory_new(&env, &b->store, err);
    if (rc == 0)
        rc = block_writer_new(b->store, &b->writer, err);
    if (rc == 0)
        rc = bench_writes(b, err);
    if (rc == 0)
        rc = open_block(b, err);
    if (rc == 0)
        rc = bench_columns(b, err);
    if (rc == 0)
        rc = bench_encodings(b, err);
    if (rc == 0)
        rc = bench_memcpy(b, err);
    block_writer_free(b->writer);
    for (int i = 0; i < BLOCKS; i++)
        span_batch_clear(&b->batch[i]);
    buf_clear(&b->data);
    buf_clear(&b->frames);
    arena_free(b->a);
    objstore_free(b->store);
    return rc;
}

int bench_block(int argc, char **argv)
{
    static const struct option options[] = {
        {"ms", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct bench b = {.measure_ns = 100 * NS_PER_MS};
    uint64_t number;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'h')
            return usage(stdout);
        if (c == 'm' && parse_u64(slice_cstr(optarg), &number) && number < 1000000)
            b.measure_ns = number * NS_PER_MS;
        else
            return usage(stderr);
    }
    if (optind == argc)
        return usage(stderr);
    struct err err = {0};
    int rc = run_all(&b, argv + optind, argc - optind, &err);
    if (rc < 0)
        fprintf(stderr, "rubato bench: %s\n", err.msg);
    return rc < 0 ? 1 : 0;
}
