/* Waiting for the end, and the orderly way there. Signals arrive by descriptor, so nothing runs in
 * a signal handler and no flag is shared with one. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/app_priv.h"

/* How often a drain looks for a second signal. */
#define DRAIN_STEP_NS (50 * NS_PER_MS)
/* For the roles' own end after the requests'. */
#define STOP_GRACE_MS 5000

int app_signals_open(struct app *app, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    /* Threads made later inherit the mask, so the signals come to the descriptor alone. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* A client that hangs up is told by write(2), not by the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, not our end */
    app->priv->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    app->priv->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    app->priv->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (app->priv->signal_fd < 0 || app->priv->stop_fd < 0 || app->priv->ended_fd < 0)
        return err_set(err, ERR_IO, "cannot wait for signals: %m");
    return 0;
}

void app_signals_close(struct app *app)
{
    if (app->priv->signal_fd >= 0)
        close(app->priv->signal_fd);
    if (app->priv->stop_fd >= 0)
        close(app->priv->stop_fd);
    if (app->priv->ended_fd >= 0)
        close(app->priv->ended_fd);
}

/* The signal that has come, 0 when none has. */
static int take_signal(struct app *app)
{
    struct signalfd_siginfo info;
    ssize_t n = read(app->priv->signal_fd, &info, sizeof info);
    return n == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void app_run(struct app *app)
{
    struct pollfd fds[] = {
        {.fd = app->priv->signal_fd, .events = POLLIN},
        {.fd = app->priv->stop_fd, .events = POLLIN},
    };
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    int sig = take_signal(app);
    LOG_INFO(app->log, "stopping", KV_STR("signal", sig ? sigabbrev_np(sig) : "none"));
}

void app_stop(struct app *app)
{
    uint64_t one = 1;
    /* Only a full counter makes this fail, and then a wish to stop is there already. */
    ssize_t n = write(app->priv->stop_fd, &one, sizeof one);
    (void)n;
}

/* Waits, or returns true at once when a second signal comes. */
static bool wait_or_signal(struct app *app, uint64_t ns)
{
    uint64_t until = clock_mono_ns(app->clock) + ns;
    struct pollfd fd = {.fd = app->priv->signal_fd, .events = POLLIN};
    for (;;) {
        uint64_t now = clock_mono_ns(app->clock);
        if (now >= until)
            return false;
        uint64_t left_ms = (until - now + NS_PER_MS - 1) / NS_PER_MS;
        poll(&fd, 1, left_ms < 60000 ? (int)left_ms : 60000);
        if (take_signal(app))
            return true;
    }
}

static void wait_for_requests(struct app *app)
{
    uint64_t until =
        clock_mono_ns(app->clock) + (uint64_t)app->cfg.server.graceful_shutdown_timeout_ns;
    while (!net_server_idle(app->server, clock_mono_ns(app->clock) + DRAIN_STEP_NS)) {
        if (take_signal(app)) {
            LOG_WARN(app->log, "second signal: not waiting for requests under way");
            return;
        }
        if (clock_mono_ns(app->clock) >= until) {
            LOG_WARN(app->log, "requests under way did not end in time");
            return;
        }
    }
    atomic_store(&app->priv->all_answered, true);
}

/* Past the time for an orderly end the process goes all the same: what was acknowledged is stored,
 * and a store that does not answer must not hold a rolling restart. Only a request that was left
 * without an answer makes it a failure. */
static void *watchdog(void *arg)
{
    const struct app *app = arg;
    int64_t ms = (app->cfg.shutdown_delay_ns + app->cfg.server.graceful_shutdown_timeout_ns) /
                     (int64_t)NS_PER_MS +
                 STOP_GRACE_MS;
    struct pollfd fd = {.fd = app->priv->ended_fd, .events = POLLIN};
    int n;
    do
        n = poll(&fd, 1, ms < INT_MAX ? (int)ms : INT_MAX);
    while (n < 0 && errno == EINTR);
    if (n == 0) {
        LOG_ERROR(app->log, "not stopped in time: leaving without waiting any longer",
                  KV_I64("after_ms", ms));
        _exit(atomic_load(&app->priv->all_answered) ? 0 : 1);
    }
    return NULL;
}

static void start_watchdog(struct app *app)
{
    struct app_priv *p = app->priv;
    if (p->watched)
        return;
    p->watched = pthread_create(&p->watchdog, NULL, watchdog, app) == 0;
}

void app_watchdog_end(struct app *app)
{
    struct app_priv *p = app->priv;
    if (!p->watched)
        return;
    uint64_t one = 1;
    ssize_t n = write(p->ended_fd, &one, sizeof one);
    (void)n;
    pthread_join(p->watchdog, NULL);
    p->watched = false;
}

void app_drain(struct app *app)
{
    struct app_priv *p = app->priv;
    start_watchdog(app);
    atomic_store(&p->stopping, true);
    bool hurry =
        app->cfg.shutdown_delay_ns > 0 && wait_or_signal(app, (uint64_t)app->cfg.shutdown_delay_ns);
    net_server_drain(app->server);
    if (hurry)
        LOG_WARN(app->log, "second signal: not waiting for requests under way");
    else
        wait_for_requests(app);
    while (p->stop_count) {
        p->stop_count--;
        p->stops[p->stop_count].fn(p->stops[p->stop_count].ctx);
    }
    LOG_INFO(app->log, "stopped");
}
