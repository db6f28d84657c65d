/* The pools' life: start, supervision, end. */
#include "frontend/pools.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "frontend/frontend_limits.h"
#include "frontend/pools_priv.h"

/* How often the supervisor looks after everything, unless it is woken. */
#define TEND_NS (100 * NS_PER_MS)
/* How often idle links are looked at for workers that have gone: one that is used before finds it
 * out at once. */
#define HEAR_NS (500 * NS_PER_MS)

void pools_wake(struct pools *p)
{
    uint64_t one = 1;
    ssize_t n = write(p->wake_fd, &one, sizeof one);
    (void)n; /* a full counter wakes as well */
}

/* ---- supervision ---- */

/* What has come on a link that nobody holds. False: it is of no more use. */
static bool hear_locked(struct pools *p, struct pool_slot *s)
{
    struct link_frame f;
    struct err err;
    int rc;
    while ((rc = job_link_poll(&s->link, 0, &f, &err)) == 0) {
        if (f.type == LINK_LEAVING)
            return false;
        if (f.type != LINK_ALIVE)
            return false;
        if (s->state != POOL_STARTING)
            continue;
        s->state = POOL_IDLE;
        s->since_ns = clock_mono_ns(p->opts.clock);
        if (s->child && !s->child->ready_ns) {
            s->child->ready_ns = s->since_ns;
            p->shared.backoff_ns /= 2;
            LOG_INFO(&p->log, "a worker process is ready", KV_I64("pid", s->child->pid),
                     KV_F64("after_ms", (double)(s->since_ns - s->child->started_ns) / 1e6));
        }
    }
    return rc == 1;
}

static void set_gauges_locked(struct pools *p)
{
    static const char *const kinds[POOL_KINDS] = {"in_process", "child", "remote"};
    static const char *const states[POOL_SLOT_STATES] = {"starting", "idle", "busy"};
    for (int k = 0; k < POOL_KINDS; k++) {
        for (int s = 0; s < POOL_SLOT_STATES; s++) {
            const struct slice labels[] = {slice_cstr(kinds[k]), slice_cstr(states[s])};
            uint32_t busy = p->shared.busy[k];
            uint32_t n = pool_count_locked(p, (enum pool_kind)k, (enum pool_slot_state)s);
            if (k == POOL_IN_PROCESS && s == POOL_IDLE)
                n = p->opts.in_process > busy ? p->opts.in_process - busy : 0;
            if (k == POOL_IN_PROCESS && s == POOL_BUSY)
                n = busy;
            gauge_set(metrics_gauge_with(p->m.workers, labels), n);
        }
    }
}

/* ---- how many ---- */

