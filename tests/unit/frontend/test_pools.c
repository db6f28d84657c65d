/* Pools of workers, with workers at the other end of a socket that behave, or do not. Child
 * processes are tested end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/random.h"
#include "base/text.h"
#include "frontend/frontend_limits.h"
#include "frontend/pools_priv.h"
#include "worker/job_server.h"

#define HEAD                                                                                       \
    "GET /internal/worker HTTP/1.1\r\nUpgrade: rubato-worker/1\r\nAuthorization: Bearer s\r\n\r\n"
#define ARENA_BYTES ((size_t)1 << 20)

static const struct log quiet = {.fd = 2, .level = LOG_LEVEL_ERROR + 1, .room = "test"};

/* ---- a worker that answers with what it was asked ---- */

struct echo {
    const char *who;
    _Atomic int calls;
    _Atomic int cancelled;
    int rc;     /* what it returns instead */
    bool waits; /* for a cancel */
};

static int echo_tags(void *self, const struct query_source *source, const struct query_tags *tags,
                     uint64_t deadline_mono_ns, struct arena *a, struct query_tags_result *out,
                     struct err *err)
{
    struct echo *e = self;
    e->calls++;
    while (e->waits && !query_is_cancelled(source)) {
        if (clock_mono_ns(&clock_system) > deadline_mono_ns + 20 * NS_PER_S)
            return err_set(err, ERR_INTERNAL, "nobody cancelled it");
        usleep(1000);
    }
    if (e->waits) {
        e->cancelled++;
        return err_set(err, ERR_CANCELLED, "the query was cancelled");
    }
    if (e->rc < 0)
        return err_set(err, (enum err_code)e->rc, "%s does not want to", e->who);
    out->tags = arena_zalloc(a, 2 * sizeof *out->tags);
    out->count = 2;
    out->tags[0].value = (struct traceql_value){.type = TRACEQL_STRING, .str = slice_cstr(e->who)};
    out->tags[1].value.type = TRACEQL_STRING;
    return arena_slice(a, tags->name, &out->tags[1].value.str) ? 0 : ERR_NOMEM;
}

static struct query_worker echo_worker(struct echo *e)
{
    return (struct query_worker){.tags = echo_tags, .self = e};
}

/* ---- the pools, and workers of several kinds ---- */

enum manner { SERVES, HANGS_UP, SAYS_NOTHING, TALKS_NONSENSE, LEAVES };

struct remote {
    struct bench *bench;
    enum manner manner;
    struct echo echo;
    struct job_server *server;
    pthread_t thread;
    int fd;
};

struct bench {
    struct pools *pools;
    struct metrics *metrics;
    struct echo local;
    struct query_worker worker;
    struct remote remotes[16];
    int count;
};

static void start(struct bench *b, struct pools_opts opts)
{
    struct err err;
    *b = (struct bench){.local.who = "local", .metrics = metrics_new()};
    opts.local = echo_worker(&b->local);
    opts.log = &quiet;
    opts.metrics = b->metrics;
    opts.clock = &clock_system;
    opts.remote_slots_max = 16;
    opts.secret = SLICE("s");
    if (!opts.remote_silence_ns)
        opts.remote_silence_ns = 20 * NS_PER_S;
    assert_int_equal(pools_new(&opts, &b->pools, &err), 0);
    b->worker = pools_worker(b->pools);
}

/* Reads up to the frame of a job; false: the connection ended. */
static bool job_comes(struct job_link *l, struct link_frame *f)
{
    struct err err;
    int rc;
    while ((rc = job_link_poll(l, clock_mono_ns(&clock_system) + NS_PER_S, f, &err)) >= 0) {
        if (rc == 0 && f->type == LINK_JOB)
            return true;
    }
    return false;
}

static void misbehave(struct remote *r)
{
    struct job_link l;
    struct link_frame f;
    struct err err;
    job_link_init(&l, r->fd, 1 << 20, &clock_system);
    assert_int_equal(job_link_send(&l, LINK_ALIVE, 0, SLICE(""), &err), 0);
    if (r->manner == LEAVES)
        (void)job_link_send(&l, LINK_LEAVING, 0, SLICE(""), &err);
    if (job_comes(&l, &f)) {
        r->echo.calls++;
        if (r->manner == TALKS_NONSENSE)
            (void)job_link_send(&l, LINK_RESULT, f.number, SLICE("\xff\xff"), &err);
        while (r->manner != HANGS_UP && job_comes(&l, &f))
            ;
    }
    job_link_clear(&l);
}

