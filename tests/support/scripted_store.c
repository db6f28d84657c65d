/* The scripted store: counts calls, looks for a step, and else hands the call to the inner store.
 */
#include "tests/support/scripted_store.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEPS_MAX 64

struct scripted_store {
    struct objstore base;
    struct objstore *inner;
    const struct scripted_step *steps;
    size_t step_count;
    pthread_mutex_t mu;
    unsigned calls[OBJSTORE_OP_HEAD + 1]; /* hold mu */
    unsigned seen[STEPS_MAX];             /* hold mu; matching calls of each step */
    bool mortal;                          /* hold mu */
    unsigned writes_left;                 /* hold mu; when mortal */
};

struct scripted_upload {
    struct objstore_upload base;
    struct objstore_upload *inner;
    struct scripted_store *store;
    char key[LIMIT_KEY_BYTES + 1];
};

static struct scripted_store *scripted_of(struct objstore *s)
{
    return (struct scripted_store *)s;
}

static bool contains(struct slice key, const char *part)
{
    return !part || memmem(key.ptr, key.len, part, strlen(part)) != NULL;
}

static bool writes(enum objstore_op op)
{
    return op == OBJSTORE_OP_PUT || op == OBJSTORE_OP_DELETE;
}

static bool is_dead(struct scripted_store *s, enum objstore_op op)
{
    pthread_mutex_lock(&s->mu);
    bool dead = s->mortal && s->writes_left == 0;
    if (s->mortal && !dead && writes(op))
        s->writes_left--;
    pthread_mutex_unlock(&s->mu);
    return dead;
}

void scripted_store_die_after(struct objstore *store, unsigned count)
{
    struct scripted_store *s = scripted_of(store);
    pthread_mutex_lock(&s->mu);
    s->mortal = true;
    s->writes_left = count;
    pthread_mutex_unlock(&s->mu);
}

/* The step for this call, or NULL. Sleeps and calls what the step says. */
static const struct scripted_step *next_step(struct scripted_store *s, enum objstore_op op,
                                             struct slice key)
{
    static const struct scripted_step dead = {.action = SCRIPTED_FAIL, .rc = ERR_IO};
    const struct scripted_step *found = NULL;
    if (is_dead(s, op))
        return &dead;
    pthread_mutex_lock(&s->mu);
    s->calls[op]++;
    for (size_t i = 0; i < s->step_count; i++) {
        const struct scripted_step *step = &s->steps[i];
        if (step->op != op || !contains(key, step->key_contains))
            continue;
        s->seen[i]++;
        if (!found && (step->nth == 0 || step->nth == s->seen[i]))
            found = step;
    }
    pthread_mutex_unlock(&s->mu);
    if (found && found->action == SCRIPTED_CALL)
        found->before(found->before_ctx);
    if (found && found->delay_ms) {
        struct timespec ts = {found->delay_ms / 1000, (found->delay_ms % 1000) * 1000000L};
        nanosleep(&ts, NULL);
    }
    return found;
}

static bool fails(const struct scripted_step *step)
{
    return step && step->action == SCRIPTED_FAIL;
}

static int fail_now(const struct scripted_step *step, struct err *err)
{
    return err_set(err, step->rc, "scripted failure");
}

/* What is answered when the inner store has answered rc. */
static int answer(const struct scripted_step *step, int rc, struct err *err)
{
    if (step && step->action == SCRIPTED_LOSE_ANSWER)
        return err_set(err, step->rc, "scripted: done, but the answer is lost");
    return rc;
}

static void get_one(struct scripted_store *s, struct objstore_get *g, uint64_t deadline_ns)
{
    const struct scripted_step *step = next_step(s, OBJSTORE_OP_GET, g->key);
    size_t before = g->out.len;
    if (fails(step)) {
        g->rc = fail_now(step, &g->err);
        return;
    }
    objstore_get_many(s->inner, g, 1, deadline_ns, NULL);
    if (g->rc == 0 && step && step->action == SCRIPTED_CUT_BODY &&
        g->out.len - before > step->cut_at)
        g->out.len = before + step->cut_at;
    if (step && step->action == SCRIPTED_LOSE_ANSWER)
        g->rc = answer(step, g->rc, &g->err);
}

static void scripted_get_many(struct objstore *store, struct objstore_get *gets, size_t count,
                              uint64_t deadline_ns)
{
    for (size_t i = 0; i < count; i++) {
        if (gets[i].rc == 0)
            get_one(scripted_of(store), &gets[i], deadline_ns);
    }
}

static int scripted_head(struct objstore *store, struct slice key, uint64_t deadline_ns,
                         struct objstore_info *info, struct err *err)
{
    struct scripted_store *s = scripted_of(store);
    const struct scripted_step *step = next_step(s, OBJSTORE_OP_HEAD, key);
    if (fails(step))
        return fail_now(step, err);
    return answer(step, objstore_head(s->inner, key, deadline_ns, info, err), err);
}

static int scripted_put(struct objstore *store, struct slice key, struct slice body, unsigned flags,
                        uint64_t deadline_ns, struct err *err)
{
    struct scripted_store *s = scripted_of(store);
    const struct scripted_step *step = next_step(s, OBJSTORE_OP_PUT, key);
    if (fails(step))
        return fail_now(step, err);
    return answer(step, objstore_put(s->inner, key, body, flags, deadline_ns, err), err);
}