static uint32_t queued_locked(struct pools *p, uint64_t now, uint64_t *age_ns)
{
    uint64_t oldest = fair_queue_oldest_ns(&p->shared.waiting), outside = UINT64_MAX;
    size_t n = p->shared.waiting.count;
    if (p->shared.outside)
        n += p->shared.outside(p->shared.outside_ctx, &outside);
    oldest = outside < oldest ? outside : oldest;
    *age_ns = oldest < now ? now - oldest : 0;
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static uint32_t running_locked(const struct pools *p)
{
    uint32_t n = 0;
    for (int k = 0; k < POOL_KINDS; k++)
        n += p->shared.busy[k];
    return n;
}

/* The law's answer: how many children to start, or to stop. */
static int step_locked(struct pools *p, uint64_t now)
{
    uint32_t starting;
    struct autoscaler_sample s = {.running = running_locked(p)};
    s.queued = queued_locked(p, now, &s.oldest_ns);
    s.workers = pool_children_locked(p, &starting);
    s.starting = starting;
    s.service_ns = p->shared.service_ns;
    bool first = s.workers == 0 && s.queued && now >= p->shared.next_start_ns;
    if (now < p->shared.tick_ns && !first)
        return 0;
    p->shared.tick_ns = now + AUTOSCALER_TICK_NS;
    (void)autoscaler_tick(&p->shared.whole, &s, now);
    gauge_set(p->m.inflight, (int64_t)p->shared.whole.demand);
    s.running = p->shared.busy[POOL_CHILD]; /* what others run does not ask for children */
    int step = autoscaler_tick(&p->shared.children_law, &s, now);
    gauge_set(p->m.desired, p->shared.children_law.desired);
    if (step)
        LOG_DEBUG(&p->log, "the number of worker processes changes", KV_I64("by", step),
                  KV_U64("from", s.workers), KV_U64("queued", s.queued),
                  KV_STR("for", autoscaler_reason_name(p->shared.children_law.reason)));
    return step;
}

void pools_scaling(struct pools *p, struct pools_scaling *out)
{
    uint64_t age_ns;
    uint32_t starting;
    pthread_mutex_lock(&p->shared.mu);
    uint32_t links = p->shared.slots.count;
    *out = (struct pools_scaling){
        .demand = (uint32_t)p->shared.whole.demand,
        .running = running_locked(p),
        .workers = pool_children_locked(p, &starting),
        .slots = p->opts.in_process + links,
    };
    for (int s = 0; s < POOL_SLOT_STATES; s++)
        out->workers += pool_count_locked(p, POOL_REMOTE, (enum pool_slot_state)s);
    out->queued = queued_locked(p, clock_mono_ns(p->opts.clock), &age_ns);
    out->oldest_age_s = (double)age_ns / 1e9;
    pthread_mutex_unlock(&p->shared.mu);
}

void pools_on_queue(struct pools *p, pools_queue_fn *fn, void *ctx)
{
    pthread_mutex_lock(&p->shared.mu);
    p->shared.outside = fn;
    p->shared.outside_ctx = ctx;
    pthread_mutex_unlock(&p->shared.mu);
}

static void tend(struct pools *p)
{
    uint64_t now = clock_mono_ns(p->opts.clock);
    pthread_mutex_lock(&p->shared.mu);
    bool all = now >= p->shared.hear_ns;
    if (all)
        p->shared.hear_ns = now + HEAR_NS;
    for (uint32_t i = p->shared.slots.count; i-- > 0;) {
        struct pool_slot *s = p->shared.slots.at[i];
        bool look = s->state == POOL_STARTING || (all && s->state == POOL_IDLE);
        if (look && !hear_locked(p, s))
            pool_drop_slot_locked(p, s);
    }
    pool_tend_children_locked(p, step_locked(p, now), now);
    pool_serve_locked(p);
    set_gauges_locked(p);
    pthread_mutex_unlock(&p->shared.mu);
}

/* Until something happens: the wake, or a worker that starts says that it is ready. */
static void wait_for_news(struct pools *p)
{
    VEC(struct pollfd) fds = {0};
    bool ok = vec_push(&fds, (struct pollfd){.fd = p->wake_fd, .events = POLLIN});
    pthread_mutex_lock(&p->shared.mu);
    for (uint32_t i = 0; i < p->shared.slots.count && ok; i++) {
        if (p->shared.slots.at[i]->state == POOL_STARTING)
            ok = vec_push(&fds,
                          (struct pollfd){.fd = p->shared.slots.at[i]->link.fd, .events = POLLIN});
    }
    pthread_mutex_unlock(&p->shared.mu);
    poll(fds.at, fds.count, (int)(TEND_NS / NS_PER_MS));
    uint64_t count;
    if (fds.count && fds.at[0].revents) {
        ssize_t n = read(p->wake_fd, &count, sizeof count);
        (void)n;
    }
    vec_free(&fds);
}

static void *supervise(void *arg)
{
    struct pools *p = arg;
    pthread_setname_np(pthread_self(), "pools");
    for (;;) {
        tend(p);
        wait_for_news(p);
        pthread_mutex_lock(&p->shared.mu);
        bool stopping = p->shared.stopping;
        pthread_mutex_unlock(&p->shared.mu);
        if (stopping)
            return NULL;
    }
}

/* ---- life ---- */

static void register_metrics(struct pools *p)
{
    static const char *const by_state[] = {"kind", "state"};
    static const char *const by_quantile[] = {"quantile"};
    static const char *const by_result[] = {"kind", "result"};
    struct metrics *m = p->opts.metrics;
    p->m.workers = metrics_gauge_family(
        m, "rubato_workers", "Slots of workers: each runs one job at a time.", by_state, 2);
    p->m.jobs = metrics_counter_family(m, "rubato_jobs_total",
                                       "Jobs by where they ran and what came of it.", by_result, 2);
    p->m.retries =
        metrics_counter(m, "rubato_job_retries_total", "Jobs that were given to another worker.");
    p->m.starts =
        metrics_counter(m, "rubato_worker_starts_total", "Worker processes that were started.");
    p->m.deaths = metrics_counter(m, "rubato_worker_deaths_total",
                                  "Worker processes that ended without being asked to.");
    p->m.children = metrics_gauge(m, "rubato_worker_processes", "Worker processes that run.");
    p->m.desired = metrics_gauge(m, "rubato_autoscaler_desired",
                                 "Worker processes that there should be by the control law.");
    const struct slice three_quarters = SLICE("0.75");
    p->m.inflight = metrics_gauge_with(
        metrics_gauge_family(m, "rubato_inflight_jobs",
                             "Jobs queued and running, sampled every 250 ms for 30 s.", by_quantile,
                             1),
        &three_quarters);
    p->m.queued = metrics_gauge(m, "rubato_queue_jobs", "Jobs that wait for a slot of a worker.");
}

static int start(struct pools *p, struct err *err)
{
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake_fd < 0)
        return err_set(err, ERR_IO, "eventfd: %s", strerrordesc_np(errno));
    register_metrics(p);
    int no = pthread_create(&p->supervisor, NULL, supervise, p);
    if (no != 0)
        return err_set(err, ERR_NOMEM, "cannot make a thread: %s", strerrordesc_np(no));
    p->supervised = true;
    return 0;
}

