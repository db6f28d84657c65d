/* The shredder when memory runs out: told as such at every point, nothing leaked, and usable again
 * after a reset.
 *
 * This program has a vec_grow_to of its own, which the linker takes before base's: through it go
 * all growing columns. */
#include "shred_support.h"

static struct {
    bool armed;
    uint64_t left; /* growths until one fails */
} failing;         /* the one global a replaced function needs */

bool vec_grow_to(void **at, uint32_t *cap, uint32_t count, size_t more, size_t size)
{
    if (failing.armed && failing.left-- == 0)
        return false;
    uint64_t want = (uint64_t)count + more, next = (uint64_t)*cap * 2;
    if (next < want)
        next = want;
    if (next > UINT32_MAX)
        return false;
    void *p = realloc(*at, (size_t)next * size);
    if (!p)
        return false;
    *at = p;
    *cap = (uint32_t)next;
    return true;
}

static int shred_all(struct shredder *s, const struct span_batch *b, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0, next; rc == 0 && i < b->spans.count; i = next) {
        next = i + 1;
        while (next < b->spans.count &&
               memcmp(b->spans.at[i].trace_id, b->spans.at[next].trace_id, 16) == 0)
            next++;
        rc = shred_spans(s, b, i, next - i, err);
    }
    return rc;
}

static void every_failed_growth_is_told_and_forgotten(void **state)
{
    (void)state;
    struct rng r = {.state = 4};
    struct arena *a = arena_new((size_t)16 << 20);
    struct span_batch batch = {0};
    random_traces(&r, a, &batch, 6);
    struct shredder *want = shredder_make(NULL, 0);
    struct err err = {0};
    assert_int_equal(shred_all(want, &batch, &err), 0);

    uint64_t n = 0;
    int rc;
    do {
        struct shredder *s;
        failing.armed = true;
        failing.left = n++;
        rc = shredder_new(&s, &err);
        if (rc == 0)
            rc = shred_all(s, &batch, &err);
        else
            s = NULL;
        failing.armed = false;
        if (rc < 0) {
            assert_int_equal(rc, ERR_NOMEM);
            assert_int_equal(err.code, ERR_NOMEM);
        }
        if (s) {
            assert_int_equal(shredder_reset(s, NULL, 0, &err), 0);
            assert_int_equal(shred_all(s, &batch, &err), 0);
            const struct column *x = shredder_columns(s), *y = shredder_columns(want);
            for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
                if (!column_same(&x[i], &y[i]))
                    fail_msg("growth %llu: %s differs", (unsigned long long)n,
                             block_leaves[i].path);
            }
        }
        shredder_free(s);
    } while (rc < 0);
    assert_true(n > 100);
    shredder_free(want);
    span_batch_clear(&batch);
    arena_free(a);
}

static void assembling_tells_of_failed_growth(void **state)
{
    (void)state;
    struct rng r = {.state = 6};
    struct arena *a = arena_new((size_t)16 << 20);
    struct span_batch batch = {0};
    random_traces(&r, a, &batch, 4);
    struct shredder *s = shredder_make(NULL, 0);
    struct err err = {0};
    assert_int_equal(shred_all(s, &batch, &err), 0);
    const struct column *columns = shredder_columns(s);
    uint64_t n = 0;
    int rc;
    do {
        struct span_batch back = {0};
        failing.armed = true;
        failing.left = n++;
        rc = block_assemble(columns, NULL, 0, 0, columns[0].rows, a, &back, &err);
        failing.armed = false;
        if (rc < 0)
            assert_int_equal(rc, ERR_NOMEM);
        else
            assert_int_equal(back.spans.count, batch.spans.count);
        span_batch_clear(&back);
    } while (rc < 0);
    assert_true(n > 7);
    shredder_free(s);
    span_batch_clear(&batch);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_growth_is_told_and_forgotten),
        cmocka_unit_test(assembling_tells_of_failed_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
