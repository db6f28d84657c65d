/* Damaged and half-written blocks: found at first sight, named, counted, never served. */
#include "merge_support.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "catalog/block_check.h"
#include "catalog/catalog.h"
#include "tests/support/scripted_store.h"

static void get_object(struct objstore *s, const struct block_meta *m, const char *name,
                       struct buf *key, struct buf *out)
{
    struct err err = {0};
    buf_init(key, 4096);
    buf_init(out, (size_t)1 << 26);
    assert_int_equal(block_key(key, m->tenant, m->id, name), 0);
    ok(objstore_get(s, buf_view(key), DEADLINE, out, &err), &err);
}

/* What a check says after a change of one object: bytes cut from its end (SIZE_MAX: all), added,
 * one flipped, or the object removed. */
static int check_after(const char *name, size_t cut, size_t grow, size_t flip_from_end, bool remove,
                       struct err *err)
{
    struct objstore *s = memory_store();
    struct rng rng = {1};
    struct block_meta meta;
    struct buf key, body;
    gen_block(s, &rng, SLICE("acme"), NULL, 0, 40, 3000, &meta);
    get_object(s, &meta, name, &key, &body);
    for (size_t i = 0; i < grow; i++)
        assert_int_equal(buf_u8(&body, 0), 0);
    if (flip_from_end)
        body.ptr[body.len - flip_from_end] ^= 1;
    struct slice now = slice_of(body.ptr, cut == SIZE_MAX ? 0 : body.len - cut);
    ok(remove ? objstore_delete(s, buf_view(&key), DEADLINE, err)
              : objstore_put(s, buf_view(&key), now, 0, DEADLINE, err),
       err);
    struct block_check check = {.meta = &meta};
    assert_int_equal(block_check_many(s, &check, 1, DEADLINE, NULL), 0);
    *err = check.err;
    buf_clear(&key);
    buf_clear(&body);
    objstore_free(s);
    return check.rc;
}

static void a_whole_block_passes(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(check_after("data.parquet", 0, 0, 0, false, &err), 0);
}

static void data_of_another_size_is_damage(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(check_after("data.parquet", 1, 0, 0, false, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "data.parquet has "));
    assert_int_equal(check_after("data.parquet", 0, 1, 0, false, &err), ERR_CORRUPT);
    assert_int_equal(check_after("data.parquet", SIZE_MAX, 0, 0, false, &err), ERR_CORRUPT);
    assert_int_equal(check_after("data.parquet", 0, 0, 0, true, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "data.parquet is missing"));
}

static void each_of_the_last_eight_bytes_counts(void **state)
{
    (void)state;
    struct err err = {0};
    for (size_t i = 1; i <= 8; i++)
        assert_int_equal(check_after("data.parquet", 0, 0, i, false, &err), ERR_CORRUPT);
    assert_int_equal(check_after("data.parquet", 0, 0, 9, false, &err), 0); /* is not looked at */
}

static void a_missing_or_empty_bloom_shard_is_damage(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(check_after("bloom-0", 0, 0, 0, true, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "bloom-0 is missing"));
    assert_int_equal(check_after("bloom-0", SIZE_MAX, 0, 0, false, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "bloom-0 is empty"));
}

static void what_meta_json_tells_must_fit(void **state)
{
    (void)state;
    struct objstore *s = memory_store();
    struct rng rng = {1};
    struct block_meta meta;
    gen_block(s, &rng, SLICE("acme"), NULL, 0, 40, 3000, &meta);
    struct block_meta metas[6];
    struct block_check checks[6];
    for (size_t i = 0; i < 6; i++) {
        metas[i] = meta;
        checks[i] = (struct block_check){.meta = &metas[i]};
    }
    metas[1].footer_size++;
    metas[2].size++;
    metas[3].bloom_shards++;
    metas[4].bloom_shards = UINT32_MAX;
    metas[5].footer_size = 0; /* not told */
    assert_int_equal(block_check_many(s, checks, 6, DEADLINE, NULL), 0);
    assert_int_equal(checks[0].rc, 0);
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(checks[i].rc, ERR_CORRUPT);
    assert_int_equal(checks[5].rc, 0);
    assert_non_null(strstr(checks[1].err.msg, "footer of"));
    assert_non_null(strstr(checks[4].err.msg, "4294967295 bloom shards"));
    objstore_free(s);
}

/* More requests than a wave has. */
static void many_blocks_are_checked_each_for_itself(void **state)
{
    (void)state;
    enum { BLOCKS = 300 };
    struct objstore *s = memory_store();
    struct rng rng = {1};
    static struct block_meta metas[BLOCKS];
    static struct block_check checks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        gen_block(s, &rng, SLICE("acme"), NULL, 0, 2, 3000, &metas[i]);
        checks[i] = (struct block_check){.meta = &metas[i]};
        metas[i].size += i % 7 == 3;
    }
    assert_int_equal(block_check_many(s, checks, BLOCKS, DEADLINE, NULL), 0);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_int_equal(checks[i].rc, i % 7 == 3 ? ERR_CORRUPT : 0);
    objstore_free(s);
}

