/* What the files of the overrides share: one reading of the file, and who holds it. */
#ifndef APP_OVERRIDES_PRIV_H
#define APP_OVERRIDES_PRIV_H

#include <pthread.h>

#include "app/overrides.h"

struct snapshot;

/* The limits of one name of the file, or of all the others. */
struct tenant_limits {
    struct overrides_limits limits; /* the first field: a pointer to it is one to the whole */
    struct snapshot *of;
    const struct config_entry *entry; /* NULL: of the others */
};

struct snapshot {
    unsigned refs;         /* hold mu of the overrides */
    struct config *config; /* NULL: there is no file */
    struct config_map tenants;
    const struct config_entry *wildcard; /* "*"; NULL: none */
    struct tenant_limits others;
    struct tenant_limits *names; /* ascending by name; "*" is not among them */
    size_t name_count;
};

struct overrides {
    struct overrides_opts opts;
    struct log log;
    struct {
        struct metrics_family *defaults, *of_tenants; /* limit_name; limit_name, user */
        struct metrics_family *reloaded, *hash;       /* config; config, sha256 */
    } m;
    pthread_mutex_t mu;
    struct snapshot *current; /* hold mu */

    pthread_mutex_t reload_mu; /* one reading at a time; held before mu */
    uint8_t last_hash[32];     /* of the text read last, taken or not; hold reload_mu */
    int last_rc;               /* hold reload_mu */

    pthread_t thread;
    bool thread_runs;
    pthread_cond_t wake;
    bool stop; /* hold mu */
};

/* The snapshot of this moment, to be given back. */
struct snapshot *overrides_snapshot_acquire(struct overrides *o);
void overrides_snapshot_release(struct overrides *o, struct snapshot *s);
/* The limits of the tenant in it. */
const struct tenant_limits *overrides_find(const struct snapshot *s, struct slice tenant);

#endif
