/* Fuzz target: meta.json, and meta.compacted.json, which is the same text. What is read is written
 * as Tempo writes it, and that reads back to the same text, once what is no UTF-8 has become some.
 */
#include <assert.h>

#include "block/block_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new((size_t)32 << 20);
    struct block_meta meta;
    struct err err = {0};
    struct buf once, twice;
    assert(a);
    buf_init(&once, (size_t)32 << 20);
    buf_init(&twice, (size_t)32 << 20);
    int rc = block_meta_parse(slice_of(data, size), a, &meta, &err);
    if (rc < 0) {
        assert(rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED || rc == ERR_LIMIT);
        assert(err.code == (enum err_code)rc && err.msg[0]);
    } else {
        for (int i = 0; i < 3; i++) {
            struct buf was = once;
            once = twice;
            twice = was;
            buf_reset(&twice);
            assert(block_meta_write(&meta, &twice, &err) == 0);
            /* Escapes may make a long text longer than is taken. */
            rc = block_meta_parse(buf_view(&twice), a, &meta, &err);
            assert(rc == 0 || twice.len > size);
            if (rc < 0)
                break;
        }
        assert(rc < 0 || slice_eq(buf_view(&once), buf_view(&twice)));
    }
    buf_clear(&once);
    buf_clear(&twice);
    arena_free(a);
    return 0;
}
