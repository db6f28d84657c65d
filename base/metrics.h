/* Prometheus metrics. Registered at start by the room that owns them; afterwards an update is one
 * relaxed add. Label values known only later (a tenant) come from metrics_*_with, which finds or
 * makes the child under a lock; keep the pointer where it is hot. Pointers live as long as the
 * registry. All functions may be called from any thread. Names and help are static strings. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct metrics; /* the registry */
struct counter {
    _Atomic uint64_t value;
};
struct gauge {
    _Atomic int64_t value;
};
struct histogram;      /* fixed upper bounds, sum in seconds or units */
struct metrics_family; /* one name with label names */

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* Without labels. Registering a name twice with the same type returns the first. NULL: no memory;
 * the add functions take NULL. */
struct counter *metrics_counter(struct metrics *m, const char *name, const char *help);
struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help);
/* Kept in nanoseconds, written in seconds: name ends in _seconds or _seconds_total. */
struct counter *metrics_counter_ns(struct metrics *m, const char *name, const char *help);
struct gauge *metrics_gauge_ns(struct metrics *m, const char *name, const char *help);
/* bounds: ascending upper bounds, static; +Inf is added. */
struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                    const double *bounds, size_t bound_count);

/* With labels: label_names is a static array of label_count names (at most 8). */
struct metrics_family *metrics_counter_family(struct metrics *m, const char *name, const char *help,
                                              const char *const *label_names, size_t label_count);
struct metrics_family *metrics_gauge_family(struct metrics *m, const char *name, const char *help,
                                            const char *const *label_names, size_t label_count);
struct metrics_family *metrics_histogram_family(struct metrics *m, const char *name,
                                                const char *help, const double *bounds,
                                                size_t bound_count, const char *const *label_names,
                                                size_t label_count);
/* values: label_count slices, copied. Past 10000 children of one family all further label sets
 * share one child whose every label value is "__overflow__". */
struct counter *metrics_counter_with(struct metrics_family *f, const struct slice *values);
struct gauge *metrics_gauge_with(struct metrics_family *f, const struct slice *values);
struct histogram *metrics_histogram_with(struct metrics_family *f, const struct slice *values);

/* No child is written until it is asked for again: for label values that come and go. */
void metrics_family_hide(struct metrics_family *f);

static inline void counter_add(struct counter *c, uint64_t n)
{
    if (c)
        __atomic_fetch_add((uint64_t *)&c->value, n, __ATOMIC_RELAXED);
}
static inline void gauge_set(struct gauge *g, int64_t v)
{
    if (g)
        __atomic_store_n((int64_t *)&g->value, v, __ATOMIC_RELAXED);
}
static inline void gauge_add(struct gauge *g, int64_t v)
{
    if (g)
        __atomic_fetch_add((int64_t *)&g->value, v, __ATOMIC_RELAXED);
}
void histogram_observe(struct histogram *h, double v);

/* Called before each write, to set gauges that are read rather than kept. */
typedef void(metrics_collect_fn)(void *ctx);
int metrics_on_collect(struct metrics *m, metrics_collect_fn *fn, void *ctx);

/* Prometheus text 0.0.4, families in order of registration. */
int metrics_write(struct metrics *m, struct buf *out);

#endif
