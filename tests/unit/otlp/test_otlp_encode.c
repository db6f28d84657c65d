/* The protobuf encoder: what it writes, and that it comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>

#include <cmocka.h>

#include "otlp/otlp.h"
#include "tests/support/otlp_support.h"

struct fixture {
    struct span_batch batch, again;
    struct buf file, out, out_again;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    buf_init(&f->file, (size_t)16 << 20);
    buf_init(&f->out, (size_t)16 << 20);
    buf_init(&f->out_again, (size_t)16 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    span_batch_clear(&f->batch);
    span_batch_clear(&f->again);
    buf_clear(&f->file);
    buf_clear(&f->out);
    buf_clear(&f->out_again);
    free(f);
    return 0;
}

static void encode(const struct span_batch *b, struct buf *out)
{
    uint32_t *order = malloc((b->spans.count + 1) * sizeof *order);
    struct trace t = support_whole_batch(b, order);
    buf_reset(out);
    assert_int_equal(otlp_encode(&t, out), 0);
    free(order);
}

/* Decodes what was encoded and compares; a second encoding has the same bytes. */
static void check_comes_back(struct fixture *f)
{
    encode(&f->batch, &f->out);
    span_batch_reset(&f->again);
    if (otlp_decode(buf_view(&f->out), &f->again, &f->err) < 0)
        fail_msg("%s", f->err.msg);
    char why[200];
    if (!support_batches_equal(&f->batch, &f->again, why))
        fail_msg("%s", why);
    encode(&f->again, &f->out_again);
    assert_int_equal(f->out.len, f->out_again.len);
    assert_memory_equal(f->out.ptr, f->out_again.ptr, f->out.len);
}

static void requests_come_back(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"tests/data/otlp/shop.frames",
                                        "tests/data/otlp/edge.frames"};
    uint32_t spans = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        support_read_file(files[i], &f->file);
        struct slice left = buf_view(&f->file), request;
        while (support_next_frame(&left, &request)) {
            span_batch_reset(&f->batch);
            assert_int_equal(otlp_decode(request, &f->batch, &f->err), 0);
            spans += f->batch.spans.count;
            check_comes_back(f);
        }
    }
    assert_true(spans > 100);
}

/* A sender that leaves out nothing writes exactly what we write. */
static void ordinary_requests_keep_their_bytes(void **state)
{
    struct fixture *f = *state;
    support_read_file("tests/data/otlp/shop.frames", &f->file);
    struct slice left = buf_view(&f->file), request;
    while (support_next_frame(&left, &request)) {
        span_batch_reset(&f->batch);
        assert_int_equal(otlp_decode(request, &f->batch, &f->err), 0);
        encode(&f->batch, &f->out);
        assert_true(slice_eq(buf_view(&f->out), request));
    }
}

static void absent_messages_become_empty_ones(void **state)
{
    struct fixture *f = *state;
    /* resource_spans { scope_spans { span { attributes { key: "k" } } } } */
    assert_int_equal(
        otlp_decode(SLICE("\x0a\x09\x12\x07\x12\x05\x4a\x03\x0a\x01k"), &f->batch, &f->err), 0);
    encode(&f->batch, &f->out);
    /* resource {}, scope {}, trace id of zeros, value {}, status {} */
    static const char want[] = "\x0a\x23\x0a\x00\x12\x1f\x0a\x00\x12\x1b\x0a\x10\0\0\0\0\0\0\0\0\0"
                               "\0\0\0\0\0\0\0\x4a\x05\x0a\x01k\x12\x00\x7a\x00";
    assert_int_equal(f->out.len, sizeof want - 1);
    assert_memory_equal(f->out.ptr, want, sizeof want - 1);
}

/* Adds an attribute to what will be the only span. */
static struct value *add(struct fixture *f, struct run *run, struct slice key)
{
    struct attr *a = span_batch_attr(&f->batch, run);
    assert_non_null(a);
    a->key = key;
    return &a->value;
}

static void one_span(struct fixture *f, struct range attrs)
{
    assert_true(vec_push(&f->batch.resources, (struct resource){0}));
    assert_true(vec_push(&f->batch.scopes, (struct scope){0}));
    assert_true(vec_push(&f->batch.spans, (struct span){.trace_id = {1},
                                                        .kind = -1,
                                                        .status_code = INT32_MIN,
                                                        .flags = UINT32_MAX,
                                                        .end_unix_ns = UINT64_MAX,
                                                        .dropped_attrs = UINT32_MAX,
                                                        .attrs = attrs}));
}

