/* Token buckets, one a tenant: capacity burst, refill at the limit, a request takes all or nothing
 * (docs/architecture.md, limits). */
#include <stdlib.h>

#include "ingest/ingest_limits.h"
#include "ingest/ingest_priv.h"

struct bucket {
    char *tenant;
    double tokens;
    uint64_t at_ns;
};

struct rate_limiter {
    pthread_mutex_t mu;
    VEC(struct bucket) buckets; /* hold mu; ascending by tenant */
};

int rate_limiter_new(struct rate_limiter **out, struct err *err)
{
    struct rate_limiter *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "no memory for the rate limiter");
    pthread_mutex_init(&r->mu, NULL);
    *out = r;
    return 0;
}

void rate_limiter_free(struct rate_limiter *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->buckets.count; i++)
        free(r->buckets.at[i].tenant);
    vec_free(&r->buckets);
    pthread_mutex_destroy(&r->mu);
    free(r);
}

static void forget_oldest_locked(struct rate_limiter *r)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < r->buckets.count; i++) {
        if (r->buckets.at[i].at_ns < r->buckets.at[oldest].at_ns)
            oldest = i;
    }
    free(r->buckets.at[oldest].tenant);
    r->buckets.count--;
    memmove(r->buckets.at + oldest, r->buckets.at + oldest + 1,
            (r->buckets.count - oldest) * sizeof r->buckets.at[0]);
}

/* A new one is full. */
static struct bucket *bucket_locked(struct rate_limiter *r, struct slice tenant, uint64_t burst,
                                    uint64_t now_ns)
{
    for (;;) {
        uint32_t lo = 0, hi = r->buckets.count;
        while (lo < hi) {
            uint32_t mid = lo + (hi - lo) / 2;
            int d = slice_cmp(slice_cstr(r->buckets.at[mid].tenant), tenant);
            if (d == 0)
                return &r->buckets.at[mid];
            if (d < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (r->buckets.count >= LIMIT_RATE_TENANTS) {
            forget_oldest_locked(r);
            continue;
        }
        char *name = strndup((const char *)tenant.ptr, tenant.len);
        if (!name || !vec_reserve(&r->buckets, 1)) {
            free(name);
            return NULL;
        }
        memmove(r->buckets.at + lo + 1, r->buckets.at + lo,
                (r->buckets.count - lo) * sizeof r->buckets.at[0]);
        r->buckets.at[lo] = (struct bucket){name, (double)burst, now_ns};
        r->buckets.count++;
        return &r->buckets.at[lo];
    }
}

static int refuse(struct slice tenant, uint64_t bytes, const struct rate *limit, struct err *err)
{
    unsigned long long n = bytes, rate = limit->bytes_per_s, burst = limit->burst_bytes;
    if (bytes > limit->burst_bytes && bytes > limit->bytes_per_s)
        return err_set(err, ERR_EXHAUSTED,
                       "RATE_LIMITED: batch size (%llu bytes) exceeds ingestion limit (local: %llu "
                       "bytes/s, global: 0 bytes/s, burst: %llu bytes) while adding %llu bytes for "
                       "user %.*s. consider reducing batch size or increasing rate limit.",
                       n, rate, burst, n, SLICE_ARGS(tenant));
    return err_set(err, ERR_EXHAUSTED,
                   "RATE_LIMITED: ingestion rate limit (local: %llu bytes/s, global: 0 bytes/s, "
                   "burst: %llu bytes) exceeded while adding %llu bytes for user %.*s. consider "
                   "increasing the limit or reducing ingestion rate.",
                   rate, burst, n, SLICE_ARGS(tenant));
}

int rate_limiter_take(struct rate_limiter *r, struct slice tenant, const struct rate *limit,
                      uint64_t bytes, uint64_t now_ns, bool *retry, struct err *err)
{
    double burst = (double)limit->burst_bytes;
    *retry = bytes <= limit->burst_bytes; /* more than the burst can never pass */
    pthread_mutex_lock(&r->mu);
    struct bucket *b = bucket_locked(r, tenant, limit->burst_bytes, now_ns);
    bool ok = false;
    if (b) {
        /* Threads come here in another order than that in which they asked for the time. */
        if (now_ns > b->at_ns) {
            b->tokens +=
                (double)(now_ns - b->at_ns) * (double)limit->bytes_per_s / (double)NS_PER_S;
            b->at_ns = now_ns;
        }
        /* The limits may be others than last time: what is in the bucket stays. */
        if (b->tokens > burst)
            b->tokens = burst;
        ok = b->tokens >= (double)bytes;
        if (ok)
            b->tokens -= (double)bytes;
    }
    pthread_mutex_unlock(&r->mu);
    if (!b)
        return err_set(err, ERR_NOMEM, "no memory for a tenant's rate");
    return ok ? 0 : refuse(tenant, bytes, limit, err);
}
