/* The metrics registry: families in order of registration, children found by their label values,
 * and the Prometheus text form.
 *
 * The lock is held to register, to find a child and to write; an update of a value takes none. */
#include "base/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/vec.h"

/* More labels than any metric of ours has. */
#define LABELS_MAX 8
/* Children of one family; past it all share one. Bounds what foreign label values can cost. */
#define CHILDREN_MAX 10000
/* Longest label value, in bytes; a longer one is cut. Tenant ids have 150. */
#define LABEL_BYTES_MAX ((size_t)256)
#define NS_PER_SECOND 1e9

enum family_type { FAMILY_COUNTER, FAMILY_GAUGE, FAMILY_HISTOGRAM };

struct histogram {
    const double *bounds;
    size_t bound_count;
    _Atomic uint64_t sum_bits;  /* a double */
    _Atomic uint64_t buckets[]; /* bound_count + 1, not cumulative; the last is +Inf */
};

struct child {
    struct child *next_in_slot;
    struct child *next; /* in order of creation */
    uint64_t hash;
    struct slice values[LABELS_MAX]; /* into text */
    uint8_t *text;
    bool hidden; /* not written */
    struct counter counter;
    struct gauge gauge;
    struct histogram *histogram;
};

struct metrics_family {
    struct metrics *registry;
    struct metrics_family *next;
    const char *name;
    const char *help;
    enum family_type type;
    bool nanoseconds; /* kept in nanoseconds, written in seconds */
    const char *const *label_names;
    size_t label_count;
    const double *bounds;
    size_t bound_count;
    struct child *first, *last;
    struct child **slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t child_count;
};

struct collector {
    metrics_collect_fn *fn;
    void *ctx;
};

struct metrics {
    pthread_mutex_t mu;
    /* hold mu */
    struct metrics_family *first, *last;
    VEC(struct collector) collectors;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (m)
        pthread_mutex_init(&m->mu, NULL);
    return m;
}

static void child_free(struct child *c)
{
    if (!c)
        return;
    free(c->histogram);
    free(c->text);
    free(c);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (struct metrics_family *f = m->first, *next; f; f = next) {
        next = f->next;
        for (struct child *c = f->first, *after; c; c = after) {
            after = c->next;
            child_free(c);
        }
        free(f->slots);
        free(f);
    }
    vec_free(&m->collectors);
    pthread_mutex_destroy(&m->mu);
    free(m);
}

/* ---- families and children ---- */

static struct metrics_family *family_locked(struct metrics *m, const struct metrics_family *want)
{
    for (struct metrics_family *f = m->first; f; f = f->next) {
        if (strcmp(f->name, want->name) == 0) {
            /* One name with two meanings is a mistake of ours. */
            assert(f->type == want->type);
            assert(f->label_count == want->label_count);
            assert(f->bound_count == want->bound_count);
            return f;
        }
    }
    struct metrics_family *f = malloc(sizeof *f);
    if (!f)
        return NULL;
    *f = *want;
    f->registry = m;
    *(m->last ? &m->last->next : &m->first) = f;
    m->last = f;
    return f;
}

static struct metrics_family *family(struct metrics *m, const struct metrics_family *want)
{
    assert(want->label_count <= LABELS_MAX);
    if (!m)
        return NULL;
    pthread_mutex_lock(&m->mu);
    struct metrics_family *f = family_locked(m, want);
    pthread_mutex_unlock(&m->mu);
    return f;
}

/* FNV-1a over the values, each with its length, so that ("ab", "c") and ("a", "bc") differ. */
static uint64_t hash_values(const struct slice *values, size_t count)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        h = (h ^ values[i].len) * UINT64_C(0x100000001b3);
        for (size_t j = 0; j < values[i].len; j++)
            h = (h ^ values[i].ptr[j]) * UINT64_C(0x100000001b3);
    }
    return h;
}

static struct child *find_locked(const struct metrics_family *f, const struct slice *values,
                                 uint64_t hash)
{
    if (!f->slot_count)
        return NULL;
    for (struct child *c = f->slots[hash & (f->slot_count - 1)]; c; c = c->next_in_slot) {
        bool same = c->hash == hash;
        for (size_t i = 0; same && i < f->label_count; i++)
            same = slice_eq(c->values[i], values[i]);
        if (same)
            return c;
    }
    return NULL;
}

