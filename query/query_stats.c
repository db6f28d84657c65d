/* Sums of what jobs did. */
#include "query/query.h"

void query_stats_add(struct query_stats *total, const struct query_stats *part)
{
    total->row_groups += part->row_groups;
    total->row_groups_skipped += part->row_groups_skipped;
    total->columns += part->columns;
    total->traces += part->traces;
    total->spans += part->spans;
    total->spans_skipped += part->spans_skipped;
    total->pages += part->pages;
    total->pages_skipped += part->pages_skipped;
    total->bytes_read += part->bytes_read;
    total->bytes_skipped += part->bytes_skipped;
    total->requests += part->requests;
    for (int i = 0; i < QUERY_STEPS; i++)
        total->step_ns[i] += part->step_ns[i];
}

const char *query_step_name(enum query_step step)
{
    static const char *const names[QUERY_STEPS] = {
        [QUERY_STEP_FOOTER] = "footer",   [QUERY_STEP_FETCH] = "fetch",
        [QUERY_STEP_DECODE] = "decode",   [QUERY_STEP_EVALUATE] = "evaluate",
        [QUERY_STEP_RESULTS] = "results", [QUERY_STEP_LIVE] = "live",
    };
    return (unsigned)step < QUERY_STEPS ? names[step] : "?";
}
