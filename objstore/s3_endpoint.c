/* Endpoints: taking the configured one apart, path or virtual-host style, and what redirects teach.
 */
#include "objstore/s3_endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool copy(struct slice s, char *out, size_t out_size)
{
    if (s.len >= out_size)
        return false;
    if (s.len)
        memcpy(out, s.ptr, s.len);
    out[s.len] = 0;
    return true;
}

static bool only(struct slice s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && !(c && strchr(more, c)))
            return false;
    }
    return s.len > 0;
}

/* Host without port; a bracketed IPv6 address keeps its brackets. */
static struct slice host_name(struct slice authority)
{
    if (authority.len && authority.ptr[0] == '[') {
        size_t end = slice_find(authority, ']');
        return slice_of(authority.ptr, end < authority.len ? end + 1 : end);
    }
    return slice_of(authority.ptr, slice_find(authority, ':'));
}

static bool is_ip(struct slice name)
{
    char text[64];
    struct in_addr v4;
    return (name.len && name.ptr[0] == '[') ||
           (copy(name, text, sizeof text) && inet_pton(AF_INET, text, &v4) == 1);
}

static bool is_aws(struct slice name)
{
    return slice_ends(name, SLICE(".amazonaws.com")) ||
           slice_ends(name, SLICE(".amazonaws.com.cn"));
}

/* s3.amazonaws.com, s3.REGION.amazonaws.com, s3-REGION.amazonaws.com; not a private endpoint. */
static bool is_aws_standard(struct slice name)
{
    return is_aws(name) && (slice_starts(name, SLICE("s3.")) || slice_starts(name, SLICE("s3-")));
}

static struct slice region_in_host(struct slice name)
{
    if (!is_aws_standard(name))
        return slice_of(NULL, 0);
    struct slice rest = slice_from(name, 3);
    if (slice_starts(rest, SLICE("dualstack.")))
        rest = slice_from(rest, 10);
    size_t n = slice_find(rest, '.');
    struct slice region = slice_of(rest.ptr, n);
    return slice_eq(region, SLICE("amazonaws")) ? slice_of(NULL, 0) : region;
}

static void set_host(struct s3_endpoint *ep)
{
    if (ep->path_style)
        snprintf(ep->host, sizeof ep->host, "%s", ep->base_host);
    else
        snprintf(ep->host, sizeof ep->host, "%.63s.%s", ep->bucket, ep->base_host);
}

/* Scheme off, default port off (curl leaves it off the Host header, so the signature must too). */
static int take_endpoint(struct s3_endpoint *ep, struct slice endpoint, bool insecure,
                         struct err *err)
{
    struct slice s = endpoint;
    ep->https = !insecure;
    if (slice_starts(s, SLICE("https://"))) {
        ep->https = true;
        s = slice_from(s, 8);
    } else if (slice_starts(s, SLICE("http://"))) {
        ep->https = false;
        s = slice_from(s, 7);
    }
    while (s.len && s.ptr[s.len - 1] == '/')
        s.len--;
    struct slice default_port = ep->https ? SLICE(":443") : SLICE(":80");
    if (slice_ends(s, default_port))
        s.len -= default_port.len;
    if (!only(s, ".-:[]") || !copy(s, ep->base_host, sizeof ep->base_host))
        return err_set(err, ERR_INVALID,
                       "s3 endpoint '%.*s': expected host, host:port or a URL of "
                       "these without a path",
                       (int)(endpoint.len < 200 ? endpoint.len : 200), (const char *)endpoint.ptr);
    return 0;
}