static int scripted_remove(struct objstore *store, struct slice key, uint64_t deadline_ns,
                           struct err *err)
{
    struct scripted_store *s = scripted_of(store);
    const struct scripted_step *step = next_step(s, OBJSTORE_OP_DELETE, key);
    if (fails(step))
        return fail_now(step, err);
    return answer(step, objstore_delete(s->inner, key, deadline_ns, err), err);
}

struct torn {
    const struct objstore_list_query *q;
    size_t left;
    bool stopped; /* by who asked */
    char last[LIMIT_KEY_BYTES + 1];
};

static int until_torn(void *ctx, const struct objstore_list_item *item)
{
    struct torn *t = ctx;
    if (t->left == 0)
        return 1;
    t->left--;
    snprintf(t->last, sizeof t->last, "%.*s", SLICE_ARGS(item->key));
    t->stopped = t->q->fn(t->q->ctx, item) != 0;
    return t->stopped;
}

static int torn_list(struct scripted_store *s, const struct scripted_step *step,
                     const struct objstore_list_query *q, struct err *err)
{
    struct torn t = {.q = q, .left = step->cut_at};
    int rc = objstore_list(s->inner, q->prefix, q->start_after, q->delimiter_slash, until_torn, &t,
                           q->deadline_ns, err);
    step->before(step->before_ctx);
    if (rc < 0 || t.stopped)
        return rc;
    return objstore_list(s->inner, q->prefix, t.last[0] ? slice_cstr(t.last) : q->start_after,
                         q->delimiter_slash, q->fn, q->ctx, q->deadline_ns, err);
}

static int scripted_list(struct objstore *store, const struct objstore_list_query *q,
                         struct err *err)
{
    struct scripted_store *s = scripted_of(store);
    const struct scripted_step *step = next_step(s, OBJSTORE_OP_LIST, q->prefix);
    if (fails(step))
        return fail_now(step, err);
    if (step && step->action == SCRIPTED_TEAR)
        return torn_list(s, step, q, err);
    int rc = objstore_list(s->inner, q->prefix, q->start_after, q->delimiter_slash, q->fn, q->ctx,
                           q->deadline_ns, err);
    return answer(step, rc, err);
}

static int scripted_upload_begin(struct objstore *store, struct slice key, uint64_t deadline_ns,
                                 struct objstore_upload **out, struct err *err)
{
    struct scripted_store *s = scripted_of(store);
    struct scripted_upload *u = calloc(1, sizeof *u);
    int rc = u ? objstore_upload_begin(s->inner, key, deadline_ns, &u->inner, err)
               : err_set(err, ERR_NOMEM, "no memory");
    if (rc < 0) {
        free(u);
        return rc;
    }
    u->store = s;
    memcpy(u->key, key.ptr, key.len);
    *out = &u->base;
    return 0;
}

static int scripted_upload_write(struct objstore_upload *base, struct slice bytes, struct err *err)
{
    struct scripted_upload *u = (struct scripted_upload *)base;
    const struct scripted_step *step = next_step(u->store, OBJSTORE_OP_POST, slice_cstr(u->key));
    if (fails(step))
        return fail_now(step, err);
    return answer(step, objstore_upload_write(u->inner, bytes, err), err);
}

static int scripted_upload_finish(struct objstore_upload *base, struct err *err)
{
    struct scripted_upload *u = (struct scripted_upload *)base;
    const struct scripted_step *step = next_step(u->store, OBJSTORE_OP_PUT, slice_cstr(u->key));
    int rc;
    if (fails(step)) {
        objstore_upload_abort(u->inner);
        rc = fail_now(step, err);
    } else {
        rc = answer(step, objstore_upload_finish(u->inner, err), err);
    }
    free(u);
    return rc;
}

static void scripted_upload_abort(struct objstore_upload *base)
{
    struct scripted_upload *u = (struct scripted_upload *)base;
    objstore_upload_abort(u->inner);
    free(u);
}

static void scripted_free(struct objstore *store)
{
    pthread_mutex_destroy(&scripted_of(store)->mu);
    free(store);
}

static const struct objstore_ops scripted_ops = {
    .observes = true, /* the inner store does */
    .free = scripted_free,
    .get_many = scripted_get_many,
    .head = scripted_head,
    .put = scripted_put,
    .remove = scripted_remove,
    .list = scripted_list,
    .upload_begin = scripted_upload_begin,
    .upload_write = scripted_upload_write,
    .upload_finish = scripted_upload_finish,
    .upload_abort = scripted_upload_abort,
};

int scripted_store_new(struct objstore *inner, const struct scripted_step *steps, size_t count,
                       const struct objstore_env *env, struct objstore **out, struct err *err)
{
    assert(count <= STEPS_MAX);
    struct scripted_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for a store");
    struct objstore_env quiet = {.log = env->log, .clock = env->clock};
    objstore_init(&s->base, &scripted_ops, &quiet);
    s->inner = inner;
    s->steps = steps;
    s->step_count = count;
    pthread_mutex_init(&s->mu, NULL);
    snprintf(s->base.describe, sizeof s->base.describe, "scripted over %.400s", inner->describe);
    *out = &s->base;
    return 0;
}

unsigned scripted_store_calls(struct objstore *store, enum objstore_op op)
{
    struct scripted_store *s = scripted_of(store);
    pthread_mutex_lock(&s->mu);
    unsigned n = s->calls[op];
    pthread_mutex_unlock(&s->mu);
    return n;
}
