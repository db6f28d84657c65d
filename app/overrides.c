/* Limits of tenants: reading them, handing them out, and looking at their file again. */
#include "app/overrides_priv.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "app/app_config_keys_priv.h"
#include "base/text.h"

/* Largest file of tenants; config_read_yaml has a limit of its own, which is less. */
#define LIMIT_OVERRIDES_BYTES ((size_t)16 << 20)
/* Columns of one scope that a block has room for. */
#define DEDICATED_COLUMNS_MAX 10

/* ---- the file's table ---- */

static const struct config_part tenant_parts[] = {{.table = &overrides_scoped_table},
                                                  {.table = &overrides_flat_table}};
static const struct config_table tenant_table = {.parts = tenant_parts,
                                                 .part_count = COUNT(tenant_parts),
                                                 .item_size = sizeof(struct overrides_limits)};
static const struct config_key file_keys[] = {
    {.path = "overrides", .type = CONFIG_MAP, .table = &tenant_table},
};
static const struct config_table file_table = {.keys = file_keys, .count = COUNT(file_keys)};

/* ---- one reading ---- */

static void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    config_free(s->config);
    free(s->names);
    free(s);
}

static int by_name(const void *a, const void *b)
{
    const struct tenant_limits *x = a, *y = b;
    return slice_cmp(x->entry->name, y->entry->name);
}

/* A row that reads a list of columns: the block has ten of a scope, each with a name. */
static void check_columns(struct config *c, const struct config_entry *e)
{
    const struct overrides_limits *l = e->item;
    const struct app_dedicated_column *at = l->parquet_dedicated_columns.at;
    size_t of_span = 0, of_resource = 0;
    char shown[200];
    for (size_t i = 0; i < l->parquet_dedicated_columns.count; i++) {
        of_span += slice_eq(at[i].scope, SLICE("span"));
        of_resource += slice_eq(at[i].scope, SLICE("resource"));
        if (at[i].name.len == 0)
            config_add_note(c, true,
                            "overrides.%s.storage.parquet_dedicated_columns: expected a name in "
                            "item %zu, found nothing",
                            text_escape(e->name, 40, shown, sizeof shown), i + 1);
    }
    if (of_span > DEDICATED_COLUMNS_MAX || of_resource > DEDICATED_COLUMNS_MAX)
        config_add_note(c, true,
                        "overrides.%s.storage.parquet_dedicated_columns: expected at most %d of a "
                        "scope, found %zu of spans and %zu of resources",
                        text_escape(e->name, 40, shown, sizeof shown), DEDICATED_COLUMNS_MAX,
                        of_span, of_resource);
}

static bool has_fault(const struct config *c)
{
    for (size_t i = 0; i < config_note_count(c); i++) {
        if (config_note_at(c, i).fault)
            return true;
    }
    return false;
}

/* Reads the text into *out, whose notes are the caller's to tell, whatever this returns. */
static int read_text(const struct overrides_opts *opts, const char *name, struct slice text,
                     struct config_map *tenants, struct config **out, struct err *err)
{
    int rc = config_new(&file_table, tenants, out, err);
    if (rc < 0)
        return rc;
    rc = config_read_yaml(*out, name, text, opts->env, opts->env_ctx, err);
    if (rc < 0 && rc != ERR_INVALID)
        return rc;
    for (size_t i = 0; rc == 0 && i < tenants->count; i++)
        check_columns(*out, &tenants->at[i]);
    if (rc < 0 || has_fault(*out))
        return err_set(err, ERR_CORRUPT, "%s has faults", name);
    return 0;
}

/* What the tenants of the file may do, field by field. */
static int resolve(struct snapshot *s, const struct overrides_limits *defaults, struct err *err)
{
    s->others = (struct tenant_limits){.limits = *defaults, .of = s};
    s->names = calloc(s->tenants.count ? s->tenants.count : 1, sizeof *s->names);
    if (!s->names)
        return err_set(err, ERR_NOMEM, "no memory for the limits of %zu tenants", s->tenants.count);
    for (size_t i = 0; i < s->tenants.count; i++) {
        if (slice_eq(s->tenants.at[i].name, SLICE("*")))
            s->wildcard = &s->tenants.at[i];
    }
    if (s->wildcard)
        config_merge(s->tenants.table, &s->others.limits, s->wildcard->item, s->wildcard->set);
    for (size_t i = 0; i < s->tenants.count; i++) {
        const struct config_entry *e = &s->tenants.at[i];
        if (e == s->wildcard)
            continue;
        struct tenant_limits *t = &s->names[s->name_count++];
        *t = s->others;
        t->entry = e;
        config_merge(s->tenants.table, &t->limits, e->item, e->set);
    }
    qsort(s->names, s->name_count, sizeof *s->names, by_name);
    return 0;
}

