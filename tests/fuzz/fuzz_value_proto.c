/* Fuzz target: protobuf inside a column, as vParquet3 keeps it. The first byte says which message
 * follows: 0 an AnyValue, else links. What is read is no more than the bytes can hold, and can be
 * written as JSON. */
#include <assert.h>

#include "block/value_json.h"
#include "block/value_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span_batch b = {0};
    struct value value;
    struct err err;
    struct buf json;
    if (size == 0)
        return 0;
    struct slice bytes = slice_of(data + 1, size - 1);
    buf_init(&json, (size_t)256 << 20);
    int rc = data[0] ? links_proto_parse(bytes, 64, &b, &err)
                     : value_proto_parse(bytes, 64, &b, &value, &err);
    assert(rc == 0 || rc == ERR_CORRUPT || rc == ERR_LIMIT);
    assert(b.links.count <= size);
    if (rc == 0 && !data[0])
        assert(value_json_write(&b, &value, &json) == 0);
    for (uint32_t i = 0; rc == 0 && i < b.links.count; i++)
        assert(attrs_json_write(&b, b.links.at[i].attrs, &json) == 0);
    buf_clear(&json);
    span_batch_clear(&b);
    return 0;
}
