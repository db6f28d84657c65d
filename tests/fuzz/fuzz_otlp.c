/* Fuzz target: OTLP protobuf. What decodes must encode, decode again to the same, sort, group and
 * print as JSON that is JSON. */
#include <assert.h>
#include <stdlib.h>

#include "base/json_pull.h"
#include "otlp/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX ((size_t)256 << 20)

static void check_answers(struct span_batch *b)
{
    uint32_t *order = malloc(((size_t)b->spans.count + 1) * sizeof *order);
    uint8_t(*ids)[8] = malloc(((size_t)b->spans.count + 1) * sizeof *ids);
    struct arena *arena = arena_new(OUT_MAX);
    assert(order && ids && arena);
    int64_t n = span_batch_group(b, order);
    assert(n >= 0 && n <= b->spans.count);
    assert(n > 0 || b->spans.count == 0);
    for (int64_t i = 1; i < n; i++) {
        assert(memcmp(b->spans.at[order[i - 1]].trace_id, b->spans.at[order[i]].trace_id, 16) <= 0);
    }
    assert(trace_sort(b, order, (uint32_t)n) == 0);
    assert(trace_fix_shared_ids(b, order, (uint32_t)n, ids) == 0);
    struct trace t = {.batch = b, .spans = order, .span_count = (uint32_t)n};
    struct buf json;
    buf_init(&json, OUT_MAX);
    assert(otlp_json_encode(&t, "batches", &json) == 0);
    struct json_pull j = json_pull_of(buf_view(&json), arena, 16 + 4 * LIMIT_OTLP_DEPTH, NULL);
    assert(json_skip(&j) == 0);
    assert(json_end(&j) == 0);
    buf_clear(&json);
    arena_free(arena);
    free(ids);
    free(order);
}

static void encode_all(const struct span_batch *b, struct buf *out)
{
    uint32_t *order = malloc(((size_t)b->spans.count + 1) * sizeof *order);
    assert(order);
    for (uint32_t i = 0; i < b->spans.count; i++)
        order[i] = i;
    struct trace t = {.batch = b, .spans = order, .span_count = b->spans.count};
    assert(otlp_encode(&t, out) == 0);
    free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span_batch first = {0}, second = {0};
    struct buf once, twice;
    struct err err = {0};
    buf_init(&once, OUT_MAX);
    buf_init(&twice, OUT_MAX);
    int rc = otlp_decode(slice_of(data, size), &first, &err);
    if (rc < 0) {
        assert(rc == ERR_INVALID || rc == ERR_LIMIT);
        assert(err.code == (enum err_code)rc && err.msg[0]);
    } else {
        encode_all(&first, &once);
        assert(otlp_decode(buf_view(&once), &second, &err) == 0);
        encode_all(&second, &twice);
        assert(slice_eq(buf_view(&once), buf_view(&twice)));
        check_answers(&first);
    }
    span_batch_clear(&first);
    span_batch_clear(&second);
    buf_clear(&once);
    buf_clear(&twice);
    return 0;
}