static bool grow_slots_locked(struct metrics_family *f)
{
    size_t count = f->slot_count ? f->slot_count * 2 : 8;
    struct child **slots = calloc(count, sizeof(struct child *));
    if (!slots)
        return false;
    for (struct child *c = f->first; c; c = c->next) {
        struct child **slot = &slots[c->hash & (count - 1)];
        c->next_in_slot = *slot;
        *slot = c;
    }
    free(f->slots);
    f->slots = slots;
    f->slot_count = count;
    return true;
}

static struct child *child_new(const struct metrics_family *f, const struct slice *values)
{
    struct child *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    size_t bytes = 1;
    for (size_t i = 0; i < f->label_count; i++)
        bytes += values[i].len;
    c->text = malloc(bytes);
    if (f->type == FAMILY_HISTOGRAM)
        c->histogram = calloc(1, sizeof *c->histogram + (f->bound_count + 1) * sizeof(uint64_t));
    if (!c->text || (f->type == FAMILY_HISTOGRAM && !c->histogram)) {
        child_free(c);
        return NULL;
    }
    if (c->histogram) {
        c->histogram->bounds = f->bounds;
        c->histogram->bound_count = f->bound_count;
    }
    uint8_t *p = c->text;
    for (size_t i = 0; i < f->label_count; i++) {
        if (values[i].len)
            memcpy(p, values[i].ptr, values[i].len);
        c->values[i] = slice_of(p, values[i].len);
        p += values[i].len;
    }
    return c;
}

static struct child *find_or_make_locked(struct metrics_family *f, const struct slice *values)
{
    struct slice overflow[LABELS_MAX];
    uint64_t hash = hash_values(values, f->label_count);
    struct child *c = find_locked(f, values, hash);
    if (!c && f->child_count >= CHILDREN_MAX) {
        for (size_t i = 0; i < f->label_count; i++)
            overflow[i] = SLICE("__overflow__");
        values = overflow;
        hash = hash_values(values, f->label_count);
        c = find_locked(f, values, hash);
    }
    if (c || (f->child_count >= f->slot_count && !grow_slots_locked(f)))
        return c;
    c = child_new(f, values);
    if (!c)
        return NULL;
    c->hash = hash;
    struct child **slot = &f->slots[hash & (f->slot_count - 1)];
    c->next_in_slot = *slot;
    *slot = c;
    *(f->last ? &f->last->next : &f->first) = c;
    f->last = c;
    f->child_count++;
    return c;
}

static struct child *child_with(struct metrics_family *f, const struct slice *values)
{
    if (!f)
        return NULL;
    struct slice cut[LABELS_MAX];
    for (size_t i = 0; i < f->label_count; i++) {
        cut[i] = values[i];
        if (cut[i].len > LABEL_BYTES_MAX)
            cut[i].len = LABEL_BYTES_MAX;
    }
    pthread_mutex_lock(&f->registry->mu);
    struct child *c = find_or_make_locked(f, cut);
    if (c)
        c->hidden = false;
    pthread_mutex_unlock(&f->registry->mu);
    return c;
}

void metrics_family_hide(struct metrics_family *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->registry->mu);
    for (struct child *c = f->first; c; c = c->next)
        c->hidden = true;
    pthread_mutex_unlock(&f->registry->mu);
}

/* ---- registration ---- */

struct counter *metrics_counter(struct metrics *m, const char *name, const char *help)
{
    return metrics_counter_with(metrics_counter_family(m, name, help, NULL, 0), NULL);
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help)
{
    return metrics_gauge_with(metrics_gauge_family(m, name, help, NULL, 0), NULL);
}

struct counter *metrics_counter_ns(struct metrics *m, const char *name, const char *help)
{
    return metrics_counter_with(family(m, &(struct metrics_family){.name = name,
                                                                   .help = help,
                                                                   .type = FAMILY_COUNTER,
                                                                   .nanoseconds = true}),
                                NULL);
}

