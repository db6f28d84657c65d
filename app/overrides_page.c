/* What an operator sees of the limits: which tenants have their own, what holds for one of them and
 * where each value is from. */
#include <stdlib.h>

#include "app/app_config_keys_priv.h"
#include "app/overrides_priv.h"
#include "base/text.h"

static int write_html_text(struct buf *b, struct slice s)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            rc = buf_str(b, "&amp;");
            break;
        case '<':
            rc = buf_str(b, "&lt;");
            break;
        case '>':
            rc = buf_str(b, "&gt;");
            break;
        case '"':
            rc = buf_str(b, "&quot;");
            break;
        default:
            rc = buf_u8(b, s.ptr[i]);
        }
    }
    return rc;
}

static int write_html_head(struct buf *b, const char *title)
{
    return buf_printf(b,
                      "<!DOCTYPE html>\n<html>\n<head><meta charset=\"UTF-8\"><title>%s</title>"
                      "</head>\n<body>\n<h1>%s</h1>\n",
                      title, title);
}

/* ---- /status/overrides ---- */

static int write_list_html(const struct snapshot *s, const char *now, struct buf *b)
{
    int rc = write_html_head(b, "Overrides");
    rc = rc < 0 ? rc
                : buf_printf(b,
                             "<p>Current time: %s</p>\n<table border=\"1\">\n<tr><th>Tenant</th>"
                             "<th>Has runtime overrides</th>"
                             "<th>Has user-configurable overrides</th></tr>\n",
                             now);
    for (size_t i = 0; rc == 0 && i < s->tenants.count; i++) {
        struct slice name = s->tenants.at[i].name;
        rc = buf_str(b, "<tr><td><a href=\"overrides/");
        rc = rc < 0 ? rc : write_html_text(b, name);
        rc = rc < 0 ? rc : buf_str(b, "\">");
        rc = rc < 0 ? rc : write_html_text(b, name);
        rc = rc < 0 ? rc : buf_str(b, "</a></td><td>yes</td><td>no</td></tr>\n");
    }
    return rc < 0 ? rc : buf_str(b, "</table>\n</body>\n</html>\n");
}

static int write_list_json(const struct snapshot *s, const char *now, struct buf *b)
{
    int rc = buf_printf(b, "{\"now\":\"%s\",\"tenants\":[", now);
    for (size_t i = 0; rc == 0 && i < s->tenants.count; i++) {
        rc = buf_str(b, i ? ",{\"name\":" : "{\"name\":");
        rc = rc < 0 ? rc : buf_json_string(b, s->tenants.at[i].name);
        rc = rc < 0 ? rc
                    : buf_str(b, ",\"has_runtime_overrides\":true,"
                                 "\"has_user_configurable_overrides\":false}");
    }
    return rc < 0 ? rc : buf_str(b, "]}\n");
}

int overrides_write_list(struct overrides *o, bool json, struct buf *out)
{
    char now[36];
    time_format_rfc3339(clock_unix_ns(o->opts.clock), now);
    struct snapshot *s = overrides_snapshot_acquire(o);
    int rc = json ? write_list_json(s, now, out) : write_list_html(s, now, out);
    overrides_snapshot_release(o, s);
    return rc;
}

/* ---- /status/overrides/{tenant} ---- */

/* Whether the row's value is set in it, by its own name or an older one. */
static bool is_set(const struct config_table *t, const struct config_entry *e, size_t row)
{
    const struct config_key *k = &t->keys[row];
    for (size_t i = 0; e && k->path && i < t->count; i++) {
        const char *instead = t->keys[i].instead;
        if (e->set[i] && (i == row || (instead && strcmp(instead, k->path) == 0)))
            return true;
    }
    return false;
}