int pools_new(const struct pools_opts *opts, struct pools **out, struct err *err)
{
    struct pools *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, ERR_NOMEM, "no memory for the pools of workers");
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    p->opts = *opts;
    p->log = log_room(opts->log, "frontend");
    p->dispatch = (struct query_dispatch){pool_run, p};
    p->fallback_slots = cpus > 0 ? (uint32_t)cpus : 2;
    p->opts.child_slots = opts->child_slots ? opts->child_slots : 4;
    if (p->opts.children_max < p->opts.children_min)
        p->opts.children_max = p->opts.children_min;
    if (!p->opts.child_silence_ns)
        p->opts.child_silence_ns = 5 * NS_PER_S;
    if (!p->opts.remote_silence_ns)
        p->opts.remote_silence_ns = 10 * NS_PER_S;
    struct autoscaler_opts law = autoscaler_local;
    law.min = p->opts.children_min;
    law.max = p->opts.children_max;
    law.slots = p->opts.child_slots;
    autoscaler_init(&p->shared.children_law, &law, clock_mono_ns(opts->clock));
    autoscaler_init(&p->shared.whole, &autoscaler_remote, clock_mono_ns(opts->clock));
    pthread_mutex_init(&p->shared.mu, NULL);
    fair_queue_init(&p->shared.waiting, POOL_QUANTUM_BYTES, 0);
    int rc = start(p, err);
    if (rc < 0) {
        pools_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int pools_of_app(struct app *app, struct query_worker local, int argc, char *const *argv,
                 struct pools **out, struct err *err)
{
    const struct app_config *cfg = &app->cfg;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t own = cfg->query_frontend.workers.in_process;
    const struct pools_opts opts = {
        .local = local,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .in_process = own >= 0   ? (uint32_t)own
                      : cpus > 0 ? 2 * (uint32_t)cpus
                                 : 4,
        .children_min = (uint32_t)cfg->query_frontend.workers.min_workers,
        .children_max = (uint32_t)cfg->query_frontend.workers.max_workers,
        .child_slots = (uint32_t)cfg->query_frontend.workers.slots_per_worker,
        .child_memory_bytes = cfg->query_frontend.workers.max_memory_bytes,
        .argc = argc,
        .argv = argv,
        .remote_slots_max = cfg->query_frontend.workers.remote
                                ? (uint32_t)cfg->query_frontend.workers.max_remote_slots
                                : 0,
        .secret = cfg->query_frontend.workers.secret,
    };
    int rc = pools_new(&opts, out, err);
    if (rc == 0 && opts.remote_slots_max)
        app_set_upgrade(app, POOLS_UPGRADE_PATH, pools_upgrade, *out);
    return rc;
}

void pools_free(struct pools *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->shared.mu);
    p->shared.stopping = true;
    pthread_mutex_unlock(&p->shared.mu);
    if (p->supervised) {
        pools_wake(p);
        pthread_join(p->supervisor, NULL);
    }
    pthread_mutex_lock(&p->shared.mu);
    while (p->shared.slots.count)
        pool_drop_slot_locked(p, p->shared.slots.at[0]);
    pthread_mutex_unlock(&p->shared.mu);
    pool_end_children(p);
    vec_free(&p->shared.slots);
    fair_queue_clear(&p->shared.waiting);
    if (p->wake_fd >= 0)
        close(p->wake_fd);
    pthread_mutex_destroy(&p->shared.mu);
    free(p);
}

struct query_worker pools_worker(struct pools *p)
{
    return query_dispatch_worker(&p->dispatch);
}

uint32_t pools_slots_max(const struct pools *p)
{
    uint32_t own = p->opts.in_process > p->fallback_slots ? p->opts.in_process : p->fallback_slots;
    return own + p->opts.children_max * p->opts.child_slots + p->opts.remote_slots_max;
}
