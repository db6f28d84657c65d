/* Opening a block: keys and the footer. */
#include "catalog/block_store.h"

#include "base/text.h"

/* A footer is some 20 KB a row group; this allows thousands of them. */
#define LIMIT_FOOTER_BYTES ((size_t)256 << 20)
/* Enough for most footers: one request instead of two when meta.json does not tell. */
#define FOOTER_GUESS_BYTES ((uint64_t)64 << 10)

int block_key(struct buf *out, struct slice tenant, const uint8_t id[16], const char *name)
{
    char uuid[37];
    uuid_format(id, uuid);
    return buf_printf(out, "%.*s/%s/%s", SLICE_ARGS(tenant), uuid, name);
}

int block_open(struct objstore *store, const struct block_meta *meta, uint64_t deadline_mono_ns,
               struct arena *a, struct parquet_file **out, struct err *err)
{
    struct buf key;
    struct objstore_get get = {.range = OBJSTORE_SUFFIX};
    buf_init(&key, 4096);
    buf_init(&get.out, LIMIT_FOOTER_BYTES + 8);
    int rc = block_key(&key, meta->tenant, meta->id, "data.parquet");
    if (rc < 0) {
        err_set(err, rc, "the block's key is too long");
        goto out;
    }
    get.key = buf_view(&key);
    get.bytes = meta->footer_size ? (uint64_t)meta->footer_size + 8 : FOOTER_GUESS_BYTES;
    uint32_t footer_bytes = 0;
    for (int round = 0;; round++) {
        rc = objstore_get_many(store, &get, 1, deadline_mono_ns, err);
        if (rc < 0)
            goto out;
        if (meta->size && get.object_bytes != meta->size) {
            rc = err_set(err, ERR_CORRUPT, "%.*s has %llu bytes, its meta.json says %llu",
                         SLICE_ARGS(get.key), (unsigned long long)get.object_bytes,
                         (unsigned long long)meta->size);
            goto out;
        }
        struct slice tail = buf_view(&get.out);
        if (tail.len < 8) {
            rc = err_set(err, ERR_CORRUPT, "%.*s has %zu bytes", SLICE_ARGS(get.key), tail.len);
            goto out;
        }
        rc = parquet_tail_decode(slice_from(tail, tail.len - 8), get.object_bytes, &footer_bytes,
                                 err);
        if (rc < 0 || footer_bytes + (size_t)8 <= tail.len || round > 0)
            break;
        get.bytes = (uint64_t)footer_bytes + 8;
        buf_reset(&get.out);
    }
    if (rc == 0) {
        struct slice tail = buf_view(&get.out);
        struct slice footer = slice_of(tail.ptr + tail.len - 8 - footer_bytes, footer_bytes);
        rc = parquet_footer_decode(footer, get.object_bytes, a, out, err);
    }
    if (rc < 0)
        err_wrap(err, "%.*s", SLICE_ARGS(get.key));
out:
    buf_clear(&get.out);
    buf_clear(&key);
    return rc;
}
