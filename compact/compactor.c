/* The compactor's thread, and the order in which it does things. */
#include <stdlib.h>
#include <sys/resource.h>

#include "compact/compact_priv.h"

/* Of the thread: what answers and what stores goes first. */
#define NICE 10

static void register_metrics(struct compactor *k, struct metrics *m)
{
    static const char *const by_level[] = {"level"}, *const by_tenant[] = {"tenant"};
    static const char *const by_factor[] = {"replication_factor"};
    static const double seconds[] = {.01, .1, 1, 10, 60, 300};
    k->m.blocks = metrics_counter_family(m, "tempodb_compaction_blocks_total",
                                         "Blocks that were compacted.", by_level, 1);
    k->m.objects_written = metrics_counter_family(m, "tempodb_compaction_objects_written_total",
                                                  "Traces written by compaction.", by_level, 1);
    k->m.bytes_written = metrics_counter_family(m, "tempodb_compaction_bytes_written_total",
                                                "Bytes written by compaction.", by_level, 1);
    k->m.combined =
        metrics_counter_family(m, "tempodb_compaction_objects_combined_total",
                               "Traces that several blocks had a part of.", by_level, 1);
    k->m.spans_combined =
        metrics_counter_family(m, "tempodb_compaction_spans_combined_total",
                               "Spans that were there several times.", by_factor, 1);
    k->m.outstanding = metrics_gauge_family(m, "tempodb_compaction_outstanding_blocks",
                                            "Blocks that wait to be compacted.", by_tenant, 1);
    k->m.errors = metrics_counter(m, "tempodb_compaction_errors_total",
                                  "Compactions that failed and are tried again.");
    k->m.marked = metrics_counter(m, "tempodb_retention_marked_for_deletion_total",
                                  "Blocks past their retention.");
    k->m.deleted = metrics_counter(m, "tempodb_retention_deleted_total", "Dead blocks deleted.");
    k->m.orphans = metrics_counter(m, "tempodb_retention_orphans_deleted_total",
                                   "Blocks deleted that were never finished.");
    k->m.retention_errors =
        metrics_counter(m, "tempodb_retention_errors_total", "Failures of retention.");
    k->m.retention_seconds =
        metrics_histogram(m, "tempodb_retention_duration_seconds", "Time of a round of retention.",
                          seconds, sizeof seconds / sizeof *seconds);
    k->m.index_builder =
        metrics_gauge_family(m, "tempodb_blocklist_tenant_index_builder",
                             "1: this process writes the tenant's index.", by_tenant, 1);
    k->m.index_age =
        metrics_gauge_family(m, "tempodb_blocklist_tenant_index_age_seconds",
                             "Age of the tenant's index at the last look.", by_tenant, 1);
    k->m.index_errors =
        metrics_counter_family(m, "tempodb_blocklist_tenant_index_errors_total",
                               "Tenant indexes that could not be read.", by_tenant, 1);
}

int compactor_new(const struct compactor_opts *opts, struct compactor **out, struct err *err)
{
    struct compactor *k = calloc(1, sizeof *k);
    if (!k)
        return err_set(err, ERR_NOMEM, "no memory for the compactor");
    k->opts = *opts;
    k->log = log_room(opts->log, "compact");
    register_metrics(k, opts->metrics);
    random_bytes(&k->rng.state, sizeof k->rng.state);
    pthread_mutex_init(&k->shared.mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->shared.wake, &attr);
    pthread_condattr_destroy(&attr);
    *out = k;
    return 0;
}

struct compactor_tenant compactor_limits(const struct compactor *k, struct slice tenant)
{
    struct compactor_tenant limits = k->opts.limits;
    if (k->opts.tenant)
        k->opts.tenant(k->opts.tenant_ctx, tenant, &limits);
    return limits;
}

bool compactor_stopping(const struct compactor *k)
{
    return atomic_load_explicit(&k->stop, memory_order_relaxed);
}

void compactor_failed(struct compactor *k, const char *what, struct slice tenant,
                      const struct err *err)
{
    if (err->code == ERR_CANCELLED) {
        LOG_INFO(&k->log, what, KV_SLICE("tenant", tenant), KV_ERR(err));
        return;
    }
    counter_add(k->m.errors, 1);
    LOG_ERROR(&k->log, what, KV_SLICE("tenant", tenant), KV_ERR(err));
}

/* ---- a round ---- */

struct turn {
    VEC(char *) tenants;
    bool out_of_memory;
};

static void add_tenant(void *ctx, struct slice name)
{
    struct turn *t = ctx;
    char *copy = strndup((const char *)name.ptr, name.len);
    if (!copy || !vec_push(&t->tenants, copy)) {
        free(copy);
        t->out_of_memory = true;
    }
}

/* The first after the one that had the last turn; at first, any. */
static uint32_t first_tenant(struct compactor *k, const struct turn *t)
{
    if (!k->last_tenant)
        return (uint32_t)rng_below(&k->rng, t->tenants.count);
    for (uint32_t i = 0; i < t->tenants.count; i++) {
        if (strcmp(t->tenants.at[i], k->last_tenant) > 0)
            return i;
    }
    return 0;
}

static void had_its_turn(struct compactor *k, const char *tenant)
{
    char *copy = strdup(tenant);
    if (copy) {
        free(k->last_tenant);
        k->last_tenant = copy;
    }
}

