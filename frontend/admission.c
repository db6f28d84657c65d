/* Requests under way, by tenant. Only tenants that have some are kept, so the list is as long as
 * the queue at most. */
#include "frontend/admission.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/vec.h"

struct entry {
    struct slice tenant; /* owned */
    uint64_t count;
    struct gauge *gauge;
};

struct admission {
    uint64_t most;
    struct metrics_family *length, *discarded; /* user */
    pthread_mutex_t mu;
    VEC(struct entry) entries; /* hold mu; ascending by tenant */
};

int admission_new(struct metrics *m, uint64_t most, struct admission **out, struct err *err)
{
    static const char *const by_user[] = {"user"};
    struct admission *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(err, ERR_NOMEM, "no memory for the queue");
    a->most = most;
    pthread_mutex_init(&a->mu, NULL);
    a->length = metrics_gauge_family(m, "tempo_query_frontend_queue_length",
                                     "Number of queries waiting or being answered.", by_user, 1);
    a->discarded = metrics_counter_family(m, "tempo_query_frontend_discarded_requests_total",
                                          "Total number of query requests discarded.", by_user, 1);
    *out = a;
    return 0;
}

void admission_free(struct admission *a)
{
    if (!a)
        return;
    assert(a->entries.count == 0);
    vec_free(&a->entries);
    pthread_mutex_destroy(&a->mu);
    free(a);
}

/* Where the tenant's entry is, or belongs. */
static uint32_t place_locked(const struct admission *a, struct slice tenant)
{
    uint32_t lo = 0, hi = a->entries.count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (slice_cmp(a->entries.at[mid].tenant, tenant) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_at_locked(const struct admission *a, uint32_t i, struct slice tenant)
{
    return i < a->entries.count && slice_eq(a->entries.at[i].tenant, tenant);
}

static bool insert_locked(struct admission *a, uint32_t i, struct slice tenant)
{
    uint8_t *name = malloc(tenant.len ? tenant.len : 1);
    if (!name || !vec_reserve(&a->entries, 1)) {
        free(name);
        return false;
    }
    memcpy(name, tenant.ptr, tenant.len);
    memmove(a->entries.at + i + 1, a->entries.at + i,
            (a->entries.count - i) * sizeof a->entries.at[0]);
    a->entries.at[i] = (struct entry){.tenant = slice_of(name, tenant.len),
                                      .gauge = metrics_gauge_with(a->length, &tenant)};
    a->entries.count++;
    return true;
}

int admission_enter(struct admission *a, struct slice tenant, struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&a->mu);
    uint32_t i = place_locked(a, tenant);
    if (!is_at_locked(a, i, tenant) && !insert_locked(a, i, tenant)) {
        rc = err_set(err, ERR_NOMEM, "no memory for the queue");
    } else if (a->most && a->entries.at[i].count >= a->most) {
        rc = err_set(err, ERR_EXHAUSTED, "job queue full");
    } else {
        a->entries.at[i].count++;
        gauge_add(a->entries.at[i].gauge, 1);
    }
    pthread_mutex_unlock(&a->mu);
    if (rc < 0)
        counter_add(metrics_counter_with(a->discarded, &tenant), 1);
    return rc;
}

void admission_leave(struct admission *a, struct slice tenant)
{
    pthread_mutex_lock(&a->mu);
    uint32_t i = place_locked(a, tenant);
    assert(is_at_locked(a, i, tenant));
    struct entry *e = &a->entries.at[i];
    gauge_add(e->gauge, -1);
    if (--e->count == 0) {
        free((void *)e->tenant.ptr);
        a->entries.count--;
        memmove(e, e + 1, (a->entries.count - i) * sizeof *e);
    }
    pthread_mutex_unlock(&a->mu);
}
