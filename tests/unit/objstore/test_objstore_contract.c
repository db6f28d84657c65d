/* The contract of objstore.h, held against every driver: memory, local, and S3 when S3_ENDPOINT
 * names a server (tests/objstore_s3.sh starts one). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/text.h"
#include "base/vec.h"
#include "objstore/objstore_limits.h"
#include "tests/support/objstore_support.h"

struct world {
    const char *driver;
    bool is_libs3;
    struct objstore *store;
    struct metrics *metrics;
    char dir[256];
    char prefix[40];
};

static uint64_t soon(void)
{
    return clock_mono_ns(&clock_system) + 30 * NS_PER_S;
}

static struct slice text(const char *s)
{
    return slice_cstr(s);
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct err ok_err_ = {.msg = ""};                                                          \
        struct err *err = &ok_err_;                                                                \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.msg);                                                \
    } while (0)

static void put(struct world *w, const char *key, struct slice body)
{
    OK(objstore_put(w->store, text(key), body, 0, soon(), err));
}

static void assert_content(struct world *w, const char *key, struct slice want)
{
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    OK(objstore_get(w->store, text(key), soon(), &out, err));
    assert_int_equal(out.len, want.len);
    assert_true(slice_eq(buf_view(&out), want));
    buf_clear(&out);
}

static struct buf pattern(size_t bytes)
{
    struct buf b;
    struct rng rng = {7};
    buf_init(&b, bytes);
    assert_int_equal(buf_reserve(&b, bytes), 0);
    for (size_t i = 0; i < bytes; i++)
        b.ptr[i] = (uint8_t)rng_next(&rng);
    b.len = bytes;
    return b;
}

/* ---- listing helper ---- */

struct listing {
    VEC(char *) names; /* prefixes as they come, with their '/' */
    size_t stop_after;
    uint64_t bytes;
};

static int collect(void *ctx, const struct objstore_list_item *item)
{
    struct listing *l = ctx;
    char *copy = strndup((const char *)item->key.ptr, item->key.len);
    assert_true(vec_push(&l->names, copy));
    assert_int_equal(item->is_prefix, slice_ends(item->key, SLICE("/")));
    l->bytes += item->bytes;
    return l->stop_after && l->names.count >= l->stop_after;
}

static void listing_clear(struct listing *l)
{
    for (uint32_t i = 0; i < l->names.count; i++)
        free(l->names.at[i]);
    vec_free(&l->names);
}

static void assert_list(struct world *w, const char *prefix, const char *after, bool fold,
                        const char *const *want)
{
    struct listing l = {.stop_after = 0};
    OK(objstore_list(w->store, text(prefix), text(after), fold, collect, &l, soon(), err));
    uint32_t n = 0;
    for (; want[n]; n++) {
        if (n >= l.names.count)
            fail_msg("list '%s': %u names, '%s' is missing", prefix, l.names.count, want[n]);
        assert_string_equal(l.names.at[n], want[n]);
    }
    if (n != l.names.count)
        fail_msg("list '%s': '%s' is too much", prefix, l.names.at[n]);
    listing_clear(&l);
}
#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define NO_NAMES ((const char *const[]){NULL})

/* ---- what holds ---- */

static void what_was_put_is_read_back(void **state)
{
    struct world *w = *state;
    put(w, "t1/block/meta.json", SLICE("{}"));
    assert_content(w, "t1/block/meta.json", SLICE("{}"));
    put(w, "t1/block/meta.json", SLICE("other"));
    assert_content(w, "t1/block/meta.json", SLICE("other"));
    put(w, "empty", SLICE(""));
    assert_content(w, "empty", SLICE(""));
}

