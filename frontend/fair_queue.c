/* Deficit round robin (Shreedhar and Varghese, 1995) over tenants, and two classes weighed against
 * each other by what they have got. */
#include "frontend/fair_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What a class pays for its cost: a third for the interactive one. */
static const uint64_t weights[FAIR_CLASSES] = {[FAIR_INTERACTIVE] = 1, [FAIR_BATCH] = 3};

void fair_queue_init(struct fair_queue *q, uint64_t quantum, size_t tenant_max)
{
    *q = (struct fair_queue){.quantum = quantum ? quantum : 1, .tenant_max = tenant_max};
    for (int c = 0; c < FAIR_CLASSES; c++)
        q->rounds[c].last = &q->rounds[c].first;
}

static void tenant_free(struct fair_tenant *t)
{
    free(t->name);
    free(t);
}

void fair_queue_clear(struct fair_queue *q)
{
    for (int c = 0; c < FAIR_CLASSES; c++) {
        for (struct fair_tenant *t = q->rounds[c].first, *next; t; t = next) {
            next = t->next;
            tenant_free(t);
        }
    }
    fair_queue_init(q, q->quantum, q->tenant_max);
}

/* ---- in ---- */

static struct fair_tenant *tenant_of(struct fair_round *r, struct slice name)
{
    for (struct fair_tenant *t = r->first; t; t = t->next) {
        if (slice_eq(slice_of(t->name, t->name_len), name))
            return t;
    }
    struct fair_tenant *t = calloc(1, sizeof *t);
    if (!t || !(t->name = malloc(name.len + 1))) {
        free(t);
        return NULL;
    }
    if (name.len)
        memcpy(t->name, name.ptr, name.len);
    t->name_len = name.len;
    t->last = &t->first;
    *r->last = t;
    r->last = &t->next;
    return t;
}

/* A class that had nothing to do starts level with the other: it has saved nothing up. */
static void join(struct fair_queue *q, enum fair_class class)
{
    struct fair_round *r = &q->rounds[class], *other = &q->rounds[!class];
    if (r->count == 0 && other->count && r->spent < other->spent)
        r->spent = other->spent;
}

bool fair_queue_push(struct fair_queue *q, struct slice tenant, enum fair_class class,
                     struct fair_entry *e)
{
    struct fair_round *r = &q->rounds[class];
    struct fair_tenant *t = tenant_of(r, tenant);
    assert(e->cost > 0);
    if (!t || (q->tenant_max && t->count >= q->tenant_max))
        return false;
    if (e->cost > FAIR_COST_QUANTA * q->quantum)
        e->cost = FAIR_COST_QUANTA * q->quantum;
    join(q, class);
    e->next = NULL;
    *t->last = e;
    t->last = &e->next;
    t->count++;
    r->count++;
    q->count++;
    return true;
}

/* ---- out ---- */

static struct fair_round *next_round(struct fair_queue *q)
{
    struct fair_round *a = &q->rounds[FAIR_INTERACTIVE], *b = &q->rounds[FAIR_BATCH];
    if (!a->count || !b->count)
        return a->count ? a : b;
    return a->spent <= b->spent ? a : b;
}

/* The one at turn goes to the end of its round. */
static void rotate(struct fair_round *r)
{
    struct fair_tenant *t = r->first;
    t->in_turn = false;
    if (!t->next)
        return;
    r->first = t->next;
    t->next = NULL;
    *r->last = t;
    r->last = &t->next;
}

static void drop_first(struct fair_round *r)
{
    struct fair_tenant *t = r->first;
    r->first = t->next;
    if (!r->first)
        r->last = &r->first;
    tenant_free(t);
}

struct fair_entry *fair_queue_pop(struct fair_queue *q)
{
    struct fair_round *r = next_round(q);
    if (r->count == 0)
        return NULL;
    for (;;) { /* ends: each turn brings a quantum, and no cost is more than FAIR_COST_QUANTA */
        struct fair_tenant *t = r->first;
        if (!t->in_turn) {
            t->deficit += q->quantum;
            t->in_turn = true;
        }
        if (t->first->cost <= t->deficit)
            break;
        rotate(r);
    }
    struct fair_tenant *t = r->first;
    struct fair_entry *e = t->first;
    t->first = e->next;
    if (!t->first)
        t->last = &t->first;
    t->deficit -= e->cost;
    t->count--;
    r->count--;
    q->count--;
    r->spent += e->cost * weights[r == &q->rounds[FAIR_BATCH] ? FAIR_BATCH : FAIR_INTERACTIVE];
    if (t->count == 0)
        drop_first(r);
    return e;
}

void fair_queue_remove(struct fair_queue *q, struct slice tenant, enum fair_class class,
                       struct fair_entry *e)
{
    struct fair_round *r = &q->rounds[class];
    struct fair_tenant **at = &r->first;
    while (!slice_eq(slice_of((*at)->name, (*at)->name_len), tenant))
        at = &(*at)->next;
    struct fair_tenant *t = *at;
    struct fair_entry **link = &t->first;
    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    if (!*link)
        t->last = link;
    t->count--;
    r->count--;
    q->count--;
    if (t->count)
        return;
    *at = t->next;
    if (!*at)
        r->last = at;
    tenant_free(t);
}

uint64_t fair_queue_oldest_ns(const struct fair_queue *q)
{
    uint64_t oldest = UINT64_MAX;
    for (int c = 0; c < FAIR_CLASSES; c++) {
        for (const struct fair_tenant *t = q->rounds[c].first; t; t = t->next)
            oldest = t->first->since_ns < oldest ? t->first->since_ns : oldest;
    }
    return oldest;
}
