/* How many requests of each tenant are waiting or being answered, so that one tenant cannot fill
 * the queue. Any thread. */
#ifndef FRONTEND_ADMISSION_H
#define FRONTEND_ADMISSION_H

#include "base/err.h"
#include "base/metrics.h"
#include "base/slice.h"

struct admission;

/* most: requests of one tenant; 0: any number. */
int admission_new(struct metrics *m, uint64_t most, struct admission **out, struct err *err);
void admission_free(struct admission *a); /* nobody is in; NULL is fine */
/* ERR_EXHAUSTED, in Tempo's words, when the tenant has that many; ERR_NOMEM. */
int admission_enter(struct admission *a, struct slice tenant, struct err *err);
/* What entered leaves. */
void admission_leave(struct admission *a, struct slice tenant);

#endif