static void odd_keys_go_through_whole(void **state)
{
    struct world *w = *state;
    static const char *const keys[] = {
        "odd/a b",    "odd/a!b",
        "odd/a%20b",  "odd/a&b=c?d#e",
        "odd/a'b\"c", "odd/a+b",
        "odd/a<b>",   "odd/a\\b",
        "odd/a~b",    "odd/z\xc3\xa9\xe1\x88\xb4\xf0\x9f\x8e\xb5",
    };
    size_t n = sizeof keys / sizeof keys[0], first = 0;
    const char *want[sizeof keys / sizeof keys[0] + 1] = {NULL};
    if (w->is_libs3) /* which has another name for it */
        assert_int_equal(objstore_put(w->store, text(keys[first++]), SLICE(""), 0, soon(), NULL),
                         ERR_INVALID);
    for (size_t i = first; i < n; i++) {
        put(w, keys[i], text(keys[i]));
        want[i - first] = keys[i];
    }
    for (size_t i = first; i < n; i++)
        assert_content(w, keys[i], text(keys[i]));
    /* bytewise: ' ' ! % & ' + < \ ~ z */
    assert_list(w, "odd/", "", false, want);
    for (size_t i = first; i < n; i++)
        OK(objstore_delete(w->store, text(keys[i]), soon(), err));
    assert_list(w, "odd/", "", false, NO_NAMES);
}

static void bad_keys_are_refused_everywhere(void **state)
{
    struct world *w = *state;
    char longest[LIMIT_KEY_BYTES + 2];
    memset(longest, 'k', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    const char *const keys[] = {"",     "/a", "a/",      "a//b", "a/./b", "../a",
                                "a/..", ".",  "a/\x01b", "\xff", "a\xc3", longest};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct objstore_info info;
        struct err why = {.msg = ""};
        struct buf out;
        buf_init(&out, 10);
        struct slice k = text(keys[i]);
        assert_int_equal(objstore_put(w->store, k, SLICE("x"), 0, soon(), &why), ERR_INVALID);
        assert_int_equal(objstore_get(w->store, k, soon(), &out, &why), ERR_INVALID);
        assert_int_equal(objstore_head(w->store, k, soon(), &info, &why), ERR_INVALID);
        assert_int_equal(objstore_delete(w->store, k, soon(), &why), ERR_INVALID);
        assert_non_null(strstr(why.msg, "key"));
    }
}

static void a_missing_key_is_not_found(void **state)
{
    struct world *w = *state;
    struct objstore_info info;
    struct err why;
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(objstore_get(w->store, SLICE("no/such"), soon(), &out, &why), ERR_NOTFOUND);
    assert_non_null(strstr(why.msg, "no/such"));
    assert_int_equal(out.len, 0);
    assert_int_equal(objstore_head(w->store, SLICE("no/such"), soon(), &info, &why), ERR_NOTFOUND);
    OK(objstore_delete(w->store, SLICE("no/such"), soon(), err));
    buf_clear(&out);
}

static void head_tells_size_and_time(void **state)
{
    struct world *w = *state;
    struct objstore_info info;
    uint64_t now_s = clock_unix_ns(&clock_system) / NS_PER_S;
    put(w, "head/me", SLICE("12345"));
    OK(objstore_head(w->store, SLICE("head/me"), soon(), &info, err));
    assert_int_equal(info.bytes, 5);
    assert_in_range(info.modified_unix_ns / NS_PER_S, now_s - 5, now_s + 60);
    assert_null(strchr(info.etag, '"'));
}

static void ranges_are_exact(void **state)
{
    struct world *w = *state;
    put(w, "range", SLICE("0123456789"));
    static const struct {
        enum objstore_range range;
        uint64_t offset, bytes;
        const char *want;
    } cases[] = {
        {OBJSTORE_WHOLE, 0, 0, "0123456789"},
        {OBJSTORE_RANGE, 0, 1, "0"},
        {OBJSTORE_RANGE, 3, 4, "3456"},
        {OBJSTORE_RANGE, 9, 1, "9"},
        {OBJSTORE_RANGE, 8, 100, "89"},
        {OBJSTORE_RANGE, 0, 10, "0123456789"},
        {OBJSTORE_RANGE, 10, 5, ""},
        {OBJSTORE_RANGE, 1000, 5, ""},
        {OBJSTORE_RANGE, 4, 0, ""},
        {OBJSTORE_SUFFIX, 0, 3, "789"},
        {OBJSTORE_SUFFIX, 0, 10, "0123456789"},
        {OBJSTORE_SUFFIX, 0, 99, "0123456789"},
        {OBJSTORE_SUFFIX, 0, 0, ""},
    };
    size_t n = sizeof cases / sizeof cases[0];
    struct objstore_get gets[sizeof cases / sizeof cases[0]] = {{.rc = 0}};
    for (size_t i = 0; i < n; i++) {
        gets[i] = (struct objstore_get){
            .key = SLICE("range"),
            .range = cases[i].range,
            .offset = cases[i].offset,
            .bytes = cases[i].bytes,
        };
        buf_init(&gets[i].out, 1000);
    }
    OK(objstore_get_many(w->store, gets, n, soon(), err));
    for (size_t i = 0; i < n; i++) {
        if (!slice_eq(buf_view(&gets[i].out), text(cases[i].want)))
            fail_msg("case %zu: got '%.*s', want '%s'", i, SLICE_ARGS(buf_view(&gets[i].out)),
                     cases[i].want);
        assert_int_equal(gets[i].object_bytes, 10);
        buf_clear(&gets[i].out);
    }
}

