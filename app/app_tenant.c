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

int app_tenant(const struct app *app, const struct net_request *req, struct slice *tenant,
               struct err *err)
{
    if (!app->cfg.multitenancy_enabled) {
        *tenant = SLICE("single-tenant");
        return 0;
    }
    struct slice name = net_request_header(req, "x-scope-orgid");
    /* Two names are as good as none: which one is meant is not ours to guess. */
    if (name.len == 0 || net_request_header_count(req, "x-scope-orgid") != 1)
        return err_set(err, ERR_UNAUTHENTICATED, "no org id");
    int rc = check_name(name, err);
    if (rc == 0)
        *tenant = name;
    return rc;
}