static void a_store_that_fails_is_no_damage(void **state)
{
    (void)state;
    const struct objstore_env env = quiet_env();
    struct objstore *inner = memory_store(), *s;
    struct rng rng = {1};
    struct block_meta meta;
    struct err err = {0};
    gen_block(inner, &rng, SLICE("acme"), NULL, 0, 40, 3000, &meta);
    const struct scripted_step steps[] = {
        {.op = OBJSTORE_OP_GET, .nth = 2, .action = SCRIPTED_FAIL, .rc = ERR_IO}};
    assert_int_equal(scripted_store_new(inner, steps, 1, &env, &s, &err), 0);
    struct block_check check = {.meta = &meta};
    assert_int_equal(block_check_many(s, &check, 1, DEADLINE, &err), ERR_IO);
    assert_int_equal(check.rc, ERR_IO);
    objstore_free(s);
    objstore_free(inner);
}

/* ---- in the catalogue ---- */

static size_t served(struct catalog *c)
{
    struct arena *a = arena_new(1 << 20);
    struct catalog_view v;
    struct err err = {0};
    ok(catalog_view(c, SLICE("acme"), DEADLINE, a, &v, &err), &err);
    size_t n = v.block_count;
    catalog_view_release(&v);
    arena_free(a);
    return n;
}

static bool served_becomes(struct catalog *c, size_t want)
{
    for (int i = 0; i < 1000 && served(c) != want; i++)
        usleep(10000);
    return served(c) == want;
}

static void file_text(int fd, char *out, size_t size)
{
    ssize_t n = pread(fd, out, size - 1, 0);
    assert_true(n >= 0);
    out[n] = '\0';
}

static unsigned occurrences(const char *text, const char *of)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, of)); p++)
        n++;
    return n;
}

static void the_catalogue_serves_the_others_and_tells_once(void **state)
{
    (void)state;
    char path[] = "/tmp/rubato-check-XXXXXX", text[16384], uuid[37];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    const struct log log = {.fd = fd, .level = LOG_LEVEL_INFO, .room = "test"};
    struct metrics *metrics = metrics_new();
    struct objstore *s = memory_store();
    struct rng rng = {1};
    struct block_meta good, bad;
    struct buf key, body, exposed;
    struct err err = {0};
    gen_block(s, &rng, SLICE("acme"), NULL, 0, 40, 3000, &good);
    gen_block(s, &rng, SLICE("acme"), NULL, 0, 40, 3000, &bad);
    get_object(s, &bad, "data.parquet", &key, &body);
    ok(objstore_put(s, buf_view(&key), slice_of(body.ptr, body.len - 1), 0, DEADLINE, &err), &err);

    struct catalog *c;
    const struct catalog_opts opts = {.store = s,
                                      .log = &log,
                                      .metrics = metrics,
                                      .clock = &clock_system,
                                      .block_poll_ns = NS_PER_MS,
                                      .segment_poll_ns = NS_PER_MS,
                                      .live_bytes_max = 1 << 20};
    ok(catalog_new(&opts, &c, &err), &err);
    ok(catalog_start(c, &err), &err);
    assert_int_equal(served(c), 1);
    usleep(100000); /* many listings more */
    assert_int_equal(served(c), 1);
    uuid_format(bad.id, uuid);
    file_text(fd, text, sizeof text);
    assert_int_equal(occurrences(text, "block is damaged and is not served"), 1);
    assert_int_equal(occurrences(text, uuid), 2); /* as the block, and in the object's key */
    buf_init(&exposed, 1 << 20);
    assert_int_equal(metrics_write(metrics, &exposed), 0);
    assert_int_equal(buf_u8(&exposed, 0), 0);
    assert_non_null(
        strstr((char *)exposed.ptr, "tempodb_block_validation_failed_total{tenant=\"acme\"} 1\n"));

    /* The rest arrives: it was half copied. */
    ok(objstore_put(s, buf_view(&key), buf_view(&body), 0, DEADLINE, &err), &err);
    assert_true(served_becomes(c, 2));
    file_text(fd, text, sizeof text);
    assert_int_equal(occurrences(text, "block is whole now and is served"), 1);
    catalog_free(c);
    buf_clear(&key);
    buf_clear(&body);
    buf_clear(&exposed);
    metrics_free(metrics);
    objstore_free(s);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_block_passes),
        cmocka_unit_test(data_of_another_size_is_damage),
        cmocka_unit_test(each_of_the_last_eight_bytes_counts),
        cmocka_unit_test(a_missing_or_empty_bloom_shard_is_damage),
        cmocka_unit_test(what_meta_json_tells_must_fit),
        cmocka_unit_test(many_blocks_are_checked_each_for_itself),
        cmocka_unit_test(a_store_that_fails_is_no_damage),
        cmocka_unit_test(the_catalogue_serves_the_others_and_tells_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