static void *remote_main(void *arg)
{
    struct remote *r = arg;
    struct err err;
    /* The frontend's answer, then frames. */
    char line[128];
    size_t n = 0;
    while (n < 4 || memcmp(line + n - 4, "\r\n\r\n", 4) != 0)
        assert_int_equal(recv(r->fd, line + n++, 1, 0), 1);
    if (r->manner == SERVES)
        (void)job_server_serve(r->server, r->fd, NULL, &err);
    else
        misbehave(r);
    return NULL;
}

static struct remote *add(struct bench *b, enum manner manner, const char *who)
{
    struct remote *r = &b->remotes[b->count++];
    struct err err;
    int pair[2];
    *r = (struct remote){.bench = b, .manner = manner, .echo.who = who};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    r->fd = pair[1];
    const struct job_server_opts opts = {
        .worker = echo_worker(&r->echo), .log = &quiet, .clock = &clock_system};
    assert_int_equal(job_server_new(&opts, &r->server, &err), 0);
    pools_upgrade(b->pools, pair[0], SLICE(HEAD), SLICE("here"));
    assert_int_equal(pthread_create(&r->thread, NULL, remote_main, r), 0);
    return r;
}

static uint32_t idle(struct bench *b)
{
    pthread_mutex_lock(&b->pools->shared.mu);
    uint32_t n = pool_count_locked(b->pools, POOL_REMOTE, POOL_IDLE);
    pthread_mutex_unlock(&b->pools->shared.mu);
    return n;
}

static void wait_idle(struct bench *b, uint32_t want)
{
    for (int i = 0; i < 5000 && idle(b) != want; i++)
        usleep(1000);
    assert_int_equal(idle(b), want);
}

static void stop(struct bench *b)
{
    pools_free(b->pools);
    for (int i = 0; i < b->count; i++) {
        job_server_stop(b->remotes[i].server);
        pthread_join(b->remotes[i].thread, NULL);
        job_server_free(b->remotes[i].server);
    }
    metrics_free(b->metrics);
}

struct asked {
    struct arena *arena;
    struct query_tags_result result;
    struct err err;
    int rc;
};

static struct asked ask_for(struct bench *b, const char *name, uint64_t ms,
                            const struct query_cancel *cancel)
{
    struct asked q = {.arena = arena_new(ARENA_BYTES)};
    static struct catalog_block block = {.meta.version = BLOCK_VPARQUET4};
    const struct query_source source = {.tenant = SLICE("t"), .block = &block, .cancel = cancel};
    const struct query_tags tags = {.name = slice_cstr(name)};
    q.rc =
        b->worker.tags(b->worker.self, &source, &tags,
                       clock_mono_ns(&clock_system) + ms * NS_PER_MS, q.arena, &q.result, &q.err);
    return q;
}

/* Who answered. */
static void assert_answer(struct bench *b, const char *who)
{
    struct asked q = ask_for(b, "question", 60000, NULL);
    if (q.rc < 0)
        fail_msg("%s", q.err.msg);
    assert_int_equal(q.result.count, 2);
    assert_true(slice_eq(q.result.tags[0].value.str, slice_cstr(who)));
    assert_true(slice_eq(q.result.tags[1].value.str, SLICE("question")));
    arena_free(q.arena);
}

/* ---- tests ---- */

static void without_workers_the_process_does_it(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    assert_answer(&b, "local");
    stop(&b);
}

static void the_nearest_free_slot_is_taken(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 1});
    add(&b, SERVES, "far");
    wait_idle(&b, 1);
    assert_answer(&b, "local");
    struct pool_grant held;
    struct err err;
    const struct query_job job = {.deadline_mono_ns = UINT64_MAX};
    assert_int_equal(pool_acquire(b.pools, &job, &held, &err), 0);
    assert_null(held.slot);
    assert_answer(&b, "far");
    pool_release(b.pools, &held);
    assert_answer(&b, "local");
    stop(&b);
}

static void jobs_about_live_spans_stay(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 1});
    struct pool_grant held;
    struct err err;
    const struct query_job job = {.deadline_mono_ns = UINT64_MAX};
    assert_int_equal(pool_acquire(b.pools, &job, &held, &err), 0);
    struct arena *a = arena_new(ARENA_BYTES);
    const struct catalog_view view = {0};
    const struct query_source source = {.tenant = SLICE("t"), .view = &view};
    struct query_tags_result out = {0};
    assert_int_equal(b.worker.tags(b.worker.self, &source, &(struct query_tags){.names = true},
                                   clock_mono_ns(&clock_system) + NS_PER_S, a, &out, &err),
                     0);
    assert_int_equal(b.local.calls, 1);
    arena_free(a);
    pool_release(b.pools, &held);
    stop(&b);
}