struct gauge *metrics_gauge_ns(struct metrics *m, const char *name, const char *help)
{
    return metrics_gauge_with(family(m, &(struct metrics_family){.name = name,
                                                                 .help = help,
                                                                 .type = FAMILY_GAUGE,
                                                                 .nanoseconds = true}),
                              NULL);
}

struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                    const double *bounds, size_t bound_count)
{
    return metrics_histogram_with(
        metrics_histogram_family(m, name, help, bounds, bound_count, NULL, 0), NULL);
}

struct metrics_family *metrics_counter_family(struct metrics *m, const char *name, const char *help,
                                              const char *const *label_names, size_t label_count)
{
    return family(m, &(struct metrics_family){.name = name,
                                              .help = help,
                                              .type = FAMILY_COUNTER,
                                              .label_names = label_names,
                                              .label_count = label_count});
}

struct metrics_family *metrics_gauge_family(struct metrics *m, const char *name, const char *help,
                                            const char *const *label_names, size_t label_count)
{
    return family(m, &(struct metrics_family){.name = name,
                                              .help = help,
                                              .type = FAMILY_GAUGE,
                                              .label_names = label_names,
                                              .label_count = label_count});
}

struct metrics_family *metrics_histogram_family(struct metrics *m, const char *name,
                                                const char *help, const double *bounds,
                                                size_t bound_count, const char *const *label_names,
                                                size_t label_count)
{
    return family(m, &(struct metrics_family){.name = name,
                                              .help = help,
                                              .type = FAMILY_HISTOGRAM,
                                              .label_names = label_names,
                                              .label_count = label_count,
                                              .bounds = bounds,
                                              .bound_count = bound_count});
}

struct counter *metrics_counter_with(struct metrics_family *f, const struct slice *values)
{
    assert(!f || f->type == FAMILY_COUNTER);
    struct child *c = child_with(f, values);
    return c ? &c->counter : NULL;
}

struct gauge *metrics_gauge_with(struct metrics_family *f, const struct slice *values)
{
    assert(!f || f->type == FAMILY_GAUGE);
    struct child *c = child_with(f, values);
    return c ? &c->gauge : NULL;
}

struct histogram *metrics_histogram_with(struct metrics_family *f, const struct slice *values)
{
    assert(!f || f->type == FAMILY_HISTOGRAM);
    struct child *c = child_with(f, values);
    return c ? c->histogram : NULL;
}

