/* Every byte of a small block flipped in turn, and the block read as the worker does: each trace by
 * its id, and a search. What a checksum covers gives an error that says where, or the same answer;
 * all else at least an end within limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "block/parquet_priv.h"
#include "catalog/block_store.h"
#include "otlp/otlp.h"
#include "tests/support/otlp_support.h"
#include "worker/worker.h"

#define DEADLINE (clock_mono_ns(&clock_system) + 60 * NS_PER_S)
#define ARENA_BYTES ((size_t)256 << 20)
#define TRACES_MAX 8

static const char query[] = "{ resource.service.name =~ \"shop|broken\" && (duration > 0 || "
                            "span.http.method = \"GET\" || event:name = \"e1\") }";

/* What the reads of a block say. */
struct answer {
    int rc; /* of the first that failed */
    struct err err;
    struct buf bytes; /* of all that did not */
    uint32_t spans;   /* of the traces */
    uint32_t found;   /* traces of the search */
};

struct bench {
    struct objstore *store;
    struct metrics *metrics;
    struct arena *a;
    struct buf json[2];
    struct span_batch input;
    struct block_meta meta;
    uint8_t ids[TRACES_MAX][16];
    uint32_t id_count;
    struct traceql_query *query;
    struct answer whole;
};

static void ok(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

/* ---- the block ---- */

static void write_block(struct bench *b)
{
    static const char *const files[] = {"tests/data/fixtures/input/single-tenant/kitchen.json",
                                        "tests/data/fixtures/input/single-tenant/broken.json"};
    struct err err = {0};
    for (size_t i = 0; i < 2; i++) {
        buf_init(&b->json[i], 1 << 20);
        support_read_file(files[i], &b->json[i]);
        ok(otlp_json_decode(buf_view(&b->json[i]), b->a, &b->input, &err), &err);
    }
    static const struct block_dedicated dedicated[] = {
        {.scope = BLOCK_SCOPE_RESOURCE, .name = {(const uint8_t *)"host.name", 9}}};
    struct block_writer_opts opts = {.tenant = SLICE("acme"),
                                     .id = {0xca, 0xfe, 1},
                                     .dedicated = dedicated,
                                     .dedicated_count = 1,
                                     .row_group_bytes = 1 << 20,
                                     .bloom_false_positive = 0.01,
                                     .bloom_shard_bytes = 1024,
                                     .deadline_mono_ns = DEADLINE};
    struct block_writer *w;
    ok(block_writer_new(b->store, &w, &err), &err);
    ok(block_writer_begin(w, &opts, &err), &err);
    uint32_t *order = arena_array(b->a, uint32_t, b->input.spans.count);
    assert_non_null(order);
    uint32_t count = (uint32_t)span_batch_group(&b->input, order);
    for (uint32_t i = 0, next; i < count; i = next) {
        const uint8_t *id = b->input.spans.at[order[i]].trace_id;
        for (next = i + 1; next < count; next++) {
            if (memcmp(b->input.spans.at[order[next]].trace_id, id, 16) != 0)
                break;
        }
        struct trace t = {.batch = &b->input, .spans = order + i, .span_count = next - i};
        ok(block_writer_add(w, &t, &err), &err);
        assert_true(b->id_count < TRACES_MAX);
        memcpy(b->ids[b->id_count++], id, 16);
    }
    ok(block_writer_finish(w, &b->meta, &err), &err);
    block_writer_free(w);
}

static void get_object(struct bench *b, const char *name, struct buf *key, struct buf *body)
{
    struct err err = {0};
    buf_init(key, 4096);
    buf_init(body, 1 << 20);
    assert_int_equal(block_key(key, b->meta.tenant, b->meta.id, name), 0);
    ok(objstore_get(b->store, buf_view(key), DEADLINE, body, &err), &err);
}

/* ---- what the worker says ---- */

static void put_u64(struct answer *to, uint64_t v)
{
    assert_int_equal(buf_u64le(&to->bytes, v), 0);
}

static void put_text(struct answer *to, struct slice s)
{
    put_u64(to, s.len);
    assert_int_equal(buf_slice(&to->bytes, s), 0);
}

static void put_trace(struct answer *to, const struct query_trace *t)
{
    put_text(to, slice_of(t->id, sizeof t->id));
    put_text(to, t->root_service);
    put_text(to, t->root_name);
    put_u64(to, t->start_unix_ns);
    put_u64(to, t->duration_ns);
    for (uint32_t i = 0; i < t->service_count; i++) {
        put_text(to, t->services[i].name);
        put_u64(to, t->services[i].span_count);
        put_u64(to, t->services[i].error_count);
    }
    for (uint32_t i = 0; i < t->set_count; i++) {
        const struct query_spanset *set = &t->sets[i];
        put_u64(to, set->matched);
        for (uint32_t k = 0; k < set->span_count; k++) {
            const struct query_span *s = &set->spans[k];
            put_text(to, s->id);
            put_u64(to, s->start_unix_ns);
            put_u64(to, s->duration_ns);
            for (uint32_t n = 0; n < s->attr_count; n++) {
                put_text(to, s->attrs[n].key);
                for (uint32_t v = 0; v < s->attrs[n].count; v++) {
                    put_u64(to, s->attrs[n].values[v].type);
                    if (s->attrs[n].values[v].type == TRACEQL_STRING)
                        put_text(to, s->attrs[n].values[v].str);
                    else
                        put_u64(to, (uint64_t)s->attrs[n].values[v].i64);
                }
            }
        }
    }
}

static void search(const struct query_worker *w, const struct query_source *source,
                   const struct bench *b, struct answer *to)
{
    const struct query_search q = {.query = b->query, .limit = 20, .spans_per_set = 3};
    struct query_search_result result;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    int rc = w->search(w->self, source, &q, DEADLINE, a, &result, &err);
    if (rc < 0 && to->rc == 0) {
        to->rc = rc;
        to->err = err;
    }
    for (uint32_t i = 0; rc == 0 && i < result.trace_count; i++)
        put_trace(to, &result.traces[i]);
    put_u64(to, (uint64_t)(int64_t)rc);
    to->found = result.trace_count;
    arena_free(a);
}

static void find_trace(const struct query_worker *w, const struct query_source *source,
                       const uint8_t id[16], struct answer *to)
{
    struct span_batch batch = {0};
    struct query_trace_result result = {.batch = &batch};
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    int rc = w->find_trace(w->self, source, id, DEADLINE, a, &result, &err);
    if (rc < 0 && to->rc == 0) {
        to->rc = rc;
        to->err = err;
    }
    if (rc == 0) {
        uint32_t *order = calloc(batch.spans.count + 1, sizeof *order);
        assert_non_null(order);
        struct trace t = support_whole_batch(&batch, order);
        assert_int_equal(otlp_encode(&t, &to->bytes), 0);
        free(order);
    }
    put_u64(to, (uint64_t)(int64_t)rc);
    to->spans += batch.spans.count;
    span_batch_clear(&batch);
    arena_free(a);
}

/* A new worker each time: it keeps footers. */
static void ask(const struct bench *b, const struct block_meta *meta, struct answer *to)
{
    static const struct log quiet = {.level = LOG_LEVEL_ERROR};
    struct worker_opts opts = {
        .store = b->store, .log = &quiet, .metrics = b->metrics, .clock = &clock_system};
    struct catalog_block block = {.meta = *meta};
    const struct query_source source = {.tenant = b->meta.tenant, .block = &block};
    struct worker *worker;
    assert_int_equal(worker_new(&opts, &worker, NULL), 0);
    const struct query_worker w = worker_interface(worker);
    to->rc = 0;
    to->spans = 0;
    to->err = (struct err){0};
    buf_reset(&to->bytes);
    for (uint32_t i = 0; i < b->id_count; i++)
        find_trace(&w, &source, b->ids[i], to);
    search(&w, &source, b, to);
    worker_free(worker);
}

static bool same(const struct answer *a, const struct answer *b)
{
    return a->rc == b->rc && slice_eq(buf_view(&a->bytes), buf_view(&b->bytes));
}

/* ---- life ---- */

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct err err = {0};
    const struct objstore_env env = {.clock = &clock_system};
    assert_non_null(b);
    b->a = arena_new(ARENA_BYTES);
    b->metrics = metrics_new();
    ok(objstore_memory_new(&env, &b->store, &err), &err);
    write_block(b);
    ok(traceql_parse(slice_cstr(query), b->a, &b->query, &err), &err);
    buf_init(&b->whole.bytes, 1 << 24);
    ask(b, &b->meta, &b->whole);
    ok(b->whole.rc, &b->whole.err);
    assert_true(b->whole.spans == b->input.spans.count);
    assert_int_equal(b->whole.found, 2);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    for (size_t i = 0; i < 2; i++)
        buf_clear(&b->json[i]);
    buf_clear(&b->whole.bytes);
    span_batch_clear(&b->input);
    objstore_free(b->store);
    metrics_free(b->metrics);
    arena_free(b->a);
    free(b);
    return 0;
}

