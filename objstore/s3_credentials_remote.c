/* Credentials that are asked for over HTTP: STS with a web identity token, the container endpoint,
 * and the instance metadata service, version 2 only (version 1 hands keys to anyone who can make us
 * send a GET). */
#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "base/text.h"
#include "objstore/s3_credentials_priv.h"
#include "objstore/s3_text.h"
#include "objstore/s3_xml.h"

#define TRIES 3
#define URL_BYTES 2048

/* ---- asking ---- */

static int ask_once(const struct s3_source_env *env, struct http_call *call, struct err *err)
{
    http_call_clear(call);
    buf_init(&call->out, LIMIT_CREDENTIALS_ANSWER_BYTES);
    call->deadline_mono_ns = env->deadline_ns;
    call->connect_timeout_ms = LIMIT_CREDENTIALS_CONNECT_MS;
    int rc = http_client_run(env->http, call);
    if (rc < 0)
        return err_set(err, rc, "%s", call->err.msg);
    if (call->status == 200)
        return 0;
    char shown[256];
    struct s3_error e;
    s3_xml_error(buf_view(&call->out), &e);
    return err_set(err, call->status >= 500 || call->status == 429 ? ERR_IO : ERR_DENIED,
                   "%.200s answered %d: %s", call->url, call->status,
                   e.code[0] ? e.code : text_escape(buf_view(&call->out), 80, shown, sizeof shown));
}

/* The answer is in call->out; the caller clears the call in every case. */
static int ask(const struct s3_source_env *env, struct http_call *call, struct err *err)
{
    int rc = ERR_IO;
    for (int i = 0; i < TRIES && (rc == ERR_IO || rc == ERR_TIMEOUT); i++) {
        rc = ask_once(env, call, err);
        if (clock_mono_ns(env->clock) >= env->deadline_ns)
            break;
    }
    return rc;
}

static void forget(struct http_call *call)
{
    if (call->out.cap)
        OPENSSL_cleanse(call->out.ptr, call->out.cap);
    http_call_clear(call);
}

static bool set_expiry(struct s3_credentials *out, struct slice text)
{
    return text.len == 0 || time_parse_rfc3339(text, &out->expires_unix_ns);
}

static struct slice json_text(const cJSON *doc, const char *name)
{
    return slice_cstr(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(doc, name)));
}

/* {"AccessKeyId": …, "SecretAccessKey": …, "Token": …, "Expiration": …} */
static int read_json(struct slice text, struct s3_credentials *out, struct err *err)
{
    *out = (struct s3_credentials){.expires_unix_ns = 0};
    cJSON *doc = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    struct slice code = json_text(doc, "Code");
    struct slice access = json_text(doc, "AccessKeyId");
    struct slice secret = json_text(doc, "SecretAccessKey");
    int rc = 0;
    char shown[64];
    if (code.len && !slice_eq(code, SLICE("Success")))
        rc = err_set(err, ERR_DENIED, "the answer's code is %s",
                     text_escape(code, 40, shown, sizeof shown));
    else if (!access.len || !secret.len ||
             !s3_credentials_set(out->access_key, sizeof out->access_key, access) ||
             !s3_credentials_set(out->secret_key, sizeof out->secret_key, secret) ||
             !s3_credentials_set(out->session_token, sizeof out->session_token,
                                 json_text(doc, "Token")) ||
             !set_expiry(out, json_text(doc, "Expiration")))
        rc = err_set(err, ERR_CORRUPT,
                     "the answer is no JSON object with usable AccessKeyId, "
                     "SecretAccessKey, Token and Expiration");
    cJSON_Delete(doc);
    return rc;
}

/* Without the newline that ends files. */
static struct slice trim_end(struct slice s)
{
    while (s.len && s.ptr[s.len - 1] <= ' ')
        s.len--;
    return s;
}

/* ---- web identity ---- */