static void a_job_outlives_its_worker(void **state)
{
    (void)state;
    static const enum manner manners[] = {HANGS_UP, SAYS_NOTHING, TALKS_NONSENSE};
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        struct bench b;
        start(&b, (struct pools_opts){.remote_silence_ns = 300 * NS_PER_MS});
        add(&b, SERVES, "good");
        wait_idle(&b, 1);
        add(&b, manners[i], "bad"); /* used first: it came last */
        wait_idle(&b, 2);
        assert_answer(&b, "good");
        assert_int_equal(b.remotes[1].echo.calls, 1);
        wait_idle(&b, 1);
        stop(&b);
    }
}

static void after_a_few_lost_workers_the_process_does_it(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    for (uint32_t i = 0; i < LIMIT_JOB_ATTEMPTS + 1; i++) {
        add(&b, HANGS_UP, "bad");
        wait_idle(&b, i + 1);
    }
    assert_answer(&b, "local");
    wait_idle(&b, 1); /* not all were tried */
    assert_int_equal(b.local.calls, 1);
    stop(&b);
}

static void a_worker_without_memory_is_passed_over_and_kept(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    add(&b, SERVES, "good");
    wait_idle(&b, 1);
    add(&b, SERVES, "full")->echo.rc = ERR_NOMEM;
    wait_idle(&b, 2);
    for (int i = 0; i < 3; i++) {
        struct asked q = ask_for(&b, "question", 60000, NULL);
        assert_int_equal(q.rc, 0);
        arena_free(q.arena);
    }
    wait_idle(&b, 2);
    stop(&b);
}

static void an_error_of_the_job_is_its_answer(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    add(&b, SERVES, "far")->echo.rc = ERR_NOTFOUND;
    wait_idle(&b, 1);
    struct asked q = ask_for(&b, "x", 60000, NULL);
    assert_int_equal(q.rc, ERR_NOTFOUND);
    assert_string_equal(q.err.msg, "far does not want to");
    assert_int_equal(b.remotes[0].echo.calls, 1);
    assert_int_equal(b.local.calls, 0);
    arena_free(q.arena);
    stop(&b);
}

static void *cancel_soon(void *flag)
{
    usleep(100000);
    atomic_store(&((struct query_cancel *)flag)->told, true);
    return NULL;
}

static void a_cancel_reaches_the_running_job(void **state)
{
    (void)state;
    struct bench b;
    struct query_cancel cancel = {0};
    pthread_t t;
    start(&b, (struct pools_opts){.in_process = 0});
    add(&b, SERVES, "slow")->echo.waits = true;
    wait_idle(&b, 1);
    pthread_create(&t, NULL, cancel_soon, &cancel);
    uint64_t began = clock_mono_ns(&clock_system);
    struct asked q = ask_for(&b, "x", 60000, &cancel);
    assert_int_equal(q.rc, ERR_CANCELLED);
    assert_true(clock_mono_ns(&clock_system) - began < 2 * NS_PER_S);
    assert_int_equal(b.remotes[0].echo.cancelled, 1);
    pthread_join(t, NULL);
    wait_idle(&b, 1); /* and the worker is there for the next */
    arena_free(q.arena);
    stop(&b);
}

static void the_deadline_ends_a_running_job(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    add(&b, SERVES, "slow")->echo.waits = true;
    wait_idle(&b, 1);
    struct asked q = ask_for(&b, "x", 100, NULL);
    assert_int_equal(q.rc, ERR_TIMEOUT);
    assert_int_equal(b.remotes[0].echo.cancelled, 1);
    arena_free(q.arena);
    stop(&b);
}

static void a_job_in_the_queue_waits_no_longer_than_its_query(void **state)
{
    (void)state;
    struct bench b;
    struct query_cancel cancel = {.told = true};
    struct pool_grant held;
    struct err err;
    const struct query_job job = {.deadline_mono_ns = UINT64_MAX};
    start(&b, (struct pools_opts){.in_process = 1});
    assert_int_equal(pool_acquire(b.pools, &job, &held, &err), 0);
    struct asked q = ask_for(&b, "x", 50, NULL);
    assert_int_equal(q.rc, ERR_TIMEOUT);
    arena_free(q.arena);
    q = ask_for(&b, "x", 60000, &cancel);
    assert_int_equal(q.rc, ERR_CANCELLED);
    arena_free(q.arena);
    assert_int_equal(b.pools->shared.waiting.count, 0);
    assert_int_equal(b.local.calls, 0);
    pool_release(b.pools, &held);
    assert_answer(&b, "local");
    stop(&b);
}

