/* Jobs and results on a wire, for every worker that is not in the process: children, remote
 * workers, functions. Protobuf, so that a field may be added without breaking an older worker; the
 * version is raised when an old reader would answer wrongly.
 *
 * A job carries all that its worker needs: the block's description, or where the live sections
 * stand in the store; the query's text, which the worker parses again; and how much time is left.
 */
#ifndef QUERY_QUERY_CODEC_H
#define QUERY_QUERY_CODEC_H

#include "query/query_job.h"

#define QUERY_CODEC_VERSION 1

/* An encoded job: the query's text, and 100 bytes for each live section. Hit: ERR_LIMIT. */
#define LIMIT_QUERY_JOB_BYTES ((size_t)16 << 20)
/* An encoded result; what it decodes to is bounded by its arena. Hit: the job fails, ERR_LIMIT. */
#define LIMIT_QUERY_RESULT_BYTES ((size_t)256 << 20)

/* Appended to out. ERR_LIMIT, ERR_NOMEM. */
int query_job_encode(const struct query_job *job, uint64_t now_mono_ns, struct buf *out,
                     struct err *err);
/* The job lives in the arena and in bytes. Its sections are lent by the catalogue, which may be
 * NULL where jobs are never about live spans. ERR_CORRUPT: not a job, or one that no frontend would
 * send. ERR_UNSUPPORTED: of a later version. ERR_INVALID: the query does not parse here. */
int query_job_decode(struct slice bytes, uint64_t now_mono_ns, struct catalog *catalog,
                     struct arena *a, struct query_job *out, struct err *err);

/* What came of the job: rc and the text of e, or the result. Appended to out. ERR_LIMIT, ERR_NOMEM.
 */
int query_result_encode(const struct query_job *job, int rc, const struct err *e,
                        struct query_result *result, struct buf *out, struct err *err);
/* The result lives in the arena and in bytes. Returns the job's own error; or ERR_CORRUPT, with
 * *broken set, for bytes that are not a result of this job. */
int query_result_decode(struct slice bytes, const struct query_job *job, struct arena *a,
                        struct query_result *out, bool *broken, struct err *err);

#endif
