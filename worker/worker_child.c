/* The life of a child. It is ready within milliseconds: no listener, no look at the store. */
#include "worker/worker_child.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/app.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "worker/job_server.h"
#include "worker/worker.h"

struct child {
    struct app *app;
    struct catalog *catalog;
    struct worker *worker;
    struct job_server *server;
    uint32_t slots;
};

/* Past its memory an allocation fails, and with it the job, which runs elsewhere; and when the
 * machine has no memory left, a child goes before the frontend. */
static void bound_memory(uint64_t bytes)
{
    static const char score[] = "500";
    const struct rlimit limit = {bytes, bytes};
    if (bytes && setrlimit(RLIMIT_AS, &limit) < 0)
        perror("setrlimit");
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, score, sizeof score - 1);
    (void)n;
    close(fd);
}

/* The frontend's flags, as a worker. */
static int start_app(int argc, char **argv, struct app **out)
{
    static char target[] = "-target=worker";
    char **args = calloc((size_t)argc + 2, sizeof *args);
    if (!args)
        return 1;
    int count = 0;
    args[count++] = argv[0];
    for (int i = 4; i < argc; i++)
        args[count++] = argv[i];
    args[count++] = target;
    int status = app_start(
        count, args,
        &(struct app_opts){.program = "rubato-worker", .roles = APP_WORKER, .child = true}, out);
    free(args);
    return status;
}

static int make(struct child *c, struct err *err)
{
    struct app *app = c->app;
    const struct catalog_opts catalog = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .live_bytes_max = (size_t)app->cfg.block_builder.max_bytes,
    };
    int rc = catalog_new(&catalog, &c->catalog, err);
    if (rc == 0)
        rc = worker_new(&(struct worker_opts){.store = app->store,
                                              .catalog = c->catalog,
                                              .log = app->log,
                                              .metrics = app->metrics,
                                              .clock = app->clock},
                        &c->worker, err);
    if (rc == 0)
        rc = job_server_new(&(struct job_server_opts){.worker = worker_interface(c->worker),
                                                      .catalog = c->catalog,
                                                      .log = app->log,
                                                      .metrics = app->metrics,
                                                      .clock = app->clock},
                            &c->server, err);
    return rc;
}

struct slot {
    pthread_t thread;
    struct child *child;
    int fd;
    bool runs;
};

static void *slot_main(void *arg)
{
    struct slot *s = arg;
    struct err err;
    (void)job_server_serve(s->child->server, s->fd, NULL,
                           &err); /* it ends when the frontend closes it */
    return NULL;
}

static void serve(struct child *c)
{
    struct slot slots[WORKER_CHILD_SLOTS_MAX] = {0};
    for (uint32_t i = 0; i < c->slots; i++) {
        slots[i].child = c;
        slots[i].fd = WORKER_CHILD_FD + (int)i;
        slots[i].runs = i > 0 && pthread_create(&slots[i].thread, NULL, slot_main, &slots[i]) == 0;
        if (i > 0 && !slots[i].runs)
            close(slots[i].fd);
    }
    slot_main(&slots[0]);
    for (uint32_t i = 1; i < c->slots; i++) {
        if (slots[i].runs)
            pthread_join(slots[i].thread, NULL);
    }
}

int worker_child_main(int argc, char **argv)
{
    struct child c = {0};
    struct err err = {0};
    uint64_t slots, memory;
    if (argc < 4 || !parse_u64(slice_cstr(argv[2]), &slots) || slots == 0 ||
        slots > WORKER_CHILD_SLOTS_MAX || !parse_u64(slice_cstr(argv[3]), &memory)) {
        fprintf(stderr, "%s: %s is for a frontend that starts its workers\n", argv[0],
                WORKER_CHILD_COMMAND);
        return 2;
    }
    c.slots = (uint32_t)slots;
    for (int i = 0; i < (int)slots; i++)
        (void)fcntl(WORKER_CHILD_FD + i, F_SETFD, FD_CLOEXEC);
    bound_memory(memory);
    int status = start_app(argc, argv, &c.app);
    if (!c.app)
        return status;
    int rc = make(&c, &err);
    if (rc == 0)
        serve(&c);
    else
        LOG_ERROR(c.app->log, "a worker process cannot start", KV_ERR(&err));
    job_server_free(c.server);
    worker_free(c.worker);
    catalog_free(c.catalog);
    app_free(c.app);
    return rc < 0 ? 1 : 0;
}