static int finish_left(struct compactor *k, struct err *err)
{
    struct catalog_plan *p;
    int rc = 0;
    while (rc == 0 && !compactor_stopping(k)) {
        uint64_t deadline = clock_mono_ns(k->opts.clock) + MERGE_TIMEOUT_NS;
        rc = catalog_plan_resume(k->opts.catalog, deadline, &p, err);
        if (rc < 0 || !p)
            break;
        LOG_INFO(&k->log, "plan of another process is taken over", KV_SLICE("plan", p->name),
                 KV_SLICE("tenant", p->tenant));
        rc = compact_run(k, p, err);
    }
    return rc;
}

static bool compact_tenants(struct compactor *k, const struct turn *t)
{
    bool did_any = false;
    uint32_t first = t->tenants.count ? first_tenant(k, t) : 0;
    for (uint32_t i = 0; i < t->tenants.count && !compactor_stopping(k); i++) {
        const char *name = t->tenants.at[(first + i) % t->tenants.count];
        struct slice tenant = slice_cstr(name);
        struct err err = {0};
        uint64_t outstanding;
        bool did;
        if (compact_tenant(k, tenant, &did, &outstanding, &err) < 0)
            compactor_failed(k, "compaction failed", tenant, &err);
        gauge_set(metrics_gauge_with(k->m.outstanding, &tenant), (int64_t)outstanding);
        did_any |= did;
        if (did)
            had_its_turn(k, name);
    }
    return did_any;
}

static void after_listing(struct compactor *k, const struct turn *t)
{
    uint64_t store_now = 0, start = clock_mono_ns(k->opts.clock);
    for (uint32_t i = 0; i < t->tenants.count && !k->opts.disabled; i++)
        compact_retention(k, slice_cstr(t->tenants.at[i]), &store_now);
    histogram_observe(k->m.retention_seconds,
                      (double)(clock_mono_ns(k->opts.clock) - start) / (double)NS_PER_S);
    for (uint32_t i = 0; i < t->tenants.count && k->opts.tenant_index; i++) {
        struct slice tenant = slice_cstr(t->tenants.at[i]);
        struct err err = {0};
        if (!compactor_stopping(k) && compact_index(k, tenant, &err) < 0)
            LOG_ERROR(&k->log, "tenant index cannot be written", KV_SLICE("tenant", tenant),
                      KV_ERR(&err));
    }
}

int compactor_round(struct compactor *k, bool *did, struct err *err)
{
    struct turn t = {0};
    uint64_t listings = catalog_full_listings(k->opts.catalog);
    *did = false;
    int rc = catalog_plans_refresh(k->opts.catalog, clock_mono_ns(k->opts.clock) + MERGE_TIMEOUT_NS,
                                   err);
    if (rc == 0 && !k->opts.disabled)
        rc = finish_left(k, err);
    if (rc == 0 && (catalog_tenants(k->opts.catalog, add_tenant, &t) < 0 || t.out_of_memory))
        rc = err_set(err, ERR_NOMEM, "no memory for the list of tenants");
    if (rc == 0 && listings != k->listings_seen) {
        after_listing(k, &t);
        k->listings_seen = listings;
    }
    if (rc == 0 && !k->opts.disabled)
        *did = compact_tenants(k, &t);
    for (uint32_t i = 0; i < t.tenants.count; i++)
        free(t.tenants.at[i]);
    vec_free(&t.tenants);
    return rc;
}

/* ---- the thread ---- */

static void pause_for(struct compactor *k, uint64_t ns)
{
    uint64_t until = clock_mono_ns(k->opts.clock) + ns;
    struct timespec ts = {.tv_sec = (time_t)(until / NS_PER_S),
                          .tv_nsec = (long)(until % NS_PER_S)};
    pthread_mutex_lock(&k->shared.mu);
    while (!compactor_stopping(k) && clock_mono_ns(k->opts.clock) < until)
        pthread_cond_timedwait(&k->shared.wake, &k->shared.mu, &ts);
    pthread_mutex_unlock(&k->shared.mu);
}

static void *compactor_thread(void *arg)
{
    struct compactor *k = arg;
    setpriority(PRIO_PROCESS, 0, NICE); /* on Linux of the calling thread; not vital */
    bool did = false;
    while (!compactor_stopping(k)) {
        /* Half of the pause by chance, so that compactors that met do not meet again. */
        uint64_t half = k->opts.cycle_ns / 2;
        if (!did)
            pause_for(k, half + rng_below(&k->rng, half + 1));
        struct err err = {0};
        did = false;
        if (compactor_stopping(k) ||
            catalog_wait(k->opts.catalog, clock_mono_ns(k->opts.clock) + NS_PER_S, NULL) < 0)
            continue;
        if (compactor_round(k, &did, &err) < 0)
            compactor_failed(k, "round of compaction failed", slice_of(NULL, 0), &err);
    }
    return NULL;
}

int compactor_start(struct compactor *k, struct err *err)
{
    int rc = pthread_create(&k->thread, NULL, compactor_thread, k);
    if (rc)
        return err_set(err, ERR_UNAVAILABLE, "cannot start the compactor's thread: %s",
                       strerror(rc));
    pthread_setname_np(k->thread, "compactor");
    k->started = true;
    return 0;
}

void compactor_stop(struct compactor *k)
{
    atomic_store(&k->stop, true);
    if (!k->started)
        return;
    pthread_mutex_lock(&k->shared.mu);
    pthread_cond_broadcast(&k->shared.wake);
    pthread_mutex_unlock(&k->shared.mu);
    pthread_join(k->thread, NULL);
    k->started = false;
}

void compactor_free(struct compactor *k)
{
    if (!k)
        return;
    compactor_stop(k);
    vec_free(&k->held);
    free(k->last_tenant);
    pthread_cond_destroy(&k->shared.wake);
    pthread_mutex_destroy(&k->shared.mu);
    free(k);
}