void histogram_observe(struct histogram *h, double v)
{
    if (!h || isnan(v))
        return;
    size_t i = 0;
    while (i < h->bound_count && v > h->bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&h->sum_bits, memory_order_relaxed);
    uint64_t new;
    do {
        double sum;
        memcpy(&sum, &old, sizeof sum);
        sum += v;
        memcpy(&new, &sum, sizeof new);
    } while (!atomic_compare_exchange_weak_explicit(&h->sum_bits, &old, new, memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* ---- writing ---- */

int metrics_on_collect(struct metrics *m, metrics_collect_fn *fn, void *ctx)
{
    pthread_mutex_lock(&m->mu);
    bool kept = vec_push(&m->collectors, (struct collector){fn, ctx});
    pthread_mutex_unlock(&m->mu);
    return kept ? 0 : ERR_NOMEM;
}

/* A text with '\\' and newline escaped, and '"' too in a label value. What is not UTF-8 becomes
 * U+FFFD, because a scraper refuses the whole page for one such byte. */
static int write_escaped(struct buf *b, struct slice s, bool quoted)
{
    int rc = 0;
    while (rc == 0 && s.len) {
        size_t valid = utf8_prefix(s, s.len);
        size_t run = 0;
        while (run < valid && s.ptr[run] != '\\' && s.ptr[run] != '\n' &&
               !(quoted && s.ptr[run] == '"'))
            run++;
        rc = buf_append(b, s.ptr, run);
        s = slice_from(s, run);
        if (rc < 0 || s.len == 0)
            break;
        if (run == valid)
            rc = buf_str(b, "\xef\xbf\xbd");
        else if (s.ptr[0] == '\n')
            rc = buf_str(b, "\\n");
        else
            rc = buf_append(b, (const uint8_t[]){'\\', s.ptr[0]}, 2);
        s = slice_from(s, 1);
    }
    return rc;
}

/* `name_suffix{labels,le="bound"} `; le is NULL when there is none. */
static int write_series(struct buf *b, const struct metrics_family *f, const struct child *c,
                        const char *suffix, const char *le)
{
    int rc = buf_printf(b, "%s%s", f->name, suffix);
    const char *sep = "{";
    for (size_t i = 0; rc == 0 && i < f->label_count; i++, sep = ",") {
        rc = buf_printf(b, "%s%s=\"", sep, f->label_names[i]);
        if (rc == 0)
            rc = write_escaped(b, c->values[i], true);
        if (rc == 0)
            rc = buf_u8(b, '"');
    }
    if (rc == 0 && le)
        rc = buf_printf(b, "%sle=\"%s\"", sep, le);
    if (rc == 0)
        rc = buf_str(b, f->label_count || le ? "} " : " ");
    return rc;
}

static int write_f64(struct buf *b, double v)
{
    char text[40];
    format_f64_json(v, text);
    if (isinf(v))
        return buf_str(b, v > 0 ? "+Inf\n" : "-Inf\n");
    return buf_printf(b, "%s\n", text);
}

static int write_histogram(struct buf *b, const struct metrics_family *f, const struct child *c)
{
    struct histogram *h = c->histogram;
    uint64_t total = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i <= h->bound_count; i++) {
        char le[40] = "+Inf";
        if (i < h->bound_count)
            format_f64_json(h->bounds[i], le);
        total += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        rc = write_series(b, f, c, "_bucket", le);
        if (rc == 0)
            rc = buf_printf(b, "%llu\n", (unsigned long long)total);
    }
    if (rc == 0)
        rc = write_series(b, f, c, "_sum", NULL);
    uint64_t bits = atomic_load_explicit(&h->sum_bits, memory_order_relaxed);
    double sum;
    memcpy(&sum, &bits, sizeof sum);
    if (rc == 0)
        rc = write_f64(b, sum);
    if (rc == 0)
        rc = write_series(b, f, c, "_count", NULL);
    return rc == 0 ? buf_printf(b, "%llu\n", (unsigned long long)total) : rc;
}

static int write_number(struct buf *b, const struct metrics_family *f, struct child *c)
{
    int rc = write_series(b, f, c, "", NULL);
    if (rc < 0)
        return rc;
    if (f->type == FAMILY_COUNTER) {
        uint64_t v = atomic_load_explicit(&c->counter.value, memory_order_relaxed);
        return f->nanoseconds ? write_f64(b, (double)v / NS_PER_SECOND)
                              : buf_printf(b, "%llu\n", (unsigned long long)v);
    }
    int64_t v = atomic_load_explicit(&c->gauge.value, memory_order_relaxed);
    return f->nanoseconds ? write_f64(b, (double)v / NS_PER_SECOND)
                          : buf_printf(b, "%lld\n", (long long)v);
}

static int write_family(struct buf *b, const struct metrics_family *f)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    if (!f->first)
        return 0;
    int rc = buf_printf(b, "# HELP %s ", f->name);
    if (rc == 0)
        rc = write_escaped(b, slice_cstr(f->help), false);
    if (rc == 0)
        rc = buf_printf(b, "\n# TYPE %s %s\n", f->name, types[f->type]);
    for (struct child *c = f->first; rc == 0 && c; c = c->next) {
        if (c->hidden)
            continue;
        rc = f->type == FAMILY_HISTOGRAM ? write_histogram(b, f, c) : write_number(b, f, c);
    }
    return rc;
}

int metrics_write(struct metrics *m, struct buf *out)
{
    /* A collector may look up children, so it is called without the lock; the list only grows. */
    for (uint32_t i = 0;; i++) {
        pthread_mutex_lock(&m->mu);
        bool more = i < m->collectors.count;
        struct collector c = more ? m->collectors.at[i] : (struct collector){0};
        pthread_mutex_unlock(&m->mu);
        if (!more)
            break;
        c.fn(c.ctx);
    }
    pthread_mutex_lock(&m->mu);
    int rc = 0;
    for (struct metrics_family *f = m->first; rc == 0 && f; f = f->next)
        rc = write_family(out, f);
    pthread_mutex_unlock(&m->mu);
    return rc;
}