static void ranges_of_an_empty_object_are_empty(void **state)
{
    struct world *w = *state;
    put(w, "range-empty", SLICE(""));
    struct objstore_get gets[] = {
        {.key = SLICE("range-empty"), .range = OBJSTORE_SUFFIX, .bytes = 8},
        {.key = SLICE("range-empty"), .range = OBJSTORE_RANGE, .offset = 0, .bytes = 8},
    };
    buf_init(&gets[0].out, 8);
    buf_init(&gets[1].out, 8);
    OK(objstore_get_many(w->store, gets, 2, soon(), err));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gets[i].out.len, 0);
        assert_int_equal(gets[i].object_bytes, 0);
        buf_clear(&gets[i].out);
    }
}

static void one_failed_get_leaves_the_others_whole(void **state)
{
    struct world *w = *state;
    struct objstore_get gets[40] = {{.rc = 0}};
    char keys[40][32];
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "many/%d", i);
        if (i != 20)
            put(w, keys[i], text(keys[i]));
        gets[i].key = text(keys[i]);
        buf_init(&gets[i].out, 100);
    }
    gets[30].key = SLICE("bad//key");
    struct err why;
    assert_int_equal(objstore_get_many(w->store, gets, 40, soon(), &why), ERR_NOTFOUND);
    assert_non_null(strstr(why.msg, "many/20"));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(gets[i].rc, i == 20 ? ERR_NOTFOUND : i == 30 ? ERR_INVALID : 0);
        assert_true(
            slice_eq(buf_view(&gets[i].out), i == 20 || i == 30 ? SLICE("") : text(keys[i])));
        buf_clear(&gets[i].out);
    }
}

