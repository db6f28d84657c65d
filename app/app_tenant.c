/* Whose data a request is about. The rules and the texts are Tempo 3.0's; a name that our own
 * layout of the bucket uses is refused as well. */
#include "app/app_priv.h"
#include "base/text.h"

static bool is_tenant_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!-_.*'()", c));
}

static int check_name(struct slice name, struct err *err)
{
    char shown[LIMIT_TENANT_BYTES * 4 + 8];
    for (size_t i = 0; i < name.len; i++) {
        if (is_tenant_byte(name.ptr[i]))
            continue;
        /* The whole character, when it is one. */
        size_t n = utf8_prefix(slice_from(name, i), 1);
        for (size_t most = 2; n == 0 && most <= 4; most++)
            n = utf8_prefix(slice_from(name, i), most);
        char bad[24];
        text_escape(slice_of(name.ptr + i, n ? n : 1), 4, bad, sizeof bad);
        return err_set(err, ERR_INVALID, "tenant ID '%.300s' contains unsupported character '%s'",
                       text_escape(name, LIMIT_TENANT_BYTES, shown, sizeof shown), bad);
    }
    if (name.len > LIMIT_TENANT_BYTES)
        return err_set(err, ERR_INVALID, "tenant ID is too long: max %d characters",
                       LIMIT_TENANT_BYTES);
    if (slice_eq(name, SLICE(".")) || slice_eq(name, SLICE("..")))
        return err_set(err, ERR_INVALID, "tenant ID is '.' or '..'");
    if (slice_eq(name, SLICE("overrides")) || slice_starts(name, SLICE("_rubato")))
        return err_set(err, ERR_INVALID, "tenant ID '%.*s' is reserved", SLICE_ARGS(name));
    return 0;
}

/* What the one header says. */
static int header(const struct net_request *req, struct slice *value, struct err *err)
{
    *value = net_request_header(req, "x-scope-orgid");
    /* Two names are as good as none: which one is meant is not ours to guess. */
    if (value->len == 0 || net_request_header_count(req, "x-scope-orgid") != 1)
        return err_set(err, ERR_UNAUTHENTICATED, "no org id");
    return 0;
}

int app_tenant(const struct app *app, const struct net_request *req, struct slice *tenant,
               struct err *err)
{
    struct slice name;
    if (!app->cfg.multitenancy_enabled) {
        *tenant = SLICE("single-tenant");
        return 0;
    }
    int rc = header(req, &name, err);
    if (rc == 0)
        rc = check_name(name, err);
    if (rc == 0)
        *tenant = name;
    return rc;
}

/* Puts the name where it belongs, unless it is there. */
static int add_name(struct slice name, struct slice *tenants, size_t max, size_t *count,
                    struct err *err)
{
    size_t at = 0;
    while (at < *count && slice_cmp(tenants[at], name) < 0)
        at++;
    if (at < *count && slice_eq(tenants[at], name))
        return 0;
    if (*count == max)
        return err_set(err, ERR_INVALID, "more than %zu tenants in one query", max);
    memmove(tenants + at + 1, tenants + at, (*count - at) * sizeof *tenants);
    tenants[at] = name;
    (*count)++;
    return 0;
}

int app_tenants(const struct app *app, const struct net_request *req, struct slice *tenants,
                size_t max, size_t *count, struct err *err)
{
    struct slice left;
    *count = 0;
    if (!app->cfg.multitenancy_enabled || !app->cfg.query_frontend.multi_tenant_queries_enabled) {
        int rc = app_tenant(app, req, tenants, err);
        *count = rc == 0;
        return rc;
    }
    int rc = header(req, &left, err);
    for (bool more = true; rc == 0 && more;) {
        size_t n = slice_find(left, '|');
        struct slice name = slice_of(left.ptr, n);
        more = n < left.len;
        left = slice_from(left, n + 1);
        rc = n ? check_name(name, err)
               : err_set(err, ERR_INVALID,
                         "tenant ID is empty between the '|' of a query's tenants");
        if (rc == 0)
            rc = add_name(name, tenants, max, count, err);
    }
    return rc;
}
