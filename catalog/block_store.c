/* Opening a block: keys and the footer. */
#include "catalog/block_store.h"

#include "base/text.h"

/* A footer is some 20 KB a row group; this allows thousands of them. */
#define LIMIT_FOOTER_BYTES ((size_t)512 << 20)
/* Enough for most footers: one request instead of two when meta.json does not tell. */
#define FOOTER_GUESS_BYTES ((uint64_t)64 << 10)

int block_key(struct buf *out, struct slice tenant, const uint8_t id[16], const char *name)
{
    char uuid[37];
    uuid_format(id, uuid);
    return buf_printf(out, "%.*s/%s/%s", SLICE_ARGS(tenant), uuid, name);
}

int block_tail_read(struct objstore *store, struct slice key, const struct block_meta *meta,
                    uint64_t bytes, uint64_t deadline_mono_ns, struct block_tail *out,
                    struct err *err)
{
    struct objstore_get get = {.key = key, .range = OBJSTORE_SUFFIX};
    get.bytes = meta->footer_size ? (uint64_t)meta->footer_size + 8 : FOOTER_GUESS_BYTES;
    if (get.bytes > bytes)
        get.bytes = 8;
    buf_init(&get.out, LIMIT_FOOTER_BYTES + 8);
    int rc = objstore_get_many(store, &get, 1, deadline_mono_ns, err);
    if (rc == 0 && meta->size && get.object_bytes != meta->size)
        rc = err_set(err, ERR_CORRUPT, "%.*s has %llu bytes, its meta.json says %llu",
                     SLICE_ARGS(key), (unsigned long long)get.object_bytes,
                     (unsigned long long)meta->size);
    if (rc == 0 && get.out.len < 8)
        rc = err_set(err, ERR_CORRUPT, "%.*s has %zu bytes", SLICE_ARGS(key), get.out.len);
    *out = (struct block_tail){.file_bytes = get.object_bytes, .bytes = get.out};
    if (rc == 0) {
        rc = parquet_tail_decode(slice_from(buf_view(&get.out), get.out.len - 8), out->file_bytes,
                                 &out->footer_bytes, err);
        if (rc < 0)
            err_wrap(err, "%.*s", SLICE_ARGS(key));
    }
    if (rc < 0)
        buf_clear(&out->bytes);
    return rc;
}

struct slice block_tail_footer(const struct block_tail *t)
{
    size_t want = t->footer_bytes + (size_t)8;
    if (want > t->bytes.len)
        return slice_of(NULL, 0);
    return slice_of(t->bytes.ptr + t->bytes.len - want, t->footer_bytes);
}

int block_open(struct objstore *store, const struct block_meta *meta, uint64_t deadline_mono_ns,
               struct arena *a, struct parquet_file **out, struct err *err)
{
    struct buf key;
    struct block_tail tail;
    struct block_meta known = *meta;
    buf_init(&key, 4096);
    int rc = block_key(&key, meta->tenant, meta->id, "data.parquet");
    if (rc < 0) {
        err_set(err, rc, "the block's key is too long");
        goto out;
    }
    struct slice footer = {0};
    for (int round = 0; round < 2 && footer.len == 0; round++) {
        rc = block_tail_read(store, buf_view(&key), &known, LIMIT_FOOTER_BYTES, deadline_mono_ns,
                             &tail, err);
        if (rc < 0)
            goto out;
        footer = block_tail_footer(&tail);
        if (footer.len == 0 && round == 0) {
            known.footer_size = tail.footer_bytes;
            buf_clear(&tail.bytes);
        }
    }
    if (footer.len == 0)
        rc = err_set(err, ERR_LIMIT, "footer of %u bytes, at most %zu are read", tail.footer_bytes,
                     LIMIT_FOOTER_BYTES);
    else
        rc = parquet_footer_decode(footer, tail.file_bytes, a, out, err);
    buf_clear(&tail.bytes);
    if (rc < 0)
        err_wrap(err, "%.*s", SLICE_ARGS(buf_view(&key)));
out:
    buf_clear(&key);
    return rc;
}
