/* Sharded bloom filters over trace ids: which block may hold a trace, for one small GET.
 *
 * The bytes must be Tempo's, bit for bit, so sizing, the choice of a shard (FNV-1) and the k places
 * of an id (MurmurHash3 of the id and of the id with a 1 behind it) follow what its files show.
 * Each shard is a filter of full size. */
#include "block/bloom.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cursor.h"

#define ID_BYTES 16
#define HEADER_BYTES 24
#define SHARDS_MAX 1000
/* What "0 shards" in an old meta.json means. */
#define SHARDS_LEGACY 10

/* Most bits tested per id. Tempo writes 7; a filter of one in 10^30 false positives has 100. Hit:
 * the object is called corrupt. */
#define LIMIT_BLOOM_HASHES 128

struct bloom {
    uint64_t bits; /* of one shard */
    uint32_t words;
    uint32_t hashes;
    uint32_t shards;
    uint64_t set[]; /* shards * words */
};

static uint64_t rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static uint64_t murmur_mix(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

#define MURMUR_C1 UINT64_C(0x87c37b91114253d5)
#define MURMUR_C2 UINT64_C(0x4cf5ad432745937f)

/* MurmurHash3 x64 128, seed 0, of the 16 bytes and then of tail_bytes (0 or 1) bytes of value 1:
 * the only two lengths that are asked for. */
static void murmur(const uint8_t id[ID_BYTES], unsigned tail_bytes, uint64_t out[2])
{
    uint64_t h1 = 0, h2 = 0;

    h1 ^= rotl(load_u64le(id) * MURMUR_C1, 31) * MURMUR_C2;
    h1 = (rotl(h1, 27) + h2) * 5 + 0x52dce729;
    h2 ^= rotl(load_u64le(id + 8) * MURMUR_C2, 33) * MURMUR_C1;
    h2 = (rotl(h2, 31) + h1) * 5 + 0x38495ab5;

    if (tail_bytes)
        h1 ^= rotl(UINT64_C(1) * MURMUR_C1, 31) * MURMUR_C2;

    h1 ^= ID_BYTES + tail_bytes;
    h2 ^= ID_BYTES + tail_bytes;
    h1 += h2;
    h2 += h1;
    h1 = murmur_mix(h1);
    h2 = murmur_mix(h2);
    out[0] = h1 + h2;
    out[1] = h2 + out[0];
}

static void id_hashes(const uint8_t id[ID_BYTES], uint64_t h[4])
{
    murmur(id, 0, h);
    murmur(id, 1, h + 2);
}

/* Place of the i-th bit. */
static uint64_t location(const uint64_t h[4], uint64_t i, uint64_t bits)
{
    return (h[i % 2] + i * h[2 + (i + i % 2) % 4 / 2]) % bits;
}

uint32_t bloom_shard_of(const uint8_t id[ID_BYTES], uint32_t shard_count)
{
    uint32_t h = UINT32_C(0x811c9dc5);
    for (size_t i = 0; i < ID_BYTES; i++)
        h = h * UINT32_C(0x01000193) ^ id[i];
    return h % (shard_count ? shard_count : SHARDS_LEGACY);
}

int bloom_new(uint64_t count, double false_positive, uint32_t shard_bytes, struct bloom **out,
              struct err *err)
{
    if (!(false_positive > 0 && false_positive < 1) || shard_bytes == 0)
        return err_set(
            err, ERR_INVALID,
            "a bloom filter needs a false positive rate between 0 and 1 and a shard size "
            "above 0, got %g and %" PRIu32,
            false_positive, shard_bytes);
    double n = count ? (double)count : 1;
    double bits = ceil(-n * log(false_positive) / (log(2) * log(2)));
    double hashes = ceil(log(2) * bits / n);
    double shards = ceil(bits / ((double)shard_bytes * 8));
    if (hashes > LIMIT_BLOOM_HASHES)
        return err_set(err, ERR_INVALID,
                       "a bloom filter for a false positive rate of %g needs %.0f hashes, at most "
                       "%d are allowed",
                       false_positive, hashes, LIMIT_BLOOM_HASHES);
    uint32_t shard_count = shards > SHARDS_MAX ? SHARDS_MAX : shards < 1 ? 1 : (uint32_t)shards;
    uint64_t shard_bits = (uint64_t)shard_bytes * 8;
    uint32_t words = (uint32_t)((shard_bits + 63) / 64);

    size_t bytes;
    if (!size_mul(shard_count, (size_t)words * sizeof(uint64_t), &bytes) ||
        !size_add(bytes, sizeof(struct bloom), &bytes))
        return err_set(err, ERR_NOMEM, "%" PRIu32 " bloom shards of %" PRIu32 " bytes", shard_count,
                       shard_bytes);
    struct bloom *b = calloc(1, bytes);
    if (!b)
        return err_set(err, ERR_NOMEM, "no memory for %zu bytes of bloom filter", bytes);
    b->bits = shard_bits;
    b->words = words;
    b->hashes = hashes < 1 ? 1 : (uint32_t)hashes;
    b->shards = shard_count;
    *out = b;
    return 0;
}

void bloom_free(struct bloom *b)
{
    free(b);
}

void bloom_add(struct bloom *b, const uint8_t id[ID_BYTES])
{
    uint64_t h[4];
    id_hashes(id, h);
    uint64_t *set = b->set + (size_t)bloom_shard_of(id, b->shards) * b->words;
    for (uint32_t i = 0; i < b->hashes; i++) {
        uint64_t at = location(h, i, b->bits);
        set[at >> 6] |= UINT64_C(1) << (at & 63);
    }
}

uint32_t bloom_shards(const struct bloom *b)
{
    return b->shards;
}

int bloom_write(const struct bloom *b, uint32_t shard, struct buf *out)
{
    assert(shard < b->shards);
    const uint64_t *set = b->set + (size_t)shard * b->words;
    int rc = buf_reserve(out, HEADER_BYTES + (size_t)b->words * 8);
    if (rc < 0)
        return rc;
    /* The room is there: these cannot fail. */
    (void)buf_u64be(out, b->bits);
    (void)buf_u64be(out, b->hashes);
    (void)buf_u64be(out, b->bits);
    for (uint32_t i = 0; i < b->words; i++)
        (void)buf_u64be(out, set[i]);
    return 0;
}

int bloom_test(struct slice shard, const uint8_t id[ID_BYTES], struct err *err)
{
    struct cursor cur = cursor_of(shard);
    uint64_t bits, hashes, length;
    if (!cursor_u64be(&cur, &bits) || !cursor_u64be(&cur, &hashes) || !cursor_u64be(&cur, &length))
        return err_set(err, ERR_CORRUPT, "bloom filter has %zu bytes, its header alone %d",
                       shard.len, HEADER_BYTES);
    if (bits == 0 || length != bits)
        return err_set(err, ERR_CORRUPT,
                       "bloom filter claims %" PRIu64 " bits and a set of %" PRIu64, bits, length);
    if (hashes == 0 || hashes > LIMIT_BLOOM_HASHES)
        return err_set(err, ERR_CORRUPT,
                       "bloom filter claims %" PRIu64 " hashes, 1 to %d are taken", hashes,
                       LIMIT_BLOOM_HASHES);
    uint64_t words = bits / 64 + (bits % 64 != 0);
    if (words > cursor_left(&cur) / 8 || words * 8 != cursor_left(&cur))
        return err_set(err, ERR_CORRUPT, "bloom filter of %" PRIu64 " bits has %zu bytes of bits",
                       bits, cursor_left(&cur));
    uint64_t h[4];
    id_hashes(id, h);
    for (uint64_t i = 0; i < hashes; i++) {
        uint64_t at = location(h, i, bits);
        if (!(load_u64be(cur.ptr + (at >> 6) * 8) >> (at & 63) & 1))
            return 0;
    }
    return 1;
}
