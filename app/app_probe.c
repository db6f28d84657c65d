/* Asks the store what it can do, beside the start of the program, so that a slow or absent store
 * delays readiness and nothing else. A local store needs no asking to be ready. */
#include <string.h>

#include "app/app_priv.h"

/* One try; at a stop, the longest wait for this thread. */
#define PROBE_NS (5 * NS_PER_S)
#define PAUSE_FIRST_NS NS_PER_S
#define PAUSE_LONGEST_NS (30 * NS_PER_S)

/* Waits; true when it is time to stop. */
static bool pause_for(struct app_priv *p, uint64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ns / NS_PER_S);
    pthread_mutex_lock(&p->probe.mu);
    while (!p->probe.stop && pthread_cond_timedwait(&p->probe.wake, &p->probe.mu, &until) == 0)
        ;
    bool stop = p->probe.stop;
    pthread_mutex_unlock(&p->probe.mu);
    return stop;
}

static void tell(const struct app *app, const struct objstore_caps *caps)
{
    if (caps->create_if_absent)
        LOG_INFO(app->log, "store answers", KV_SLICE("store", objstore_describe(app->store)));
    else
        LOG_WARN(app->log,
                 "store lacks create-if-absent: it takes a PUT with If-None-Match over an object "
                 "that exists, so run one process only on this bucket",
                 KV_SLICE("store", objstore_describe(app->store)));
}

static void *probe(void *arg)
{
    struct app *app = arg;
    struct app_priv *p = app->priv;
    uint64_t pause_ns = PAUSE_FIRST_NS;
    for (;;) {
        struct objstore_caps caps = {0};
        struct err err = {0};
        int rc = objstore_probe(app->store, &caps, clock_mono_ns(app->clock) + PROBE_NS, &err);
        if (rc == 0) {
            tell(app, &caps);
            atomic_store(&p->store_answers, true);
            (void)app_is_ready(app);
            return NULL;
        }
        LOG_ERROR(app->log, "store does not answer",
                  KV_SLICE("store", objstore_describe(app->store)), KV_ERR(&err),
                  KV_U64("next_try_s", pause_ns / NS_PER_S));
        if (pause_for(p, pause_ns))
            return NULL;
        pause_ns = pause_ns * 2 < PAUSE_LONGEST_NS ? pause_ns * 2 : PAUSE_LONGEST_NS;
    }
}

int app_probe_start(struct app *app, struct err *err)
{
    struct app_priv *p = app->priv;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->probe.wake, &attr);
    pthread_condattr_destroy(&attr);
    /* Opening a directory has told all there is to know of it. */
    if (slice_eq(app->cfg.storage.trace.backend, SLICE("local")))
        atomic_store(&p->store_answers, true);
    int rc = pthread_create(&p->prober, NULL, probe, app);
    if (rc != 0)
        return err_set(err, ERR_NOMEM, "cannot make a thread: %s", strerrordesc_np(rc));
    p->prober_runs = true;
    return 0;
}

void app_probe_stop(struct app *app)
{
    struct app_priv *p = app->priv;
    if (!p->prober_runs)
        return;
    pthread_mutex_lock(&p->probe.mu);
    p->probe.stop = true;
    pthread_cond_signal(&p->probe.wake);
    pthread_mutex_unlock(&p->probe.mu);
    pthread_join(p->prober, NULL);
    pthread_cond_destroy(&p->probe.wake);
    p->prober_runs = false;
}
