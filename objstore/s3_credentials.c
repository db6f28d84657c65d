/* The chain of credential sources: picks one, keeps what it gave, and asks again in time.
 *
 * One thread fetches while the others go on with the old keys, so that a slow metadata service
 * never stops requests that still have valid keys. */
#include "objstore/s3_credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "objstore/s3_credentials_priv.h"

struct source {
    const char *name;
    s3_source_fn *fetch;
};

struct s3_credentials_chain {
    struct s3_source_env env; /* deadline_ns unused here */
    const struct log *log;
    char region[64];
    struct s3_credentials configured;
    struct { /* hold mu */
        pthread_mutex_t mu;
        pthread_cond_t cond;
        const struct source *source; /* once one has given keys */
        struct s3_credentials now;
        bool have;
        bool rejected;
        bool fetching;
        uint64_t refresh_unix_ns; /* 0: never */
        uint64_t again_mono_ns;   /* after a failure: not before */
        struct err failure;
    } shared;
};

/* ---- local sources ---- */

const char *s3_source_var(const struct s3_source_env *env, const char *name)
{
    const char *v = env->getenv(env->getenv_ctx, name);
    return v && v[0] ? v : NULL;
}

bool s3_credentials_set(char *field, size_t field_size, struct slice value)
{
    /* No control characters: they would end up in a header. */
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
            return false;
    }
    if (value.len >= field_size)
        return false;
    if (value.len)
        memcpy(field, value.ptr, value.len);
    field[value.len] = 0;
    return true;
}

static bool set_all(struct s3_credentials *out, struct slice access, struct slice secret,
                    struct slice token)
{
    *out = (struct s3_credentials){.expires_unix_ns = 0};
    return s3_credentials_set(out->access_key, sizeof out->access_key, access) &&
           s3_credentials_set(out->secret_key, sizeof out->secret_key, secret) &&
           s3_credentials_set(out->session_token, sizeof out->session_token, token);
}