/* All limits of the tenant, each with the place that it is from. */
static int write_limits(const struct snapshot *s, const struct tenant_limits *t, struct buf *b)
{
    if (!s->config)
        return config_write_item(&overrides_scoped_table, &t->limits, 0, NULL, b);
    const struct config_table *table = s->tenants.table;
    const char **from = calloc(table->count, sizeof *from);
    if (!from)
        return ERR_NOMEM;
    for (size_t i = 0; i < table->count; i++)
        from[i] = is_set(table, t->entry, i)      ? "tenant"
                  : is_set(table, s->wildcard, i) ? "\"*\""
                                                  : "defaults";
    int rc = config_write_item(table, &t->limits, 0, from, b);
    free(from);
    return rc;
}

static int write_tenant_html(struct slice tenant, const struct tenant_limits *t, struct slice yaml,
                             struct buf *b)
{
    int rc = write_html_head(b, "Overrides of a tenant");
    rc = rc < 0 ? rc : buf_str(b, "<h2>");
    rc = rc < 0 ? rc : write_html_text(b, tenant);
    rc = rc < 0 ? rc : buf_str(b, "</h2>\n<h3>Runtime overrides</h3>\n");
    if (rc == 0 && !t->entry)
        rc = buf_str(b, "<p>The tenant has none of its own: these are the wildcard's and the "
                        "defaults.</p>\n");
    rc = rc < 0 ? rc : buf_str(b, "<pre>");
    rc = rc < 0 ? rc : write_html_text(b, yaml);
    return rc < 0 ? rc : buf_str(b, "</pre>\n</body>\n</html>\n");
}

int overrides_write_tenant(struct overrides *o, struct slice tenant, bool json, struct buf *out)
{
    struct snapshot *s = overrides_snapshot_acquire(o);
    const struct tenant_limits *t = overrides_find(s, tenant);
    struct buf yaml;
    buf_init(&yaml, out->max);
    int rc = write_limits(s, t, &yaml);
    if (rc == 0 && !json)
        rc = write_tenant_html(tenant, t, buf_view(&yaml), out);
    if (rc == 0 && json) {
        rc = buf_str(out, "{\"user_configurable_overrides\":\"\",\"runtime_overrides\":");
        rc = rc < 0 ? rc : buf_json_string(out, buf_view(&yaml));
        rc = rc < 0 ? rc
                    : buf_printf(out, ",\"using_default_or_wildcard_runtime_overrides\":%s}\n",
                                 t->entry ? "false" : "true");
    }
    buf_clear(&yaml);
    overrides_snapshot_release(o, s);
    return rc;
}

/* ---- /status/runtime_config ---- */

/* What the entry itself sets. */
static int write_entry(const struct config_table *table, const struct config_entry *e,
                       struct buf *b)
{
    const char **set = calloc(table->count, sizeof *set);
    if (!set)
        return ERR_NOMEM;
    bool any = false;
    for (size_t i = 0; i < table->count; i++) {
        set[i] = is_set(table, e, i) ? "" : NULL;
        any |= set[i] != NULL;
    }
    int rc = buf_str(b, "  ");
    rc = rc < 0 ? rc : buf_json_string(b, e->name);
    rc = rc < 0 ? rc : buf_str(b, any ? ":\n" : ": {}\n");
    rc = rc < 0 ? rc : config_write_item(table, e->item, 4, set, b);
    free(set);
    return rc;
}

int overrides_write_all(struct overrides *o, bool diff, struct buf *out)
{
    struct snapshot *s = overrides_snapshot_acquire(o);
    int rc = 0;
    if (!diff) {
        rc = buf_str(out, "defaults:\n");
        rc = rc < 0 ? rc
                    : config_write_item(&overrides_scoped_table, &o->opts.cfg->overrides.defaults,
                                        2, NULL, out);
    }
    rc = rc < 0 ? rc : buf_str(out, s->tenants.count ? "overrides:\n" : "overrides: {}\n");
    for (size_t i = 0; rc == 0 && i < s->tenants.count; i++)
        rc = write_entry(s->tenants.table, &s->tenants.at[i], out);
    rc = rc < 0 ? rc : buf_str(out, "user_configurable_overrides: {}\n");
    overrides_snapshot_release(o, s);
    return rc;
}