static void a_worker_that_leaves_gets_no_jobs(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    add(&b, SERVES, "good");
    add(&b, LEAVES, "gone");
    wait_idle(&b, 1);
    assert_answer(&b, "good");
    job_server_stop(b.remotes[0].server);
    wait_idle(&b, 0);
    assert_answer(&b, "local");
    stop(&b);
}

static void strangers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *head, *status;
    } heads[] = {
        {"GET /internal/worker HTTP/1.1\r\nUpgrade: rubato-worker/1\r\n\r\n", "HTTP/1.1 401 "},
        {"GET /internal/worker HTTP/1.1\r\nUpgrade: rubato-worker/1\r\n"
         "Authorization: Bearer t\r\n\r\n",
         "HTTP/1.1 401 "},
        {"GET /internal/worker HTTP/1.1\r\nUpgrade: rubato-worker/1\r\n"
         "Authorization: Bearer ss\r\n\r\n",
         "HTTP/1.1 401 "},
        {"GET /internal/worker HTTP/1.1\r\nUpgrade: rubato-worker/2\r\n"
         "Authorization: Bearer s\r\n\r\n",
         "HTTP/1.1 426 "},
    };
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char answer[512];
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        pools_upgrade(b.pools, pair[0], slice_cstr(heads[i].head), SLICE("there"));
        ssize_t n = recv(pair[1], answer, sizeof answer, 0);
        assert_true(n > 0 &&
                    slice_starts(slice_of(answer, (size_t)n), slice_cstr(heads[i].status)));
        assert_int_equal(recv(pair[1], answer, sizeof answer, 0), 0); /* closed */
        close(pair[1]);
    }
    assert_int_equal(b.pools->shared.slots.count, 0);
    stop(&b);
}

/* ---- many at once ---- */

static void *ask_often(void *arg)
{
    struct bench *b = arg;
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "%p-%d", (void *)name, i);
        struct asked q = ask_for(b, name, 60000, NULL);
        if (q.rc < 0)
            fail_msg("%s", q.err.msg);
        assert_true(slice_eq(q.result.tags[1].value.str, slice_cstr(name)));
        arena_free(q.arena);
    }
    return NULL;
}

static void many_threads_get_their_own_answers_while_workers_come_and_go(void **state)
{
    (void)state;
    static const enum manner manners[] = {SERVES, HANGS_UP, SERVES, TALKS_NONSENSE};
    struct bench b;
    pthread_t threads[8];
    start(&b, (struct pools_opts){.in_process = 1});
    for (size_t i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, ask_often, &b);
    for (int i = 0; i < 14; i++) {
        add(&b, manners[i % 4], "far");
        usleep(2000);
    }
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(b.pools->shared.waiting.count, 0);
    for (int k = 0; k < POOL_KINDS; k++)
        assert_int_equal(b.pools->shared.busy[k], 0);
    stop(&b);
}

/* A job to another process is more than a call, but not much: told, not judged, since the machine
 * may be busy. */
static void a_job_over_a_link_is_cheap(void **state)
{
    (void)state;
    struct bench b;
    start(&b, (struct pools_opts){.in_process = 0});
    add(&b, SERVES, "far");
    wait_idle(&b, 1);
    uint64_t began = clock_mono_ns(&clock_system);
    for (int i = 0; i < 500; i++)
        assert_answer(&b, "far");
    uint64_t far_ns = (clock_mono_ns(&clock_system) - began) / 500;
    stop(&b);
    start(&b, (struct pools_opts){.in_process = 1});
    began = clock_mono_ns(&clock_system);
    for (int i = 0; i < 500; i++)
        assert_answer(&b, "local");
    uint64_t near_ns = (clock_mono_ns(&clock_system) - began) / 500;
    stop(&b);
    print_message("a job: %llu ns here, %llu ns over a link\n", (unsigned long long)near_ns,
                  (unsigned long long)far_ns);
    assert_true(far_ns < 20 * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_workers_the_process_does_it),
        cmocka_unit_test(the_nearest_free_slot_is_taken),
        cmocka_unit_test(jobs_about_live_spans_stay),
        cmocka_unit_test(a_job_outlives_its_worker),
        cmocka_unit_test(after_a_few_lost_workers_the_process_does_it),
        cmocka_unit_test(a_worker_without_memory_is_passed_over_and_kept),
        cmocka_unit_test(an_error_of_the_job_is_its_answer),
        cmocka_unit_test(a_cancel_reaches_the_running_job),
        cmocka_unit_test(the_deadline_ends_a_running_job),
        cmocka_unit_test(a_job_in_the_queue_waits_no_longer_than_its_query),
        cmocka_unit_test(a_worker_that_leaves_gets_no_jobs),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(many_threads_get_their_own_answers_while_workers_come_and_go),
        cmocka_unit_test(a_job_over_a_link_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
