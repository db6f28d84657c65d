/* Fuzz target: a shard of a bloom filter, and an id that is looked for in it. The first sixteen
 * bytes are the id, the rest is the shard. A shard of ours, made of the id, has it. */
#include <assert.h>

#include "block/bloom.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ours(const uint8_t id[16], uint64_t count, uint32_t shard_bytes)
{
    struct bloom *b;
    struct buf out;
    struct err err = {0};
    buf_init(&out, (size_t)1 << 20);
    assert(bloom_new(count, .01, shard_bytes, &b, &err) == 0);
    bloom_add(b, id);
    uint32_t shards = bloom_shards(b), shard = bloom_shard_of(id, shards);
    assert(shard < shards);
    assert(bloom_write(b, shard, &out) == 0);
    assert(bloom_test(buf_view(&out), id, &err) == 1);
    buf_clear(&out);
    bloom_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    if (size < 16)
        return 0;
    int rc = bloom_test(slice_of(data + 16, size - 16), data, &err);
    assert(rc == 0 || rc == 1 || rc == ERR_CORRUPT);
    assert(rc >= 0 || err.msg[0]);
    check_ours(data, 1 + data[0], 8u * (1u + data[1]));
    return 0;
}