/* ---- tests ---- */

/* covered[i]: byte i lies in the body of a page, under its crc. */
static void find_bodies(struct slice file, bool *covered)
{
    struct arena *a = arena_new(ARENA_BYTES);
    struct parquet_file *f;
    uint32_t footer_bytes;
    struct err err = {0};
    ok(parquet_tail_decode(slice_from(file, file.len - 8), file.len, &footer_bytes, &err), &err);
    struct slice footer = slice_of(file.ptr + file.len - 8 - footer_bytes, footer_bytes);
    ok(parquet_footer_decode(footer, file.len, a, &f, &err), &err);
    for (uint32_t g = 0; g < f->row_group_count; g++) {
        for (uint32_t i = 0; i < f->leaf_count; i++) {
            const struct parquet_chunk *c = &f->row_groups[g].chunks[i];
            for (size_t at = c->offset; at < c->offset + c->bytes;) {
                struct slice left = slice_of(file.ptr + at, c->offset + c->bytes - at);
                struct thrift_reader r = thrift_reader_of(left, "page header", &err);
                struct page_header h;
                assert_int_equal(page_header_decode(&r, &h), 0);
                assert_int_not_equal(h.crc, 0);
                at += cursor_offset(&r.cur);
                memset(covered + at, 1, h.compressed_bytes);
                at += h.compressed_bytes;
            }
        }
    }
    arena_free(a);
}

