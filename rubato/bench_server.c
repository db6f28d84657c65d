/* The server that rubato bench query asks. */
#include "rubato/bench_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "rubato/http_tool.h"
#include "rubato/serve.h"

uint16_t bench_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    if (fd >= 0)
        close(fd);
    return ok ? ntohs(a.sin_port) : 0;
}

/* A JSON string is a YAML string. */
static void put_string(FILE *f, const char *key, struct slice v)
{
    fprintf(f, "      %s: \"", key);
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '"' || v.ptr[i] == '\\')
            fputc('\\', f);
        fputc(v.ptr[i], f);
    }
    fputs("\"\n", f);
}

static void put_env(FILE *f, const char *key, const char *name)
{
    const char *v = getenv(name);
    if (v && *v)
        put_string(f, key, slice_cstr(v));
}

static void put_s3(FILE *f, struct slice path, const char *endpoint)
{
    size_t slash = slice_find(path, '/');
    fputs("    backend: s3\n    s3:\n", f);
    put_string(f, "bucket", slice_of(path.ptr, slash));
    put_string(f, "prefix", slice_from(path, slash + 1));
    put_env(f, "region", "AWS_REGION");
    put_env(f, "access_key", "AWS_ACCESS_KEY_ID");
    put_env(f, "secret_key", "AWS_SECRET_ACCESS_KEY");
    put_env(f, "session_token", "AWS_SESSION_TOKEN");
    if (endpoint) {
        struct slice e = slice_cstr(endpoint);
        bool plain = slice_starts(e, SLICE("http://"));
        size_t scheme = plain ? 7 : slice_starts(e, SLICE("https://")) ? 8 : 0;
        put_string(f, "endpoint", slice_from(e, scheme));
        fprintf(f, "      forcepathstyle: true\n      insecure: %s\n", plain ? "true" : "false");
    }
}

static int write_config(const struct bench_server_opts *opts, struct bench_server *s, char *path,
                        size_t path_size, struct err *err)
{
    struct slice store = slice_cstr(opts->store);
    snprintf(path, path_size, "%s/bench.yaml", s->dir);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(err, ERR_IO, "%s: %m", path);
    fchmod(fileno(f), 0600);
    fprintf(f,
            "target: frontend,worker\nmultitenancy_enabled: %s\n"
            "server:\n  http_listen_address: 127.0.0.1\n  http_listen_port: %u\n"
            "  log_level: warn\n"
            "query_frontend:\n  search:\n    max_duration: 0s\n  metrics:\n    max_duration: 0s\n"
            "storage:\n  trace:\n",
            opts->tenant ? "true" : "false", s->http_port);
    if (slice_starts(store, SLICE("s3://"))) {
        put_s3(f, slice_from(store, 5), opts->endpoint);
    } else {
        fputs("    backend: local\n    local:\n", f);
        put_string(f, "path", store);
    }
    return fclose(f) == 0 ? 0 : err_set(err, ERR_IO, "%s: %m", path);
}

int bench_wait_ready(struct http_client *c, uint16_t http_port, struct err *err)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/ready", http_port);
    int rc = ERR_TIMEOUT;
    for (int i = 0; i < 500 && rc < 0; i++) {
        struct buf out;
        buf_init(&out, 4096);
        rc = tool_get(c, url, NULL, &out, err);
        buf_clear(&out);
        if (rc < 0)
            usleep(20000);
    }
    return rc;
}

int bench_server_start(const struct bench_server_opts *opts, struct bench_server *s,
                       struct err *err)
{
    char path[128], flag[160];
    *s = (struct bench_server){.http_port = bench_free_port(), .dir = "/tmp/rubato-bench-XXXXXX"};
    if (!mkdtemp(s->dir)) {
        s->dir[0] = 0;
        return err_set(err, ERR_IO, "a temporary directory: %m");
    }
    int rc = write_config(opts, s, path, sizeof path, err);
    if (rc < 0)
        return rc;
    snprintf(flag, sizeof flag, "-config.file=%s", path);
    snprintf(s->tenant_header, sizeof s->tenant_header, "X-Scope-OrgID: %s",
             opts->tenant ? opts->tenant : "");
    s->headers[0] = opts->tenant ? s->tenant_header : NULL;
    fflush(NULL);
    s->pid = fork();
    if (s->pid < 0) {
        s->pid = 0;
        return err_set(err, ERR_UNAVAILABLE, "fork: %m");
    }
    if (s->pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        char name[] = "rubato";
        char *argv[] = {name, flag, NULL};
        exit(serve(2, argv, "rubato", 0));
    }
    rc = http_client_new(&(struct http_client_opts){.clock = &clock_system}, &s->http, err);
    return rc < 0 ? rc : bench_wait_ready(s->http, s->http_port, err);
}

void bench_server_stop(struct bench_server *s)
{
    char path[128];
    if (s->pid > 0) {
        kill(s->pid, SIGTERM);
        waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
    if (s->dir[0]) {
        snprintf(path, sizeof path, "%s/bench.yaml", s->dir);
        unlink(path);
        rmdir(s->dir);
    }
    http_client_free(s->http);
    s->http = NULL;
}

uint64_t bench_server_cpu_ns(const struct bench_server *s)
{
    clockid_t id;
    struct timespec t = {0};
    if (clock_getcpuclockid(s->pid, &id) == 0)
        clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void bench_server_reset_peak(const struct bench_server *s)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/clear_refs", (long)s->pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) != 1) {
        /* Then the peak is that of the whole run. */
    }
    close(fd);
}

uint64_t bench_server_peak(const struct bench_server *s)
{
    char path[64], line[128];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)s->pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmHWM: %llu", &kib) == 1)
            break;
    }
    if (f)
        fclose(f);
    return kib * 1024;
}