static void numbers_at_their_bounds_come_back(void **state)
{
    struct fixture *f = *state;
    static const int64_t ints[] = {0, 1, 127, 128, 16383, 16384, INT64_MAX, INT64_MIN, -1};
    struct run run = {0};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++)
        *add(f, &run, SLICE("n")) = (struct value){.type = VALUE_INT, .i64 = ints[i]};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_DOUBLE, .f64 = -0.0};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_BOOL};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_STRING};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_BYTES, .str = SLICE("\0")};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_NONE};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_ARRAY};
    *add(f, &run, SLICE("")) = (struct value){.type = VALUE_KVLIST};
    one_span(f, run.range);
    check_comes_back(f);
}

/* Lengths around those where the length takes one byte more, in every message around a string. */
static void lengths_of_every_width_come_back(void **state)
{
    struct fixture *f = *state;
    static uint8_t text[2100000];
    memset(text, 'x', sizeof text);
    static const size_t around[] = {127, 16383, 2097151};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        size_t first = around[i] - 70, last = around[i] + 3;
        size_t step = i == 2 ? 7 : 1;
        for (size_t n = first; n <= last; n += step) {
            span_batch_reset(&f->batch);
            struct run run = {0}, list = {0};
            *add(f, &run, SLICE("s")) =
                (struct value){.type = VALUE_STRING, .str = slice_of(text, n)};
            struct value *element = span_batch_value(&f->batch, &list);
            *element = (struct value){.type = VALUE_BYTES, .str = slice_of(text, n)};
            *add(f, &run, SLICE("l")) = (struct value){.type = VALUE_ARRAY, .list = list.range};
            one_span(f, run.range);
            check_comes_back(f);
        }
    }
}

static void neighbours_share_their_scope_and_resource(void **state)
{
    struct fixture *f = *state;
    for (uint32_t r = 0; r < 2; r++)
        assert_true(vec_push(&f->batch.resources, (struct resource){.dropped_attrs = r}));
    /* Two scopes of resource 0, one of resource 1. */
    for (uint32_t s = 0; s < 3; s++)
        assert_true(
            vec_push(&f->batch.scopes, (struct scope){.resource = s / 2, .dropped_attrs = s}));
    static const uint32_t scopes[] = {0, 1, 2, 1, 1};
    for (size_t i = 0; i < 5; i++)
        assert_true(vec_push(&f->batch.spans, (struct span){.trace_id = {1}, .scope = scopes[i]}));
    check_comes_back(f);
    assert_int_equal(f->again.resources.count, 3);
    assert_int_equal(f->again.scopes.count, 4);
    /* In another order, and of a part. */
    static const uint32_t order[] = {4, 0, 3};
    struct trace t = {.batch = &f->batch, .spans = order, .span_count = 3};
    span_batch_reset(&f->again);
    buf_reset(&f->out);
    assert_int_equal(otlp_encode(&t, &f->out), 0);
    assert_int_equal(otlp_decode(buf_view(&f->out), &f->again, &f->err), 0);
    assert_int_equal(f->again.resources.count, 1);
    assert_int_equal(f->again.scopes.count, 3);
    /* Of nothing, nothing. */
    t.span_count = 0;
    buf_reset(&f->out);
    assert_int_equal(otlp_encode(&t, &f->out), 0);
    assert_int_equal(f->out.len, 0);
}

static void what_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    struct fixture *f = *state;
    support_read_file("tests/data/otlp/edge.frames", &f->file);
    struct slice left = buf_view(&f->file), request;
    assert_true(support_next_frame(&left, &request));
    assert_int_equal(otlp_decode(request, &f->batch, &f->err), 0);
    encode(&f->batch, &f->out);
    uint32_t *order = malloc(f->batch.spans.count * sizeof *order);
    struct trace t = support_whole_batch(&f->batch, order);
    for (size_t max = 3; max < f->out.len + 3; max += 13) {
        struct buf small;
        buf_init(&small, max);
        assert_int_equal(buf_str(&small, "abc"), 0);
        assert_int_equal(otlp_encode(&t, &small), ERR_LIMIT);
        assert_int_equal(small.len, 3);
        assert_memory_equal(small.ptr, "abc", 3);
        buf_clear(&small);
    }
    free(order);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(requests_come_back),
        TEST(ordinary_requests_keep_their_bytes),
        TEST(absent_messages_become_empty_ones),
        TEST(numbers_at_their_bounds_come_back),
        TEST(lengths_of_every_width_come_back),
        TEST(neighbours_share_their_scope_and_resource),
        TEST(what_does_not_fit_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