static void an_answer_past_the_buffers_maximum_is_refused(void **state)
{
    struct world *w = *state;
    struct buf out;
    put(w, "big", SLICE("0123456789"));
    buf_init(&out, 9);
    assert_int_equal(objstore_get(w->store, SLICE("big"), soon(), &out, NULL), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    buf_clear(&out);
    /* Exactly the maximum is fine, behind what was there. */
    buf_init(&out, 12);
    buf_str(&out, "ab");
    OK(objstore_get(w->store, SLICE("big"), soon(), &out, err));
    assert_true(slice_eq(buf_view(&out), SLICE("ab0123456789")));
    buf_clear(&out);
}

static void create_if_absent_keeps_the_first(void **state)
{
    struct world *w = *state;
    struct slice key = SLICE("lease/7");
    struct err why;
    OK(objstore_put(w->store, key, SLICE("mine"), OBJSTORE_IF_ABSENT, soon(), err));
    assert_int_equal(objstore_put(w->store, key, SLICE("yours"), OBJSTORE_IF_ABSENT, soon(), &why),
                     ERR_EXISTS);
    assert_non_null(strstr(why.msg, "lease/7"));
    assert_int_equal(objstore_put(w->store, key, SLICE("mine2"), OBJSTORE_IF_ABSENT, soon(), NULL),
                     ERR_EXISTS);
    assert_content(w, "lease/7", SLICE("mine"));
    /* The same bytes again: an own earlier try that got through. */
    OK(objstore_put(w->store, key, SLICE("mine"), OBJSTORE_IF_ABSENT, soon(), err));
    OK(objstore_delete(w->store, key, soon(), err));
    OK(objstore_put(w->store, key, SLICE("yours"), OBJSTORE_IF_ABSENT, soon(), err));
    assert_content(w, "lease/7", SLICE("yours"));
}

struct racer {
    struct world *w;
    pthread_t thread;
    char body[16];
    int rc;
};

static void *race(void *ctx)
{
    struct racer *r = ctx;
    r->rc =
        objstore_put(r->w->store, SLICE("race/1"), text(r->body), OBJSTORE_IF_ABSENT, soon(), NULL);
    return NULL;
}

static void of_many_creators_exactly_one_wins(void **state)
{
    struct world *w = *state;
    struct racer racers[12];
    const struct racer *winner = NULL;
    for (int i = 0; i < 12; i++) {
        racers[i] = (struct racer){.w = w};
        snprintf(racers[i].body, sizeof racers[i].body, "racer %d", i);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 12; i++) {
        pthread_join(racers[i].thread, NULL);
        if (racers[i].rc == 0) {
            if (!w->is_libs3) /* which looks and then writes */
                assert_null(winner);
            winner = &racers[i];
        } else {
            assert_int_equal(racers[i].rc, ERR_EXISTS);
        }
    }
    assert_non_null(winner);
    if (!w->is_libs3)
        assert_content(w, "race/1", text(winner->body));
}

static void the_probe_tells_create_if_absent_and_leaves_nothing(void **state)
{
    struct world *w = *state;
    struct objstore_caps caps = {w->is_libs3};
    OK(objstore_probe(w->store, &caps, soon(), err));
    assert_int_equal(caps.create_if_absent, !w->is_libs3);
    assert_list(w, "rubato-probe", "", false, NO_NAMES);
}

static void deleting_removes_and_may_be_repeated(void **state)
{
    struct world *w = *state;
    put(w, "del/a/b", SLICE("x"));
    put(w, "del/c", SLICE("x"));
    OK(objstore_delete(w->store, SLICE("del/a/b"), soon(), err));
    OK(objstore_delete(w->store, SLICE("del/a/b"), soon(), err));
    OK(objstore_delete(w->store, SLICE("del/a"), soon(), err)); /* no key, though a prefix once */
    assert_list(w, "del/", "", true, NAMES("del/c"));
}

static void lists_are_in_key_order_with_prefix_and_start(void **state)
{
    struct world *w = *state;
    static const char *const keys[] = {"l/a",   "l/b!", "l/b-c", "l/b/1", "l/b/2/x",
                                       "l/b/3", "l/b0", "l/c/1", "l/d"};
    for (int i = 8; i >= 0; i--)
        put(w, keys[i], SLICE("xy"));
    put(w, "k", SLICE(""));
    put(w, "m", SLICE(""));
    assert_list(w, "l/", "", false,
                NAMES("l/a", "l/b!", "l/b-c", "l/b/1", "l/b/2/x", "l/b/3", "l/b0", "l/c/1", "l/d"));
    assert_list(w, "l/b", "", false, NAMES("l/b!", "l/b-c", "l/b/1", "l/b/2/x", "l/b/3", "l/b0"));
    assert_list(w, "l/b/", "", false, NAMES("l/b/1", "l/b/2/x", "l/b/3"));
    assert_list(w, "l/b/2/x", "", false, NAMES("l/b/2/x"));
    assert_list(w, "l/nothing", "", false, NO_NAMES);
    assert_list(w, "nothing/at/all", "", false, NO_NAMES);
    assert_list(w, "l/", "l/b/2/x", false, NAMES("l/b/3", "l/b0", "l/c/1", "l/d"));
    assert_list(w, "l/", "l/b/2", false, NAMES("l/b/2/x", "l/b/3", "l/b0", "l/c/1", "l/d"));
    assert_list(w, "l/", "l/d", false, NO_NAMES);
    assert_list(w, "l/", "a", false,
                NAMES("l/a", "l/b!", "l/b-c", "l/b/1", "l/b/2/x", "l/b/3", "l/b0", "l/c/1", "l/d"));
}

static void lists_fold_at_the_delimiter(void **state)
{
    struct world *w = *state;
    static const char *const keys[] = {"f/a",     "f/b!", "f/b-c", "f/b/1",
                                       "f/b/2/x", "f/b0", "f/c/1", "f/d"};
    for (int i = 0; i < 8; i++)
        put(w, keys[i], SLICE("xy"));
    assert_list(w, "f/", "", true, NAMES("f/a", "f/b!", "f/b-c", "f/b/", "f/b0", "f/c/", "f/d"));
    assert_list(w, "f/b", "", true, NAMES("f/b!", "f/b-c", "f/b/", "f/b0"));
    assert_list(w, "f/b/", "", true, NAMES("f/b/1", "f/b/2/"));
    assert_list(w, "f", "", true, NAMES("f/"));
    /* The last item seen, prefix or key, is where to go on. */
    assert_list(w, "f/", "f/b/", true, NAMES("f/b0", "f/c/", "f/d"));
    assert_list(w, "f/", "f/b-c", true, NAMES("f/b/", "f/b0", "f/c/", "f/d"));
    assert_list(w, "f/", "f/c/", true, NAMES("f/d"));
}

static void a_list_stops_when_the_caller_has_enough(void **state)
{
    struct world *w = *state;
    put(w, "s/1", SLICE("abc"));
    put(w, "s/2", SLICE("de"));
    put(w, "s/3", SLICE("f"));
    struct listing l = {.stop_after = 2};
    OK(objstore_list(w->store, SLICE("s/"), SLICE(""), false, collect, &l, soon(), err));
    assert_int_equal(l.names.count, 2);
    assert_int_equal(l.bytes, 5);
    listing_clear(&l);
}

static void a_list_of_many_pages_is_complete(void **state)
{
    struct world *w = *state;
    char key[64];
    for (int i = 0; i < 1205; i++) { /* more than one page of 1000 */
        snprintf(key, sizeof key, "pages/%04d", i);
        put(w, key, SLICE(""));
    }
    struct listing l = {.stop_after = 0};
    OK(objstore_list(w->store, SLICE("pages/"), SLICE("pages/0001"), false, collect, &l, soon(),
                     err));
    assert_int_equal(l.names.count, 1203);
    for (uint32_t i = 0; i < l.names.count; i++) {
        snprintf(key, sizeof key, "pages/%04u", i + 2);
        assert_string_equal(l.names.at[i], key);
    }
    listing_clear(&l);
}

static int delete_it(void *ctx, const struct objstore_list_item *item)
{
    struct world *w = ctx;
    OK(objstore_delete(w->store, item->key, soon(), err));
    return 0;
}

static void a_list_callback_may_use_the_store(void **state)
{
    struct world *w = *state;
    put(w, "cb/1/a", SLICE(""));
    put(w, "cb/1/b", SLICE(""));
    put(w, "cb/2", SLICE(""));
    OK(objstore_list(w->store, SLICE("cb/"), SLICE(""), false, delete_it, w, soon(), err));
    assert_list(w, "cb/", "", false, NO_NAMES);
}

static void an_upload_shows_when_it_is_finished(void **state)
{
    struct world *w = *state;
    struct objstore_upload *u;
    struct objstore_info info;
    OK(objstore_upload_begin(w->store, SLICE("up/one"), soon(), &u, err));
    OK(objstore_upload_write(u, SLICE("first "), err));
    OK(objstore_upload_write(u, SLICE(""), err));
    assert_int_equal(objstore_head(w->store, SLICE("up/one"), soon(), &info, NULL), ERR_NOTFOUND);
    assert_list(w, "up/", "", false, NO_NAMES);
    OK(objstore_upload_write(u, SLICE("second"), err));
    OK(objstore_upload_finish(u, err));
    assert_content(w, "up/one", SLICE("first second"));
}

static void an_aborted_upload_leaves_nothing(void **state)
{
    struct world *w = *state;
    struct objstore_upload *u;
    struct objstore_info info;
    struct buf b = pattern((size_t)20 << 20);
    OK(objstore_upload_begin(w->store, SLICE("up/aborted"), soon(), &u, err));
    OK(objstore_upload_write(u, buf_view(&b), err));
    objstore_upload_abort(u);
    assert_int_equal(objstore_head(w->store, SLICE("up/aborted"), soon(), &info, NULL),
                     ERR_NOTFOUND);
    buf_clear(&b);
}

static void a_large_upload_in_odd_pieces_comes_back(void **state)
{
    struct world *w = *state;
    struct objstore_upload *u;
    struct buf b = pattern(((size_t)17 << 20) + 12345); /* three parts of 8 MiB on S3 */
    OK(objstore_upload_begin(w->store, SLICE("up/large"), soon(), &u, err));
    for (size_t at = 0; at < b.len;) {
        size_t n = b.len - at < 700001 ? b.len - at : 700001;
        OK(objstore_upload_write(u, slice_of(b.ptr + at, n), err));
        at += n;
    }
    OK(objstore_upload_finish(u, err));
    assert_content(w, "up/large", buf_view(&b));
    buf_clear(&b);
}

static void a_large_put_comes_back_whole_and_by_range(void **state)
{
    struct world *w = *state;
    struct buf b = pattern(((size_t)13 << 20) + 1); /* past part_bytes: multipart on S3 */
    put(w, "large", buf_view(&b));
    assert_content(w, "large", buf_view(&b));
    struct objstore_get g = {
        .key = SLICE("large"), .range = OBJSTORE_RANGE, .offset = (5 << 20) - 3, .bytes = 100};
    buf_init(&g.out, 100);
    OK(objstore_get_many(w->store, &g, 1, soon(), err));
    assert_memory_equal(g.out.ptr, b.ptr + (5 << 20) - 3, 100);
    assert_int_equal(g.object_bytes, b.len);
    buf_clear(&g.out);
    buf_clear(&b);
}

static void a_deadline_in_the_past_is_a_timeout(void **state)
{
    struct world *w = *state;
    struct listing l = {.stop_after = 0};
    struct objstore_info info;
    struct buf out;
    buf_init(&out, 100);
    put(w, "late", SLICE("x"));
    assert_int_equal(objstore_get(w->store, SLICE("late"), 1, &out, NULL), ERR_TIMEOUT);
    assert_int_equal(objstore_head(w->store, SLICE("late"), 1, &info, NULL), ERR_TIMEOUT);
    assert_int_equal(objstore_put(w->store, SLICE("late"), SLICE("y"), 0, 1, NULL), ERR_TIMEOUT);
    assert_int_equal(objstore_delete(w->store, SLICE("late"), 1, NULL), ERR_TIMEOUT);
    assert_int_equal(objstore_list(w->store, SLICE("late"), SLICE(""), false, collect, &l, 1, NULL),
                     ERR_TIMEOUT);
    assert_int_equal(l.names.count, 0);
    assert_content(w, "late", SLICE("x"));
}

static void requests_are_counted_by_operation_and_status(void **state)
{
    struct world *w = *state;
    struct buf out, page;
    put(w, "counted", SLICE("12345"));
    buf_init(&out, 100);
    OK(objstore_get(w->store, SLICE("counted"), soon(), &out, err));
    (void)objstore_get(w->store, SLICE("not-there"), soon(), &out, NULL);
    buf_init(&page, 1 << 20);
    assert_int_equal(metrics_write(w->metrics, &page), 0);
    buf_u8(&page, 0);
    const char *p = (const char *)page.ptr;
    assert_non_null(strstr(p, "tempodb_backend_request_duration_seconds_count{operation=\"GET\","
                              "status_code=\"404\"} "));
    assert_non_null(strstr(p, "tempodb_backend_request_duration_seconds_bucket{operation=\"PUT\","
                              "status_code=\"200\",le=\"1.28\"} "));
    assert_non_null(strstr(p, "objstore_get_bytes_total "));
    assert_non_null(strstr(p, "objstore_put_bytes_total "));
    assert_null(strstr(p, "objstore_put_bytes_total 0\n"));
    buf_clear(&out);
    buf_clear(&page);
}

/* ---- the drivers ---- */

static int open_world(struct world *w)
{
    struct err err = {.msg = ""};
    w->metrics = metrics_new();
    struct objstore_env env = {.clock = &clock_system, .metrics = w->metrics};
    int rc;
    if (strcmp(w->driver, "memory") == 0) {
        rc = objstore_memory_new(&env, &w->store, &err);
    } else if (strncmp(w->driver, "s3", 2) == 0) {
        struct objstore_s3_opts opts;
        uint8_t id[8];
        random_bytes(id, sizeof id);
        hex_encode(slice_of(id, sizeof id), w->prefix);
        objstore_s3_opts_from_env(&opts);
        opts.part_bytes = 5 << 20;
        rc = objstore_s3_make_bucket(&opts, &err);
        opts.prefix = slice_cstr(w->prefix);
        if (rc == 0)
            rc = w->is_libs3 ? objstore_libs3_new(&opts, &env, &w->store, &err)
                             : objstore_s3_new(&opts, &env, &w->store, &err);
    } else {
        scratch_dir_make(w->dir);
        struct objstore_local_opts opts = {.path = slice_cstr(w->dir)};
        if (strcmp(w->driver, "local with a prefix") == 0)
            opts.prefix = SLICE("a/b");
        rc = objstore_local_new(&opts, &env, &w->store, &err);
    }
    if (rc < 0)
        print_error("%s: %s\n", w->driver, err.msg);
    return rc;
}

static int delete_all(void *ctx, const struct objstore_list_item *item)
{
    return objstore_delete(ctx, item->key, soon(), NULL);
}

static int run(const char *driver)
{
    struct world w = {.driver = driver, .is_libs3 = strcmp(driver, "s3 over libs3") == 0};
#define HOLDS(f)                                                                                   \
    {                                                                                              \
#f, f, NULL, NULL, &w                                                                      \
    }
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_put_is_read_back),
        HOLDS(odd_keys_go_through_whole),
        HOLDS(bad_keys_are_refused_everywhere),
        HOLDS(a_missing_key_is_not_found),
        HOLDS(head_tells_size_and_time),
        HOLDS(ranges_are_exact),
        HOLDS(ranges_of_an_empty_object_are_empty),
        HOLDS(one_failed_get_leaves_the_others_whole),
        HOLDS(an_answer_past_the_buffers_maximum_is_refused),
        HOLDS(create_if_absent_keeps_the_first),
        HOLDS(of_many_creators_exactly_one_wins),
        HOLDS(the_probe_tells_create_if_absent_and_leaves_nothing),
        HOLDS(deleting_removes_and_may_be_repeated),
        HOLDS(lists_are_in_key_order_with_prefix_and_start),
        HOLDS(lists_fold_at_the_delimiter),
        HOLDS(a_list_stops_when_the_caller_has_enough),
        HOLDS(a_list_of_many_pages_is_complete),
        HOLDS(a_list_callback_may_use_the_store),
        HOLDS(an_upload_shows_when_it_is_finished),
        HOLDS(an_aborted_upload_leaves_nothing),
        HOLDS(a_large_upload_in_odd_pieces_comes_back),
        HOLDS(a_large_put_comes_back_whole_and_by_range),
        HOLDS(a_deadline_in_the_past_is_a_timeout),
        HOLDS(requests_are_counted_by_operation_and_status),
    };
    if (open_world(&w) < 0)
        return 1;
    int failed = cmocka_run_group_tests_name(driver, tests, NULL, NULL);
    (void)objstore_list(w.store, SLICE(""), SLICE(""), false, delete_all, w.store, soon(), NULL);
    objstore_free(w.store);
    metrics_free(w.metrics);
    if (w.dir[0])
        scratch_dir_remove(w.dir);
    return failed;
}

int main(void)
{
    struct objstore_s3_opts opts;
    int failed = run("memory");
    failed += run("local");
    failed += run("local with a prefix");
    if (objstore_s3_opts_from_env(&opts)) {
        failed += run("s3");
        failed += run("s3 over libs3");
    }
    return failed;
}
