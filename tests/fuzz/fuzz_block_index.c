/* Fuzz target: a block's index. The ids that are read are those that it tells once more when they
 * are written. */
#include <assert.h>
#include <string.h>

#include "block/block_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new((size_t)32 << 20);
    uint8_t(*ids)[16], (*again)[16];
    size_t count, count_again;
    struct err err = {0};
    struct buf out;
    assert(a);
    buf_init(&out, (size_t)32 << 20);
    int rc = block_index_parse(slice_of(data, size), a, &ids, &count, &err);
    if (rc < 0) {
        assert(rc == ERR_CORRUPT || rc == ERR_LIMIT);
        assert(err.code == (enum err_code)rc && err.msg[0]);
    } else {
        assert(count <= size / 24); /* each id is so long in base64 */
        assert(block_index_write((const uint8_t(*)[16])ids, count, &out) == 0);
        assert(block_index_parse(buf_view(&out), a, &again, &count_again, &err) == 0);
        assert(count == count_again);
        assert(count == 0 || memcmp(ids, again, count * sizeof *ids) == 0);
    }
    buf_clear(&out);
    arena_free(a);
    return 0;
}
