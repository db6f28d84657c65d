/* Child processes: this program again, with a few sockets and another first argument. */
#include "frontend/pools_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frontend/frontend_limits.h"

/* As in worker/worker_child.h, which a frontend may not include. */
#define CHILD_COMMAND "internal-worker"
#define CHILD_FD 3
#define CHILD_SLOTS_MAX 64
/* Our ends and the child's before it starts stand above all numbers that the child will use. */
#define SPARE_FD 128

extern char **environ;

/* ---- starting ---- */

/* program, command, slots, memory, the program's own flags. */
static char **child_argv(const struct pools *p, char text[2][24])
{
    char **argv = calloc((size_t)p->opts.argc + 4, sizeof *argv);
    if (!argv)
        return NULL;
    int n = 0;
    snprintf(text[0], 24, "%u", p->opts.child_slots);
    snprintf(text[1], 24, "%llu", (unsigned long long)p->opts.child_memory_bytes);
    argv[n++] = p->opts.argv[0];
    argv[n++] = (char *)(uintptr_t)CHILD_COMMAND;
    argv[n++] = text[0];
    argv[n++] = text[1];
    for (int i = 1; i < p->opts.argc; i++)
        argv[n++] = p->opts.argv[i];
    return argv;
}

static int spawn(const struct pools *p, const int *fds, pid_t *pid)
{
    char text[2][24];
    char **argv = child_argv(p, text);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, usual;
    if (!argv)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    for (uint32_t i = 0; i < p->opts.child_slots; i++)
        posix_spawn_file_actions_adddup2(&actions, fds[i], CHILD_FD + (int)i);
    /* A terminal's interrupt is for the frontend, which ends its children when it is done. */
    sigemptyset(&none);
    sigfillset(&usual);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &usual);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    int rc = posix_spawn(pid, "/proc/self/exe", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    free(argv);
    return rc;
}

/* A pair of connected sockets, ours and the child's. */
static bool socket_pair(int *ours, int *theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    *ours = pair[0];
    *theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, SPARE_FD);
    close(pair[1]);
    if (*theirs < 0)
        close(*ours);
    return *theirs >= 0;
}

static void give_up(struct pools *p, const char *cause, uint64_t now)
{
    LOG_ERROR(&p->log, "a worker process cannot be started", KV_STR("cause", cause));
    p->shared.next_start_ns = now + CHILD_BACKOFF_MIN_S * NS_PER_S;
}

static void start_child_locked(struct pools *p, uint64_t now)
{
    int ours[CHILD_SLOTS_MAX], theirs[CHILD_SLOTS_MAX];
    uint32_t n = 0;
    int rc = 0;
    while (n < p->opts.child_slots && socket_pair(&ours[n], &theirs[n]))
        n++;
    struct pool_child *c = calloc(1, sizeof *c);
    bool room = n == p->opts.child_slots && c && vec_reserve(&p->shared.children, 1);
    if (!room)
        rc = c ? EMFILE : ENOMEM;
    rc = rc ? rc : spawn(p, theirs, &c->pid);
    for (uint32_t i = 0; i < n; i++)
        close(theirs[i]);
    for (uint32_t i = 0; i < n && rc != 0; i++)
        close(ours[i]);
    if (rc != 0) {
        free(c);
        give_up(p, strerrordesc_np(rc), now);
        return;
    }
    c->started_ns = now;
    (void)vec_push(&p->shared.children, c);
    for (uint32_t i = 0; i < n; i++)
        (void)pool_add_locked(p, POOL_CHILD, ours[i], c);
    counter_add(p->m.starts, 1);
    LOG_DEBUG(&p->log, "a worker process starts", KV_I64("pid", c->pid));
}

/* ---- ending ---- */

void pool_kill_locked(struct pool_child *c)
{
    if (c->pid)
        kill(c->pid, SIGKILL);
}

/* Slots that nobody holds; holders find out by themselves. */
static void drop_idle_locked(struct pools *p, const struct pool_child *c)
{
    for (uint32_t i = p->shared.slots.count; i-- > 0;) {
        struct pool_slot *s = p->shared.slots.at[i];
        if (s->child == c && s->state != POOL_BUSY)
            pool_drop_slot_locked(p, s);
    }
}