/* The only bytes that no checksum covers and no other number contradicts: the bounds of the trace
 * ids in the footer, by which a row group is passed over. A wrong one hides a trace. */
static bool in_id_bounds(const struct bench *b, struct slice file, size_t at)
{
    const size_t footer = file.len - PARQUET_TAIL_BYTES - b->meta.footer_size;
    for (uint32_t i = 0; i < b->id_count; i++) {
        const uint8_t *id = memmem(file.ptr + footer, file.len - footer, b->ids[i], 16);
        assert_non_null(id);
        size_t first = (size_t)(id - file.ptr);
        if (at + 2 >= first && at < first + 16) /* the length and the field stand before it */
            return true;
    }
    return false;
}

/* Puts the object with one bit of byte i changed, asks, and says what is there. */
static void ask_flipped(const struct bench *b, struct buf *key, struct buf *body, size_t i,
                        struct answer *out)
{
    const uint8_t bit = (uint8_t)(1 << i % 8);
    body->ptr[i] ^= bit;
    assert_int_equal(objstore_put(b->store, buf_view(key), buf_view(body), 0, DEADLINE, NULL), 0);
    body->ptr[i] ^= bit;
    ask(b, &b->meta, out);
}

static void data_says_where_it_is_damaged_or_answers_the_same(void **state)
{
    struct bench *b = *state;
    struct buf key, body;
    struct answer got;
    size_t errors = 0, bodies = 0;
    get_object(b, "data.parquet", &key, &body);
    bool *covered = calloc(body.len, sizeof *covered);
    assert_non_null(covered);
    find_bodies(buf_view(&body), covered);
    buf_init(&got.bytes, 1 << 24);
    for (size_t i = 0; i < body.len; i++) {
        ask_flipped(b, &key, &body, i, &got);
        bodies += covered[i];
        errors += got.rc < 0;
        if (got.rc < 0 && !strstr(got.err.msg, "block cafe0100-"))
            fail_msg("byte %zu: no block is named: %s", i, got.err.msg);
        if (covered[i] && got.rc == 0)
            fail_msg("byte %zu: its checksum says nothing", i);
        if (covered[i] &&
            (!strstr(got.err.msg, "column ") || !strstr(got.err.msg, "page at byte ")))
            fail_msg("byte %zu: no place is named: %s", i, got.err.msg);
        if (got.rc == 0 && !same(&got, &b->whole) && !in_id_bounds(b, buf_view(&body), i))
            fail_msg("byte %zu of %zu: another answer", i, body.len);
    }
    assert_true(bodies > 4000);
    assert_true(errors > body.len / 2);
    free(covered);
    buf_clear(&got.bytes);
    buf_clear(&key);
    buf_clear(&body);
}

