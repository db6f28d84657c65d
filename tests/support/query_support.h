/* Random jobs and results, and whether two are the same, field by field. */
#ifndef TESTS_SUPPORT_QUERY_SUPPORT_H
#define TESTS_SUPPORT_QUERY_SUPPORT_H

#include "base/random.h"
#include "query/query_codec.h"

/* A job of the kind over a block, or over a few live sections. Everything in the arena; the
 * segments of the sections are too, and must not be released. */
void support_random_job(struct rng *r, enum query_kind kind, bool live, struct arena *a,
                        struct query_job *out);
/* A result of search, tags or spans (into out->trace.batch); metrics: those of no spans. */
void support_random_result(struct rng *r, const struct query_job *job, struct arena *a,
                           struct query_result *out);

/* Fails the test where they differ. Deadlines may differ by a millisecond. */
void support_assert_job(const struct query_job *a, const struct query_job *b);
void support_assert_result(const struct query_job *job, const struct query_result *a,
                           const struct query_result *b);

#endif