static int sts_form(const struct s3_source_env *env, const char *role, struct slice token,
                    struct buf *form)
{
    char fallback[40];
    const char *session = s3_source_var(env, "AWS_ROLE_SESSION_NAME");
    snprintf(fallback, sizeof fallback, "rubato-%llu",
             (unsigned long long)(clock_unix_ns(env->clock) / NS_PER_S));
    int rc = buf_str(form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    if (rc == 0)
        rc = s3_uri_encode(form, slice_cstr(role), false);
    if (rc == 0)
        rc = buf_str(form, "&RoleSessionName=");
    if (rc == 0)
        rc = s3_uri_encode(form, slice_cstr(session ? session : fallback), false);
    if (rc == 0)
        rc = buf_str(form, "&WebIdentityToken=");
    if (rc == 0)
        rc = s3_uri_encode(form, token, false);
    return rc;
}

static int read_sts(struct slice xml, struct s3_credentials *out, struct err *err)
{
    *out = (struct s3_credentials){.expires_unix_ns = 0};
    char expires[64];
    struct s3_xml_want wants[] = {
        {"AccessKeyId", out->access_key, sizeof out->access_key},
        {"SecretAccessKey", out->secret_key, sizeof out->secret_key},
        {"SessionToken", out->session_token, sizeof out->session_token},
        {"Expiration", expires, sizeof expires},
    };
    int rc = s3_xml_read(xml, wants, sizeof wants / sizeof wants[0], NULL, 0, err);
    if (rc < 0)
        return rc;
    if (!out->access_key[0] || !out->secret_key[0] || !out->session_token[0] ||
        !set_expiry(out, slice_cstr(expires)))
        return err_set(err, ERR_CORRUPT, "the answer lacks usable credentials");
    return 0;
}

int s3_source_web_identity(const struct s3_source_env *env, struct s3_credentials *out,
                           struct err *err)
{
    const char *path = s3_source_var(env, "AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *role = s3_source_var(env, "AWS_ROLE_ARN");
    if (!path || !role)
        return err_set(err, ERR_NOTFOUND, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
    const char *given = s3_source_var(env, "AWS_ENDPOINT_URL_STS");
    const char *region = env->region[0] ? env->region : "us-east-1";
    char url[URL_BYTES];
    if (given)
        snprintf(url, sizeof url, "%s", given);
    else
        snprintf(url, sizeof url, "https://sts.%s.amazonaws.com%s/", region,
                 strncmp(region, "cn-", 3) == 0 ? ".cn" : "");

    /* Read each time: the token is rotated under us. */
    struct buf token, form;
    int rc = s3_source_read_file(path, &token, err);
    if (rc < 0)
        return rc == ERR_NOTFOUND ? err_set(err, ERR_INVALID, "%s does not exist", path) : rc;
    buf_init(&form, 4 * LIMIT_CREDENTIALS_FILE_BYTES);
    const char *headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    struct http_call call = {.method = "POST", .url = url, .headers = headers};
    rc = sts_form(env, role, trim_end(buf_view(&token)), &form);
    if (rc < 0)
        err_set(err, rc, "no memory for the request");
    call.body = buf_view(&form);
    if (rc == 0)
        rc = ask(env, &call, err);
    if (rc == 0)
        rc = read_sts(buf_view(&call.out), out, err);
    forget(&call);
    if (form.cap)
        OPENSSL_cleanse(form.ptr, form.cap);
    if (token.cap)
        OPENSSL_cleanse(token.ptr, token.cap);
    buf_clear(&form);
    buf_clear(&token);
    return rc;
}

/* ---- container ---- */

/* A plain http URL gets the authorization token only where it cannot leave the host. */
static bool container_url_is_safe(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1",     "localhost",      "[::1]",
                                        "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
    if (strncmp(url, "https://", 8) == 0)
        return true;
    if (strncmp(url, "http://", 7) != 0)
        return false;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        size_t n = strlen(hosts[i]);
        if (strncmp(url + 7, hosts[i], n) == 0 && strchr(":/?", url[7 + n]))
            return true; /* also at the end of the URL: strchr finds the NUL */
    }
    return false;
}

static int container_url(const struct s3_source_env *env, char url[URL_BYTES], struct err *err)
{
    const char *relative = s3_source_var(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = s3_source_var(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full)
        return err_set(err, ERR_NOTFOUND, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set");
    int n = relative ? snprintf(url, URL_BYTES, "http://169.254.170.2%s", relative)
                     : snprintf(url, URL_BYTES, "%s", full);
    if (n < 0 || n >= URL_BYTES || (relative && relative[0] != '/') || !container_url_is_safe(url))
        return err_set(err, ERR_INVALID,
                       "the container credentials URL '%.100s' is neither https "
                       "nor on this host",
                       url);
    return 0;
}

/* "Authorization: …", or an empty text. */
static int container_header(const struct s3_source_env *env, struct buf *out, struct err *err)
{
    const char *path = s3_source_var(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = s3_source_var(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    struct buf file;
    buf_init(&file, 0);
    struct slice value = slice_cstr(token);
    if (path) {
        int rc = s3_source_read_file(path, &file, err);
        if (rc < 0)
            return rc == ERR_NOTFOUND ? err_set(err, ERR_INVALID, "%s does not exist", path) : rc;
        value = trim_end(buf_view(&file));
    }
    char checked[LIMIT_CREDENTIALS_TOKEN_BYTES];
    int rc = 0;
    if (!s3_credentials_set(checked, sizeof checked, value))
        rc = err_set(err, ERR_INVALID,
                     "the container authorization token is too long or has "
                     "control characters");
    else if (value.len && (rc = buf_printf(out, "Authorization: %s", checked)) < 0)
        err_set(err, rc, "no memory for the container authorization token");
    if (rc == 0)
        rc = buf_u8(out, 0);
    buf_clear(&file);
    return rc;
}

int s3_source_container(const struct s3_source_env *env, struct s3_credentials *out,
                        struct err *err)
{
    char url[URL_BYTES];
    int rc = container_url(env, url, err);
    if (rc < 0)
        return rc;
    struct buf header;
    buf_init(&header, LIMIT_CREDENTIALS_TOKEN_BYTES + 64);
    rc = container_header(env, &header, err);
    if (rc == 0) {
        const char *headers[] = {header.len > 1 ? (const char *)header.ptr : NULL, NULL};
        struct http_call call = {.method = "GET", .url = url, .headers = headers, .no_proxy = true};
        rc = ask(env, &call, err);
        if (rc == 0)
            rc = read_json(buf_view(&call.out), out, err);
        forget(&call);
    }
    buf_clear(&header);
    return rc;
}

/* ---- instance metadata ---- */

static int imds_token(const struct s3_source_env *env, const char *base, char *header,
                      size_t header_size, struct err *err)
{
    char url[URL_BYTES], value[1024];
    snprintf(url, sizeof url, "%s/latest/api/token", base);
    const char *headers[] = {"X-aws-ec2-metadata-token-ttl-seconds: 21600", NULL};
    struct http_call call = {.method = "PUT", .url = url, .headers = headers, .no_proxy = true};
    int rc = ask_once(env, &call, err); /* a host without the service must not wait three times */
    if (rc == 0 && !s3_credentials_set(value, sizeof value, trim_end(buf_view(&call.out))))
        rc = err_set(err, ERR_CORRUPT, "the metadata token is too long");
    if (rc == 0)
        snprintf(header, header_size, "X-aws-ec2-metadata-token: %s", value);
    forget(&call);
    return rc;
}

static bool role_is_plain(struct slice role)
{
    for (size_t i = 0; i < role.len; i++) {
        uint8_t c = role.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && !(c && strchr("+=,.@_-", c)))
            return false;
    }
    return role.len > 0 && role.len <= 128;
}

static int imds_role(const struct s3_source_env *env, const char *base, const char *const *headers,
                     char role[129], struct err *err)
{
    char url[URL_BYTES];
    snprintf(url, sizeof url, "%s/latest/meta-data/iam/security-credentials/", base);
    struct http_call call = {.method = "GET", .url = url, .headers = headers, .no_proxy = true};
    int rc = ask(env, &call, err);
    if (rc == 0) {
        struct slice name = buf_view(&call.out);
        name = trim_end(slice_of(name.ptr, slice_find(name, '\n')));
        if (!role_is_plain(name) || !s3_credentials_set(role, 129, name))
            rc = err_set(err, ERR_CORRUPT, "the metadata service names no role");
    }
    forget(&call);
    return rc;
}

int s3_source_instance(const struct s3_source_env *env, struct s3_credentials *out, struct err *err)
{
    const char *off = s3_source_var(env, "AWS_EC2_METADATA_DISABLED");
    if (off && slice_eq_nocase(slice_cstr(off), SLICE("true")))
        return err_set(err, ERR_NOTFOUND, "AWS_EC2_METADATA_DISABLED is set");
    const char *given = s3_source_var(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    char base[512], header[1100], role[129], url[URL_BYTES];
    int n = snprintf(base, sizeof base, "%s", given ? given : "http://169.254.169.254");
    if (n < 0 || (size_t)n >= sizeof base)
        return err_set(err, ERR_INVALID, "AWS_EC2_METADATA_SERVICE_ENDPOINT is too long");
    while (n > 0 && base[n - 1] == '/')
        base[--n] = 0;
    int rc = imds_token(env, base, header, sizeof header, err);
    if (rc < 0) /* nobody there: not set up, unless somebody said that it is */
        return given || rc == ERR_CORRUPT ? rc : ERR_NOTFOUND;
    const char *headers[] = {header, NULL};
    rc = imds_role(env, base, headers, role, err);
    if (rc < 0)
        return rc;
    snprintf(url, sizeof url, "%s/latest/meta-data/iam/security-credentials/%s", base, role);
    struct http_call call = {.method = "GET", .url = url, .headers = headers, .no_proxy = true};
    rc = ask(env, &call, err);
    if (rc == 0)
        rc = read_json(buf_view(&call.out), out, err);
    forget(&call);
    return rc;
}