/* name NULL: there is no file. */
static int snapshot_new(const struct overrides_opts *opts, const char *name, struct slice text,
                        struct snapshot **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_set(err, ERR_NOMEM, "no memory for the limits of tenants");
    (*out)->refs = 1;
    int rc = 0;
    if (name)
        rc = read_text(opts, name, text, &(*out)->tenants, &(*out)->config, err);
    return rc < 0 ? rc : resolve(*out, &opts->cfg->overrides.defaults, err);
}

/* ---- holding ---- */

struct snapshot *overrides_snapshot_acquire(struct overrides *o)
{
    pthread_mutex_lock(&o->mu);
    struct snapshot *s = o->current;
    s->refs++;
    pthread_mutex_unlock(&o->mu);
    return s;
}

void overrides_snapshot_release(struct overrides *o, struct snapshot *s)
{
    pthread_mutex_lock(&o->mu);
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&o->mu);
    if (last)
        snapshot_free(s);
}

const struct tenant_limits *overrides_find(const struct snapshot *s, struct slice tenant)
{
    size_t lo = 0, hi = s->name_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = slice_cmp(s->names[mid].entry->name, tenant);
        if (d == 0)
            return &s->names[mid];
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return &s->others;
}

const struct overrides_limits *overrides_acquire(struct overrides *o, struct slice tenant)
{
    return &overrides_find(overrides_snapshot_acquire(o), tenant)->limits;
}

void overrides_release(struct overrides *o, const struct overrides_limits *limits)
{
    overrides_snapshot_release(o, ((const struct tenant_limits *)limits)->of);
}

/* ---- questions ---- */

int64_t overrides_block_retention_ns(struct overrides *o, struct slice tenant)
{
    const struct overrides_limits *l = overrides_acquire(o, tenant);
    int64_t ns = l->block_retention_ns;
    overrides_release(o, l);
    return ns;
}

int64_t overrides_compaction_window_ns(struct overrides *o, struct slice tenant)
{
    const struct overrides_limits *l = overrides_acquire(o, tenant);
    int64_t ns = l->compaction_window_ns;
    overrides_release(o, l);
    return ns;
}

bool overrides_compaction_disabled(struct overrides *o, struct slice tenant)
{
    const struct overrides_limits *l = overrides_acquire(o, tenant);
    bool disabled = l->compaction_disabled;
    overrides_release(o, l);
    return disabled;
}

const struct config_items *overrides_dedicated_columns(const struct overrides *o,
                                                       const struct overrides_limits *limits)
{
    return limits->parquet_dedicated_columns.count
               ? &limits->parquet_dedicated_columns
               : &o->opts.cfg->storage.trace.block.parquet_dedicated_columns;
}

/* ---- metrics ---- */

static void set_limit(struct metrics_family *f, const char *name, const struct slice *user,
                      uint64_t value)
{
    const struct slice labels[] = {slice_cstr(name), user ? *user : slice_of(NULL, 0)};
    gauge_set(metrics_gauge_with(f, labels), value < INT64_MAX ? (int64_t)value : INT64_MAX);
}

static void set_limits(struct metrics_family *f, const struct slice *user,
                       const struct overrides_limits *l)
{
    set_limit(f, "ingestion_rate_limit_bytes", user, l->rate_limit_bytes);
    set_limit(f, "ingestion_burst_size_bytes", user, l->burst_size_bytes);
    set_limit(f, "max_bytes_per_trace", user, l->max_bytes_per_trace);
    set_limit(f, "block_retention", user, (uint64_t)l->block_retention_ns);
}