static int source_environment(const struct s3_source_env *env, struct s3_credentials *out,
                              struct err *err)
{
    static const char *const pairs[][2] = {
        {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        {"AWS_ACCESS_KEY", "AWS_SECRET_KEY"},
        {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
        {"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const char *access = s3_source_var(env, pairs[i][0]);
        const char *secret = s3_source_var(env, pairs[i][1]);
        if (!access || !secret)
            continue;
        const char *token = i < 2 ? s3_source_var(env, "AWS_SESSION_TOKEN") : NULL;
        if (!set_all(out, slice_cstr(access), slice_cstr(secret), slice_cstr(token)))
            return err_set(err, ERR_INVALID, "%s or its companions hold no usable value",
                           pairs[i][0]);
        return 0;
    }
    return err_set(err, ERR_NOTFOUND, "AWS_ACCESS_KEY_ID is not set");
}

int s3_source_read_file(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_DENIED,
                       "%s: %s", path, strerror(errno));
    buf_init(out, LIMIT_CREDENTIALS_FILE_BYTES);
    int rc = 0;
    for (;;) {
        rc = buf_reserve(out, 4096);
        if (rc < 0)
            break;
        ssize_t n = read(fd, out->ptr + out->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = ERR_IO;
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    int e = errno;
    close(fd);
    if (rc == 0)
        return 0;
    buf_clear(out);
    return err_set(err, rc, "%s: %s", path, rc == ERR_IO ? strerror(e) : err_code_name(rc));
}

static struct slice trim(struct slice s)
{
    while (s.len && strchr(" \t\r", s.ptr[0]) && s.ptr[0])
        s = slice_from(s, 1);
    while (s.len && strchr(" \t\r", s.ptr[s.len - 1]) && s.ptr[s.len - 1])
        s.len--;
    return s;
}

static struct slice next_line(struct slice *rest)
{
    size_t n = slice_find(*rest, '\n');
    struct slice line = trim(slice_of(rest->ptr, n));
    *rest = slice_from(*rest, n + 1);
    return line;
}

/* The keys of one [profile] of an INI file. */
static int read_profile(struct slice file, struct slice profile, struct s3_credentials *out)
{
    bool inside = false;
    struct slice access = {0}, secret = {0}, token = {0};
    while (file.len) {
        struct slice line = next_line(&file);
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
            continue;
        if (line.ptr[0] == '[') {
            struct slice name = slice_of(line.ptr + 1, slice_find(line, ']') - 1);
            inside = line.ptr[line.len - 1] == ']' && slice_eq(trim(name), profile);
            continue;
        }
        size_t eq = slice_find(line, '=');
        if (!inside || eq == line.len)
            continue;
        struct slice name = trim(slice_of(line.ptr, eq));
        struct slice value = trim(slice_from(line, eq + 1));
        if (slice_eq_nocase(name, SLICE("aws_access_key_id")))
            access = value;
        else if (slice_eq_nocase(name, SLICE("aws_secret_access_key")))
            secret = value;
        else if (slice_eq_nocase(name, SLICE("aws_session_token")))
            token = value;
    }
    if (!access.len || !secret.len)
        return ERR_NOTFOUND;
    return set_all(out, access, secret, token) ? 0 : ERR_INVALID;
}

static int source_shared_file(const struct s3_source_env *env, struct s3_credentials *out,
                              struct err *err)
{
    char path[1024];
    const char *given = s3_source_var(env, "AWS_SHARED_CREDENTIALS_FILE");
    const char *home = s3_source_var(env, "HOME");
    const char *profile = s3_source_var(env, "AWS_PROFILE");
    if (!given && !home)
        return err_set(err, ERR_NOTFOUND, "HOME is not set");
    int n = given ? snprintf(path, sizeof path, "%s", given)
                  : snprintf(path, sizeof path, "%s/.aws/credentials", home);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_INVALID, "the credentials file's name is too long");
    struct buf file;
    int rc = s3_source_read_file(path, &file, err);
    if (rc < 0) /* named, but not there: not what was meant */
        return rc == ERR_NOTFOUND && given ? err_set(err, ERR_INVALID, "%s does not exist", path)
                                           : rc;
    rc = read_profile(buf_view(&file), slice_cstr(profile ? profile : "default"), out);
    if (file.cap)
        OPENSSL_cleanse(file.ptr, file.cap);
    buf_clear(&file);
    if (rc < 0)
        return err_set(err, rc, "%s: profile '%.64s' has no usable keys", path,
                       profile ? profile : "default");
    return 0;
}

/* ---- choosing ---- */

static const struct source source_configuration = {"configuration", NULL};
static const struct source sources[] = {
    {"environment", source_environment},       {"web identity", s3_source_web_identity},
    {"shared file", source_shared_file},       {"container endpoint", s3_source_container},
    {"instance metadata", s3_source_instance},
};

static const struct source *choose(const struct s3_source_env *env, struct s3_credentials *out,
                                   int *rc, struct err *err)
{
    struct err tried = {.msg = ""};
    size_t used = 0;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct err why;
        *rc = sources[i].fetch(env, out, &why);
        if (*rc == 0)
            return &sources[i];
        if (*rc != ERR_NOTFOUND) {
            err_set(err, *rc, "credentials from %s: %s", sources[i].name, why.msg);
            return NULL;
        }
        int n = snprintf(tried.msg + used, sizeof tried.msg - used, "%s%s: %.90s", used ? "; " : "",
                         sources[i].name, why.msg);
        used += n > 0 && (size_t)n < sizeof tried.msg - used ? (size_t)n : 0;
    }
    *rc =
        err_set(err, ERR_DENIED, "no S3 credentials (configuration: no access_key; %s)", tried.msg);
    return NULL;
}

static uint64_t refresh_time(const struct s3_credentials *k, uint64_t now_unix_ns)
{
    if (!k->expires_unix_ns)
        return 0;
    /* A minute of jitter, so that many processes do not ask at once. */
    uint64_t dice;
    random_bytes(&dice, sizeof dice);
    uint64_t early = LIMIT_CREDENTIALS_EARLY_NS + dice % (60 * NS_PER_S);
    uint64_t left = k->expires_unix_ns > now_unix_ns ? k->expires_unix_ns - now_unix_ns : 0;
    return k->expires_unix_ns - (early < left / 2 ? early : left / 2);
}

/* ---- the face ---- */

static const char *process_env(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

int s3_credentials_chain_new(const struct s3_credentials_opts *opts,
                             struct s3_credentials_chain **out, struct err *err)
{
    if ((opts->access_key.len == 0) != (opts->secret_key.len == 0))
        return err_set(err, ERR_INVALID, "s3 access_key and secret_key must be given together");
    struct s3_credentials_chain *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NOMEM, "no memory for credentials");
    if (!set_all(&c->configured, opts->access_key, opts->secret_key, opts->session_token)) {
        free(c);
        return err_set(err, ERR_INVALID,
                       "s3 access_key, secret_key or session_token is too long "
                       "or has control characters");
    }
    if (opts->region.len < sizeof c->region && opts->region.len)
        memcpy(c->region, opts->region.ptr, opts->region.len);
    c->env = (struct s3_source_env){
        .http = opts->http,
        .clock = opts->clock ? opts->clock : &clock_system,
        .getenv = opts->getenv ? opts->getenv : process_env,
        .getenv_ctx = opts->getenv_ctx,
        .region = c->region,
    };
    c->log = opts->log;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->shared.cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&c->shared.mu, NULL);
    if (opts->access_key.len) {
        c->shared.source = &source_configuration;
        c->shared.now = c->configured;
        c->shared.have = true;
    }
    *out = c;
    return 0;
}

void s3_credentials_chain_free(struct s3_credentials_chain *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->shared.mu);
    pthread_cond_destroy(&c->shared.cond);
    OPENSSL_cleanse(c, sizeof *c);
    free(c);
}