int s3_endpoint_init(struct s3_endpoint *ep, const struct s3_endpoint_opts *opts, struct err *err)
{
    *ep = (struct s3_endpoint){.https = true};
    if (!only(opts->bucket, ".-_") || !copy(opts->bucket, ep->bucket, sizeof ep->bucket))
        return err_set(
            err, ERR_INVALID, "s3 bucket '%.*s': expected 1 to 255 of a-z, 0-9, '.', '-'",
            (int)(opts->bucket.len < 200 ? opts->bucket.len : 200), (const char *)opts->bucket.ptr);
    if (opts->region.len &&
        (!only(opts->region, "-_") || !copy(opts->region, ep->region, sizeof ep->region)))
        return err_set(err, ERR_INVALID, "s3 region: expected a name like eu-west-1");
    if (opts->endpoint.len == 0) {
        struct slice region = slice_cstr(ep->region[0] ? ep->region : "us-east-1");
        ep->https = !opts->insecure;
        snprintf(ep->base_host, sizeof ep->base_host, "s3.%.*s.amazonaws.com%s", SLICE_ARGS(region),
                 slice_starts(region, SLICE("cn-")) ? ".cn" : "");
    } else {
        int rc = take_endpoint(ep, opts->endpoint, opts->insecure, err);
        if (rc < 0)
            return rc;
    }
    struct slice authority = slice_cstr(ep->base_host);
    struct slice name = host_name(authority);
    if (!ep->region[0] && !copy(region_in_host(name), ep->region, sizeof ep->region))
        ep->region[0] = 0;
    if (!ep->region[0])
        copy(SLICE("us-east-1"), ep->region, sizeof ep->region);
    bool dotted = slice_find(opts->bucket, '.') < opts->bucket.len;
    /* Only where the name is sure to resolve, and a certificate's wildcard to cover it. */
    ep->path_style = opts->forcepathstyle || !is_aws(name) || name.len != authority.len ||
                     is_ip(name) || (dotted && ep->https) || opts->bucket.len > 63;
    set_host(ep);
    return 0;
}

bool s3_endpoint_learn_region(struct s3_endpoint *ep, struct slice region)
{
    if (!only(region, "-") || region.len >= sizeof ep->region ||
        slice_eq(region, slice_cstr(ep->region)))
        return false;
    copy(region, ep->region, sizeof ep->region);
    if (is_aws_standard(slice_cstr(ep->base_host))) {
        snprintf(ep->base_host, sizeof ep->base_host, "s3.%s.amazonaws.com%s", ep->region,
                 slice_starts(region, SLICE("cn-")) ? ".cn" : "");
        set_host(ep);
    }
    return true;
}

bool s3_endpoint_learn_location(struct s3_endpoint *ep, struct slice location)
{
    bool https = slice_starts(location, SLICE("https://"));
    if (!https && (ep->https || !slice_starts(location, SLICE("http://"))))
        return false;
    struct slice rest = slice_from(location, https ? 8 : 7);
    size_t slash = slice_find(rest, '/');
    struct slice authority = slice_of(rest.ptr, slash);
    struct slice path = slice_from(rest, slash + 1);
    if (!only(authority, ".-:[]") || authority.len >= sizeof ep->base_host)
        return false;
    struct slice bucket = slice_cstr(ep->bucket);
    struct s3_endpoint was = *ep;
    size_t first = slice_find(path, '/');
    ep->https = https;
    ep->path_style = slice_eq(
        slice_of(path.ptr, slice_find(path, '?') < first ? slice_find(path, '?') : first), bucket);
    if (!ep->path_style && slice_starts(authority, bucket) && authority.len > bucket.len + 1 &&
        authority.ptr[bucket.len] == '.')
        copy(slice_from(authority, bucket.len + 1), ep->base_host, sizeof ep->base_host);
    else
        copy(authority, ep->base_host, sizeof ep->base_host);
    copy(authority, ep->host, sizeof ep->host);
    return ep->https != was.https || ep->path_style != was.path_style ||
           strcmp(ep->host, was.host) != 0;
}

int s3_endpoint_path(const struct s3_endpoint *ep, struct slice key, struct buf *out)
{
    int rc = buf_u8(out, '/');
    if (rc == 0 && ep->path_style) {
        rc = buf_str(out, ep->bucket);
        if (rc == 0 && key.len)
            rc = buf_u8(out, '/');
    }
    return rc == 0 ? buf_slice(out, key) : rc;
}
