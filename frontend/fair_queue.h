/* What waits to be done, fair between tenants: deficit round robin, so that each tenant with
 * something in the queue gets the same share of the cost (bytes to read, or one a request), however
 * much it has queued; first come, first served within a tenant. Interactive entries go before batch
 * ones, three to one in cost, so that neither starves.
 *
 * Not for two threads at once: the owner has a lock. */
#ifndef FRONTEND_FAIR_QUEUE_H
#define FRONTEND_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* A larger cost counts as this many quanta. */
#define FAIR_COST_QUANTA 1000

enum fair_class { FAIR_INTERACTIVE, FAIR_BATCH, FAIR_CLASSES };

struct fair_entry {
    struct fair_entry *next; /* the queue's */
    uint64_t cost;           /* at least 1 */
    uint64_t since_ns;       /* when it came */
};

struct fair_tenant {
    struct fair_tenant *next; /* in its class's round */
    char *name;
    size_t name_len;
    struct fair_entry *first, **last;
    size_t count;
    uint64_t deficit; /* what it may still take in this round */
    bool in_turn;     /* its share of this round has been added */
};

struct fair_round {
    struct fair_tenant *first, **last; /* tenants with entries; the first is at turn */
    size_t count;                      /* entries of all */
    uint64_t spent;                    /* weighed cost, against the other class */
};

struct fair_queue {
    uint64_t quantum;  /* cost that a tenant gets each round */
    size_t tenant_max; /* entries of one tenant in a class; 0: any number */
    size_t count;      /* entries */
    struct fair_round rounds[FAIR_CLASSES];
};

void fair_queue_init(struct fair_queue *q, uint64_t quantum, size_t tenant_max);
/* The entries are their owners'. */
void fair_queue_clear(struct fair_queue *q);

/* False: the tenant has too many, or there is no memory. */
bool fair_queue_push(struct fair_queue *q, struct slice tenant, enum fair_class class,
                     struct fair_entry *e);
struct fair_entry *fair_queue_pop(struct fair_queue *q); /* NULL: empty */
/* Takes out an entry that is in the queue, from where it was pushed. */
void fair_queue_remove(struct fair_queue *q, struct slice tenant, enum fair_class class,
                       struct fair_entry *e);
/* When the oldest entry came; UINT64_MAX: there is none. */
uint64_t fair_queue_oldest_ns(const struct fair_queue *q);

#endif