/* Called and left with mu held; lets go of it while it asks. */
static void fetch_locked(struct s3_credentials_chain *c, uint64_t deadline_ns)
{
    const struct source *source = c->shared.source;
    struct s3_source_env env = c->env;
    uint64_t latest_ns = clock_mono_ns(env.clock) + LIMIT_CREDENTIALS_FETCH_NS;
    env.deadline_ns = deadline_ns < latest_ns ? deadline_ns : latest_ns;
    c->shared.fetching = true;
    pthread_mutex_unlock(&c->shared.mu);

    struct s3_credentials fresh = {.expires_unix_ns = 0};
    struct err err = {.msg = ""};
    int rc = 0;
    if (source)
        rc = source->fetch(&env, &fresh, &err);
    else
        source = choose(&env, &fresh, &rc, &err);
    if (rc < 0)
        LOG_WARN(c->log, "credentials not fetched", KV_ERR(&err));
    else
        LOG_INFO(c->log, "credentials fetched", KV_STR("source", source->name));

    pthread_mutex_lock(&c->shared.mu);
    c->shared.fetching = false;
    if (rc == 0) {
        c->shared.source = source;
        fresh.generation = c->shared.now.generation + 1;
        c->shared.now = fresh;
        c->shared.have = true;
        c->shared.rejected = false;
        c->shared.again_mono_ns = 0;
        c->shared.refresh_unix_ns = refresh_time(&fresh, clock_unix_ns(env.clock));
    } else {
        c->shared.failure = err;
        c->shared.failure.code = rc;
        c->shared.again_mono_ns = clock_mono_ns(env.clock) + LIMIT_CREDENTIALS_AGAIN_NS;
    }
    OPENSSL_cleanse(&fresh, sizeof fresh);
    pthread_cond_broadcast(&c->shared.cond);
}

static bool is_fresh_locked(const struct s3_credentials_chain *c, uint64_t now_unix_ns)
{
    return c->shared.have && (c->shared.source == &source_configuration ||
                              (!c->shared.rejected && (!c->shared.refresh_unix_ns ||
                                                       now_unix_ns < c->shared.refresh_unix_ns)));
}

static bool is_valid_locked(const struct s3_credentials_chain *c, uint64_t now_unix_ns)
{
    return c->shared.have && !c->shared.rejected &&
           (!c->shared.now.expires_unix_ns || now_unix_ns < c->shared.now.expires_unix_ns);
}

static void wait_locked(struct s3_credentials_chain *c, uint64_t ns)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    uint64_t until = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec + ns;
    ts.tv_sec = (time_t)(until / NS_PER_S);
    ts.tv_nsec = (long)(until % NS_PER_S);
    pthread_cond_timedwait(&c->shared.cond, &c->shared.mu, &ts);
}

int s3_credentials_get(struct s3_credentials_chain *c, uint64_t deadline_mono_ns,
                       struct s3_credentials *out, struct err *err)
{
    int rc = 1;
    pthread_mutex_lock(&c->shared.mu);
    while (rc > 0) {
        uint64_t unix_ns = clock_unix_ns(c->env.clock), mono_ns = clock_mono_ns(c->env.clock);
        bool resting = mono_ns < c->shared.again_mono_ns; /* a fetch has just failed */
        if (is_fresh_locked(c, unix_ns) || (c->shared.fetching && is_valid_locked(c, unix_ns)) ||
            (resting && c->shared.have)) {
            *out = c->shared.now;
            rc = 0;
        } else if (resting) {
            rc = err_set(err, c->shared.failure.code, "%s", c->shared.failure.msg);
        } else if (mono_ns >= deadline_mono_ns) {
            rc = err_set(err, ERR_TIMEOUT, "the deadline passed while credentials were fetched");
        } else if (c->shared.fetching) {
            wait_locked(c, deadline_mono_ns - mono_ns);
        } else {
            fetch_locked(c, deadline_mono_ns);
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
    return rc;
}

bool s3_credentials_rejected(struct s3_credentials_chain *c, uint64_t generation)
{
    pthread_mutex_lock(&c->shared.mu);
    bool others = c->shared.source != &source_configuration;
    if (others && c->shared.now.generation == generation)
        c->shared.rejected = true;
    pthread_mutex_unlock(&c->shared.mu);
    return others;
}

const char *s3_credentials_source(struct s3_credentials_chain *c)
{
    pthread_mutex_lock(&c->shared.mu);
    const char *name = c->shared.source ? c->shared.source->name : "none";
    pthread_mutex_unlock(&c->shared.mu);
    return name;
}
