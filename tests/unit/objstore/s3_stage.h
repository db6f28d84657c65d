/* A store against a scripted server: the stage on which the tests of S3 faults play. */
#ifndef TESTS_UNIT_OBJSTORE_S3_STAGE_H
#define TESTS_UNIT_OBJSTORE_S3_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "objstore/objstore.h"
#include "tests/support/fake_s3.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define XML(code) "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>m</Message></Error>"

static inline uint64_t in_ms(uint64_t ms)
{
    return clock_mono_ns(&clock_system) + ms * NS_PER_MS;
}

static inline struct objstore *open_store(const char *url, const struct log *log)
{
    struct objstore_s3_opts opts = {
        .bucket = SLICE("bucket"),
        .endpoint = slice_cstr(url),
        .access_key = SLICE("AKIDEXAMPLE"),
        .secret_key = SLICE(SECRET),
        .part_bytes = 5 << 20,
    };
    struct objstore_env env = {.clock = &clock_system, .log = log};
    struct objstore *s;
    assert_int_equal(objstore_s3_new(&opts, &env, &s, NULL), 0);
    return s;
}

/* ---- answers from a list; the last one goes on ---- */

struct script {
    const struct fake_s3_answer *answers;
    unsigned count;
};

static inline void play(void *ctx, const struct fake_s3_request *req, unsigned index,
                        struct fake_s3_answer *answer)
{
    (void)req;
    const struct script *s = ctx;
    *answer = s->answers[index < s->count ? index : s->count - 1];
}

struct stage {
    struct script script;
    struct fake_s3 *server;
    struct objstore *store;
    struct err err;
    struct buf out;
};

static inline void set(struct stage *t, const struct fake_s3_answer *answers, unsigned count)
{
    *t = (struct stage){.script = {answers, count}};
    t->server = fake_s3_start(play, &t->script);
    t->store = open_store(fake_s3_url(t->server), NULL);
    buf_init(&t->out, 1 << 20);
}
#define SET(t, ...)                                                                                \
    static const struct fake_s3_answer script_[] = {__VA_ARGS__};                                  \
    set((t), script_, sizeof script_ / sizeof script_[0])

static inline void strike(struct stage *t)
{
    objstore_free(t->store);
    fake_s3_stop(t->server);
    buf_clear(&t->out);
}

static inline int get(struct stage *t, uint64_t ms)
{
    return objstore_get(t->store, SLICE("key"), in_ms(ms), &t->out, &t->err);
}

static inline int get_range(struct stage *t, uint64_t offset, uint64_t bytes)
{
    struct objstore_get g = {.key = SLICE("key"),
                             .range = OBJSTORE_RANGE,
                             .offset = offset,
                             .bytes = bytes,
                             .out = t->out};
    int rc = objstore_get_many(t->store, &g, 1, in_ms(2000), &t->err);
    t->out = g.out;
    return rc;
}

static inline void assert_out(struct stage *t, const char *want)
{
    assert_int_equal(t->out.len, strlen(want));
    assert_memory_equal(t->out.ptr, want, t->out.len);
}

static inline void assert_header(struct stage *t, unsigned index, const char *name,
                                 const char *want)
{
    struct slice v = fake_s3_header(fake_s3_at(t->server, index), name);
    if (!want) {
        assert_null(v.ptr);
        return;
    }
    if (!slice_eq(v, slice_cstr(want)))
        fail_msg("request %u: %s is '%.*s', not '%s'", index, name, SLICE_ARGS(v), want);
}

#endif
