/* How rows of the table of keys are written, and what its files share. */
#ifndef APP_APP_CONFIG_KEYS_PRIV_H
#define APP_APP_CONFIG_KEYS_PRIV_H

#include "app/app_config.h"

#define FIELD(f) .offset = offsetof(struct app_config, f)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Known by name; a warning unless the value is the default d (NULL: empty, zero, false). */
#define IGNORED(p, d)                                                                              \
    {                                                                                              \
        .path = p, .type = CONFIG_ANY, .mark = CONFIG_IGNORE, .preset = d                          \
    }
#define IGNORED_BECAUSE(p, d, why)                                                                 \
    {                                                                                              \
        .path = p, .type = CONFIG_ANY, .mark = CONFIG_IGNORE, .preset = d, .help = why             \
    }
/* A map of such names. */
#define IGNORED_MAP(p, t)                                                                          \
    {                                                                                              \
        .path = p, .type = CONFIG_TABLE, .mark = CONFIG_IGNORE, .table = &t                        \
    }
/* A fault unless the value is the default. */
#define REFUSED(p, d, why)                                                                         \
    {                                                                                              \
        .path = p, .type = CONFIG_ANY, .mark = CONFIG_REJECT, .preset = d, .help = why             \
    }
#define IGNORED_FLAG(f, d)                                                                         \
    {                                                                                              \
        .flag = f, .type = CONFIG_ANY, .mark = CONFIG_IGNORE, .preset = d                          \
    }
#define TABLE(name, rows) const struct config_table name = {.keys = rows, .count = COUNT(rows)}

#define NO_TLS "TLS is not served here yet; put a proxy before it"
#define NO_INTERNAL_TLS "connections between processes have no TLS yet"
#define NO_SSE "server-side encryption is not asked for yet"
#define NO_TLS_FILES "own certificates are not read yet"
#define NOT_SERVED "this receiver is not served yet"

/* app_config_maps.c: maps that stand in several places; nothing in them is used. */
extern const struct config_table ring_table, lifecycler_table, grpc_client_table, client_table,
    memberlist_table, span_log_table, usage_table;

/* app_config_keys_ingest.c: the write path. */
extern const struct config_table app_ingest_table;
/* app_config_keys_compact.c: compaction and retention. */
extern const struct config_table app_compact_table;

/* overrides_keys.c: struct overrides_limits, as it stands in overrides.defaults and in an entry of
 * the file of tenants, and the names that it had before there were scopes. */
extern const struct config_table overrides_scoped_table, overrides_flat_table;
/* struct app_dedicated_column */
extern const struct config_table app_dedicated_table;

#endif