static void died_locked(struct pools *p, struct pool_child *c, int status, uint64_t now)
{
    bool young = now - c->started_ns < CHILD_YOUNG_S * NS_PER_S;
    char how[64];
    snprintf(how, sizeof how, WIFSIGNALED(status) ? "signal %d" : "exit status %d",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    LOG_AT(&p->log, c->retired_ns ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "a worker process ended",
           KV_I64("pid", c->pid), KV_STR("by", how));
    c->pid = 0;
    drop_idle_locked(p, c);
    if (c->retired_ns)
        return;
    counter_add(p->m.deaths, 1);
    uint64_t longer = 2 * p->shared.backoff_ns;
    if (!young)
        p->shared.backoff_ns = 0;
    else
        p->shared.backoff_ns =
            longer < CHILD_BACKOFF_MIN_S * NS_PER_S   ? CHILD_BACKOFF_MIN_S * NS_PER_S
            : longer > CHILD_BACKOFF_MAX_S * NS_PER_S ? CHILD_BACKOFF_MAX_S * NS_PER_S
                                                      : longer;
    p->shared.next_start_ns = now + p->shared.backoff_ns;
}

static void reap_locked(struct pools *p, uint64_t now)
{
    for (uint32_t i = p->shared.children.count; i-- > 0;) {
        struct pool_child *c = p->shared.children.at[i];
        int status = 0;
        if (c->pid && waitpid(c->pid, &status, WNOHANG) == c->pid)
            died_locked(p, c, status, now);
        if (!c->pid && c->slots == 0) {
            p->shared.children.at[i] = p->shared.children.at[--p->shared.children.count];
            free(c);
        }
    }
}

/* ---- as many as are wanted ---- */

uint32_t pool_children_locked(const struct pools *p, uint32_t *starting)
{
    uint32_t n = 0;
    *starting = 0;
    for (uint32_t i = 0; i < p->shared.children.count; i++) {
        const struct pool_child *c = p->shared.children.at[i];
        n += c->pid != 0 && !c->retired_ns;
        *starting += c->pid != 0 && !c->retired_ns && !c->ready_ns;
    }
    return n;
}

/* When the child last had a job, of those that have none now; UINT64_MAX: it has one. */
static uint64_t idle_since_locked(const struct pools *p, const struct pool_child *c)
{
    uint64_t since = 0;
    for (uint32_t i = 0; i < p->shared.slots.count; i++) {
        const struct pool_slot *s = p->shared.slots.at[i];
        if (s->child != c)
            continue;
        if (s->state == POOL_BUSY)
            return UINT64_MAX;
        since = s->since_ns > since ? s->since_ns : since;
    }
    return since;
}

/* The one that has been idle for longest gets no more jobs, and ends when its links are closed. */
static bool retire_one_locked(struct pools *p, uint64_t now)
{
    struct pool_child *best = NULL;
    uint64_t best_ns = 0;
    for (uint32_t i = 0; i < p->shared.children.count; i++) {
        struct pool_child *c = p->shared.children.at[i];
        uint64_t since = c->pid && !c->retired_ns ? idle_since_locked(p, c) : 0;
        if (!c->pid || c->retired_ns || (best && since >= best_ns))
            continue;
        best = c;
        best_ns = since;
    }
    if (!best)
        return false;
    best->retired_ns = now;
    drop_idle_locked(p, best);
    return true;
}

static void watch_locked(struct pools *p, uint64_t now)
{
    for (uint32_t i = 0; i < p->shared.children.count; i++) {
        struct pool_child *c = p->shared.children.at[i];
        bool late = !c->ready_ns && now - c->started_ns > CHILD_START_S * NS_PER_S;
        bool stays = c->retired_ns && now - c->retired_ns > CHILD_RETIRE_S * NS_PER_S;
        if (late || stays)
            pool_kill_locked(c);
    }
}

void pool_tend_children_locked(struct pools *p, int step, uint64_t now)
{
    uint32_t starting;
    reap_locked(p, now);
    watch_locked(p, now);
    for (; step < 0 && retire_one_locked(p, now); step++)
        ;
    for (; step > 0 && now >= p->shared.next_start_ns && !p->shared.stopping; step--)
        start_child_locked(p, now);
    gauge_set(p->m.children, pool_children_locked(p, &starting));
}

void pool_end_children(struct pools *p)
{
    uint64_t until = clock_mono_ns(p->opts.clock) + CHILD_END_S * NS_PER_S;
    pthread_mutex_lock(&p->shared.mu);
    for (uint32_t i = 0; i < p->shared.children.count; i++)
        p->shared.children.at[i]->retired_ns = 1;
    while (p->shared.children.count) {
        uint64_t now = clock_mono_ns(p->opts.clock);
        reap_locked(p, now);
        for (uint32_t i = 0; i < p->shared.children.count && now > until; i++)
            pool_kill_locked(p->shared.children.at[i]);
        pthread_mutex_unlock(&p->shared.mu);
        const struct timespec tick = {0, 2 * NS_PER_MS};
        nanosleep(&tick, NULL);
        pthread_mutex_lock(&p->shared.mu);
    }
    pthread_mutex_unlock(&p->shared.mu);
    vec_free(&p->shared.children);
}