static void register_metrics(struct overrides *o, struct metrics *m)
{
    static const char *const by_limit[] = {"limit_name", "user"};
    static const char *const by_config[] = {"config", "sha256"};
    o->m.defaults =
        metrics_gauge_family(m, "tempo_limits_defaults", "Default resource limits", by_limit, 1);
    const struct overrides_limits *d = &o->opts.cfg->overrides.defaults;
    set_limits(o->m.defaults, NULL, d);
    set_limit(o->m.defaults, "max_bytes_per_tag_values_query", NULL,
              d->max_bytes_per_tag_values_query);
    set_limit(o->m.defaults, "max_blocks_per_tag_values_query", NULL,
              (uint64_t)d->max_blocks_per_tag_values_query);
    if (o->opts.cfg->overrides.per_tenant_override_config.len == 0)
        return;
    o->m.of_tenants = metrics_gauge_family(
        m, "tempo_limits_overrides", "Resource limit overrides applied to tenants", by_limit, 2);
    o->m.reloaded = metrics_gauge_family(m, "tempo_runtime_config_last_reload_successful",
                                         "Whether the last runtime-config reload attempt was "
                                         "successful.",
                                         by_config, 1);
    o->m.hash = metrics_gauge_family(m, "tempo_runtime_config_hash",
                                     "Hash of the currently active runtime config.", by_config, 2);
}

static void show_snapshot(struct overrides *o, const struct snapshot *s)
{
    char hex[64];
    hex_encode(slice_of(o->last_hash, sizeof o->last_hash), hex);
    const struct slice labels[] = {SLICE("overrides"), slice_of(hex, sizeof hex)};
    metrics_family_hide(o->m.hash);
    gauge_set(metrics_gauge_with(o->m.hash, labels), 1);
    metrics_family_hide(o->m.of_tenants);
    if (s->wildcard)
        set_limits(o->m.of_tenants, &s->wildcard->name, &s->others.limits);
    for (size_t i = 0; i < s->name_count; i++)
        set_limits(o->m.of_tenants, &s->names[i].entry->name, &s->names[i].limits);
}

/* ---- reading again ---- */

static void tell_notes(const struct overrides *o, const struct config *c)
{
    for (size_t i = 0; c && i < config_note_count(c); i++) {
        struct config_note n = config_note_at(c, i);
        LOG_AT(&o->log, n.fault ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "limits of tenants",
               KV_STR("note", n.text));
    }
}

static int take(struct overrides *o, const char *name, struct slice text, struct err *err)
{
    struct snapshot *fresh;
    int rc = snapshot_new(&o->opts, name, text, &fresh, err);
    if (fresh && name)
        tell_notes(o, fresh->config);
    if (rc < 0) {
        snapshot_free(fresh);
        return rc;
    }
    if (name) {
        LOG_INFO(&o->log, "limits of tenants read", KV_STR("file", name),
                 KV_U64("tenants", fresh->name_count), KV_BOOL("wildcard", fresh->wildcard));
        show_snapshot(o, fresh);
    }
    pthread_mutex_lock(&o->mu);
    struct snapshot *old = o->current;
    o->current = fresh;
    pthread_mutex_unlock(&o->mu);
    if (old)
        overrides_snapshot_release(o, old);
    return 0;
}

/* The text, unless it is the one that was read last: then *same. */
static int fetch(struct overrides *o, const char **name, struct buf *text, bool *same,
                 struct err *err)
{
    uint8_t hash[sizeof o->last_hash];
    *same = false;
    /* A string of the configuration has a NUL behind it. */
    const char *path = (const char *)o->opts.cfg->overrides.per_tenant_override_config.ptr;
    int rc = config_file_text(path, name, text, err);
    if (rc < 0)
        return rc;
    if (EVP_Digest(text->ptr ? text->ptr : (const uint8_t *)"", text->len, hash, NULL, EVP_sha256(),
                   NULL) != 1)
        return err_set(err, ERR_NOMEM, "no memory to look at %s", path);
    *same = o->current && memcmp(hash, o->last_hash, sizeof hash) == 0;
    memcpy(o->last_hash, hash, sizeof hash);
    return 0;
}

