/* Fuzz target: OTLP/JSON. What decodes must survive protobuf, and its attribute values the form in
 * which blocks keep them. */
#include <assert.h>
#include <stdlib.h>

#include "block/value_json.h"
#include "otlp/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX ((size_t)256 << 20)

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

/* Read back from what was written, twice: the second time nothing changes. (The first time bad
 * UTF-8 turns from an escape into the character it stands for.) */
static void check_value(struct span_batch *b, struct value v, struct arena *arena,
                        struct buf texts[3])
{
    struct err err;
    for (unsigned i = 0; i < 3; i++) {
        buf_reset(&texts[i]);
        assert(value_json_write(b, &v, &texts[i]) == 0);
        assert(value_json_parse(buf_view(&texts[i]), LIMIT_OTLP_DEPTH, arena, b, &v, &err) == 0);
    }
    assert(slice_eq(buf_view(&texts[1]), buf_view(&texts[2])));
}

static void check_values(struct span_batch *b, struct arena *arena)
{
    struct buf texts[3];
    for (unsigned i = 0; i < 3; i++)
        buf_init(&texts[i], OUT_MAX);
    for (uint32_t i = 0; i < b->spans.count; i++) {
        struct range attrs = b->spans.at[i].attrs;
        for (uint32_t k = 0; k < attrs.count; k++)
            check_value(b, b->attrs.at[attrs.first + k].value, arena, texts);
    }
    for (unsigned i = 0; i < 3; i++)
        buf_clear(&texts[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span_batch first = {0}, second = {0};
    struct arena *arena = arena_new(OUT_MAX);
    struct buf once, twice;
    struct err err = {0};
    assert(arena);
    buf_init(&once, OUT_MAX);
    buf_init(&twice, OUT_MAX);
    int rc = otlp_json_decode(slice_of(data, size), arena, &first, &err);
    if (rc < 0) {
        assert(rc == ERR_INVALID || rc == ERR_LIMIT);
        assert(err.code == (enum err_code)rc && err.msg[0]);
    } else {
        encode_all(&first, &once);
        assert(otlp_decode(buf_view(&once), &second, &err) == 0);
        encode_all(&second, &twice);
        assert(slice_eq(buf_view(&once), buf_view(&twice)));
        check_values(&first, arena);
    }
    span_batch_clear(&first);
    span_batch_clear(&second);
    arena_free(arena);
    buf_clear(&once);
    buf_clear(&twice);
    return 0;
}