/* Nothing in a bloom filter says that a bit of it is wrong: a trace may be missed, or looked for in
 * vain, but what comes is whole. */
static void a_bloom_filter_misses_a_trace_at_worst(void **state)
{
    struct bench *b = *state;
    struct buf key, body;
    struct answer got;
    size_t missed = 0;
    get_object(b, "bloom-0", &key, &body);
    buf_init(&got.bytes, 1 << 24);
    for (size_t i = 0; i < body.len; i++) {
        ask_flipped(b, &key, &body, i, &got);
        if (got.rc < 0 && !strstr(got.err.msg, "bloom-0"))
            fail_msg("byte %zu: no object is named: %s", i, got.err.msg);
        assert_int_equal(got.found, b->whole.found);
        if (got.rc == 0 && got.spans == b->whole.spans)
            assert_true(same(&got, &b->whole));
        else if (got.rc == 0)
            missed++;
    }
    assert_true(missed < body.len / 2);
    buf_clear(&got.bytes);
    buf_clear(&key);
    buf_clear(&body);
}

/* The worker reads without the index. */
static void an_index_is_refused_or_names_ids(void **state)
{
    struct bench *b = *state;
    struct buf key, body;
    get_object(b, "index", &key, &body);
    for (size_t i = 0; i < body.len; i++) {
        uint8_t(*ids)[16];
        size_t count;
        struct arena *a = arena_new(1 << 20);
        body.ptr[i] ^= (uint8_t)(1 << i % 8);
        int rc = block_index_parse(buf_view(&body), a, &ids, &count, NULL);
        body.ptr[i] ^= (uint8_t)(1 << i % 8);
        assert_true(rc == ERR_CORRUPT || (rc == 0 && count <= 1));
        arena_free(a);
    }
    buf_clear(&key);
    buf_clear(&body);
}

/* meta.json has no checksum either, but what it says of the other objects must fit them. Only the
 * list of dedicated columns is believed: it says whose values a column holds. */
static void a_meta_is_refused_or_fits_the_data(void **state)
{
    struct bench *b = *state;
    struct buf key, body;
    struct answer got;
    size_t refused = 0;
    get_object(b, "meta.json", &key, &body);
    buf_init(&got.bytes, 1 << 24);
    const uint8_t *list = memmem(body.ptr, body.len, "\"dedicatedColumns\"", 18);
    assert_non_null(list);
    for (size_t i = 0; i < body.len; i++) {
        struct block_meta meta;
        struct err err = {0};
        struct arena *a = arena_new(1 << 20);
        body.ptr[i] ^= (uint8_t)(1 << i % 8);
        int rc = block_meta_parse(buf_view(&body), a, &meta, &err);
        body.ptr[i] ^= (uint8_t)(1 << i % 8);
        if (rc < 0) {
            refused++;
            assert_int_not_equal(err.msg[0], '\0');
        } else {
            ask(b, &meta, &got);
            if (got.rc == 0 && !same(&got, &b->whole) && body.ptr + i < list)
                fail_msg("byte %zu: another answer", i);
        }
        arena_free(a);
    }
    assert_true(refused > body.len / 3);
    buf_clear(&got.bytes);
    buf_clear(&key);
    buf_clear(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(data_says_where_it_is_damaged_or_answers_the_same, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_bloom_filter_misses_a_trace_at_worst, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_is_refused_or_names_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(a_meta_is_refused_or_fits_the_data, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