int overrides_reload(struct overrides *o, struct err *err)
{
    struct buf text;
    const char *name = "";
    bool same;
    struct err why = {0};
    if (o->opts.cfg->overrides.per_tenant_override_config.len == 0)
        return 0;
    buf_init(&text, LIMIT_OVERRIDES_BYTES);
    pthread_mutex_lock(&o->reload_mu);
    int rc = fetch(o, &name, &text, &same, &why);
    bool told = rc < 0 && rc == o->last_rc;
    if (rc < 0)
        memset(o->last_hash, 0, sizeof o->last_hash); /* what comes back is read again */
    else if (same)
        rc = o->last_rc < 0 ? err_set(&why, o->last_rc, "%s is still the file with faults", name)
                            : 0;
    else
        rc = take(o, name, buf_view(&text), &why);
    if (rc < 0 && !same && !told)
        LOG_ERROR(&o->log, "limits of tenants cannot be read: what was there stays", KV_ERR(&why));
    const struct slice config = SLICE("overrides");
    gauge_set(metrics_gauge_with(o->m.reloaded, &config), rc == 0);
    o->last_rc = rc;
    pthread_mutex_unlock(&o->reload_mu);
    buf_clear(&text);
    return rc < 0 ? err_set(err, rc, "%s", why.msg) : 0;
}

static void *reload_thread(void *arg)
{
    struct overrides *o = arg;
    pthread_mutex_lock(&o->mu);
    while (!o->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t at = (uint64_t)until.tv_nsec +
                      (uint64_t)o->opts.cfg->overrides.per_tenant_override_period_ns;
        until.tv_sec += (time_t)(at / NS_PER_S);
        until.tv_nsec = (long)(at % NS_PER_S);
        while (!o->stop && pthread_cond_timedwait(&o->wake, &o->mu, &until) == 0)
            ;
        if (o->stop)
            break;
        pthread_mutex_unlock(&o->mu);
        (void)overrides_reload(o, NULL); /* it has told what there is to tell */
        pthread_mutex_lock(&o->mu);
    }
    pthread_mutex_unlock(&o->mu);
    return NULL;
}

/* ---- life ---- */

int overrides_new(const struct overrides_opts *opts, struct overrides **out, struct err *err)
{
    struct overrides *o = calloc(1, sizeof *o);
    if (!o)
        return err_set(err, ERR_NOMEM, "no memory for the limits of tenants");
    o->opts = *opts;
    o->log = log_room(opts->log, "overrides");
    pthread_mutex_init(&o->mu, NULL);
    pthread_mutex_init(&o->reload_mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&o->wake, &attr);
    pthread_condattr_destroy(&attr);
    register_metrics(o, opts->metrics);
    int rc = opts->cfg->overrides.per_tenant_override_config.len
                 ? overrides_reload(o, err)
                 : take(o, NULL, slice_of(NULL, 0), err);
    if (rc < 0) {
        overrides_free(o);
        return rc;
    }
    *out = o;
    return 0;
}

int overrides_start(struct overrides *o, struct err *err)
{
    if (o->opts.cfg->overrides.per_tenant_override_config.len == 0)
        return 0;
    int rc = pthread_create(&o->thread, NULL, reload_thread, o);
    if (rc != 0)
        return err_set(err, ERR_NOMEM, "cannot make a thread: %s", strerrordesc_np(rc));
    o->thread_runs = true;
    pthread_setname_np(o->thread, "overrides");
    return 0;
}

void overrides_free(struct overrides *o)
{
    if (!o)
        return;
    if (o->thread_runs) {
        pthread_mutex_lock(&o->mu);
        o->stop = true;
        pthread_cond_signal(&o->wake);
        pthread_mutex_unlock(&o->mu);
        pthread_join(o->thread, NULL);
    }
    assert(!o->current || o->current->refs == 1);
    snapshot_free(o->current);
    pthread_cond_destroy(&o->wake);
    pthread_mutex_destroy(&o->reload_mu);
    pthread_mutex_destroy(&o->mu);
    free(o);
}

int overrides_verify(const struct overrides_opts *opts, struct config **out, struct err *err)
{
    struct slice path = opts->cfg->overrides.per_tenant_override_config;
    struct buf text;
    struct config_map tenants;
    const char *name;
    *out = NULL;
    if (path.len == 0)
        return 0;
    buf_init(&text, LIMIT_OVERRIDES_BYTES);
    int rc = config_file_text((const char *)path.ptr, &name, &text, err);
    if (rc == 0)
        rc = read_text(opts, name, buf_view(&text), &tenants, out, err);
    buf_clear(&text);
    return rc;
}
