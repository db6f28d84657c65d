/* What each tenant may do: overrides.defaults, and the file of
 * overrides.per_tenant_override_config, which is looked at again and again while the program runs.
 *
 *   overrides:
 *     team-a:
 *       ingestion: {rate_limit_bytes: 1000000}
 *     "*":
 *       compaction: {block_retention: 30d}
 *
 * Each field by itself: the tenant's, else that of "*", else the default. (Tempo takes an entry as
 * a whole, so that one which sets a processor and nothing else refuses every span.) Tempo's flat
 * names are read as well. A file with a fault is not taken: what was there stays, and the log and
 * tempo_runtime_config_last_reload_successful say so.
 *
 * Limits are read in snapshots that do not change. Any thread may call the functions. */
#ifndef APP_OVERRIDES_H
#define APP_OVERRIDES_H

#include "app/app_config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

struct overrides;

struct overrides_opts {
    const struct app_config *cfg; /* outlives the overrides */
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    config_env_fn *env; /* expands ${VAR} in the file; NULL: it is read as it is */
    void *env_ctx;
};

/* Reads the file when one is configured. ERR_NOTFOUND, ERR_IO and ERR_CORRUPT: it cannot be read or
 * has faults, which the log has told. */
int overrides_new(const struct overrides_opts *opts, struct overrides **out, struct err *err);
/* Starts to look at the file again each period; nothing when there is none. */
int overrides_start(struct overrides *o, struct err *err);
/* Every limit has been released. NULL is fine. */
void overrides_free(struct overrides *o);

/* Looks at the file now. As overrides_new fails, and then the old limits stay. */
int overrides_reload(struct overrides *o, struct err *err);

/* The tenant's limits, until they are released. Never NULL. */
const struct overrides_limits *overrides_acquire(struct overrides *o, struct slice tenant);
void overrides_release(struct overrides *o, const struct overrides_limits *limits);

/* ---- what others ask for ---- */

/* How long the tenant's blocks are kept; 0: the compactor's own setting. */
int64_t overrides_block_retention_ns(struct overrides *o, struct slice tenant);
/* 0: the compactor's own setting. */
int64_t overrides_compaction_window_ns(struct overrides *o, struct slice tenant);
bool overrides_compaction_disabled(struct overrides *o, struct slice tenant);
/* Of new blocks of the tenant: struct app_dedicated_column, good while the limits are held. */
const struct config_items *overrides_dedicated_columns(const struct overrides *o,
                                                       const struct overrides_limits *limits);

/* ---- pages: /status/overrides, /status/overrides/{tenant}, /status/runtime_config ---- */

int overrides_write_list(struct overrides *o, bool json, struct buf *out);
int overrides_write_tenant(struct overrides *o, struct slice tenant, bool json, struct buf *out);
/* YAML; diff leaves the defaults out. */
int overrides_write_all(struct overrides *o, bool diff, struct buf *out);

/* -config.verify: what is to be said of the file, as the program's configuration says it. NULL:
 * there is no file. free with config_free. */
int overrides_verify(const struct overrides_opts *opts, struct config **out, struct err *err);

#endif
