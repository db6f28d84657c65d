/* The standard variables of OpenTelemetry's SDKs. What is empty is not set; what cannot be honoured
 * stops the start, but for the sampler, of which the standard says that the default takes its
 * place. */
#include "app/selftrace_priv.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"

#define SHOWN_BYTES 80

static struct slice get(const struct selftrace_opts *o, const char *name)
{
    const char *value = o->env(o->env_ctx, name);
    return value ? slice_cstr(value) : slice_of(NULL, 0);
}

/* The signal's own variable, else that of all signals. */
static struct slice get_otlp(const struct selftrace_opts *o, const char *last)
{
    char name[80];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_TRACES_%s", last);
    struct slice own = get(o, name);
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s", last);
    return own.len ? own : get(o, name);
}

static int bad(struct err *err, const char *name, struct slice value, const char *expected)
{
    char shown[SHOWN_BYTES * 4 + 8];
    return err_set(err, ERR_INVALID, "error initialising tracer: %s: expected %s, found \"%s\"",
                   name, expected, text_escape(value, SHOWN_BYTES, shown, sizeof shown));
}

static int number(const struct selftrace_opts *o, const char *name, uint64_t fallback,
                  uint64_t least, uint64_t most, uint64_t *out, struct err *err)
{
    struct slice text = get(o, name);
    *out = fallback;
    if (text.len && (!parse_u64(text, out) || *out < least || *out > most))
        return bad(err, name, text, "a number");
    return 0;
}

/* "key=value,key=value", values percent-encoded. */
static int read_pairs(struct selftrace_config *c, const char *name, struct slice text,
                      int (*add)(struct selftrace_config *c, struct selftrace_pair pair),
                      struct err *err)
{
    int rc = 0;
    while (text.len && rc == 0) {
        struct slice pair = slice_of(text.ptr, slice_find(text, ','));
        text = slice_from(text, pair.len + 1);
        while (pair.len && pair.ptr[0] == ' ')
            pair = slice_from(pair, 1);
        if (pair.len == 0)
            continue;
        size_t equals = slice_find(pair, '=');
        struct selftrace_pair p = {.key = slice_of(pair.ptr, equals)};
        struct buf value;
        buf_init(&value, pair.len);
        bool fine = equals > 0 && equals < pair.len &&
                    net_percent_decode(slice_from(pair, equals + 1), false, &value);
        bool kept = arena_slice(c->arena, buf_view(&value), &p.value);
        buf_clear(&value);
        if (!fine) /* the value may be a secret */
            return err_set(err, ERR_INVALID,
                           "error initialising tracer: %s: expected name=value, "
                           "comma-separated, values percent-encoded",
                           name);
        rc = kept ? add(c, p) : ERR_NOMEM;
    }
    return rc < 0 ? err_set(err, rc, "no memory for %s", name) : 0;
}

static int add_header(struct selftrace_config *c, struct selftrace_pair p)
{
    const char *line = arena_printf(c->arena, "%.*s: %.*s", SLICE_ARGS(p.key), SLICE_ARGS(p.value));
    return line && vec_push(&c->headers, line) ? 0 : ERR_NOMEM;
}

/* What is said last holds. */
static int add_resource(struct selftrace_config *c, struct selftrace_pair p)
{
    for (uint32_t i = 0; i < c->resource.count; i++) {
        if (slice_eq(c->resource.at[i].key, p.key)) {
            c->resource.at[i] = p;
            return 0;
        }
    }
    return vec_push(&c->resource, p) ? 0 : ERR_NOMEM;
}

static int read_resource(const struct selftrace_opts *o, struct selftrace_config *c,
                         struct err *err)
{
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof host - 1);
    struct slice kept, service, name = get(o, "OTEL_SERVICE_NAME");
    if (name.len == 0)
        name = slice_cstr(o->service);
    int rc = arena_slice(c->arena, slice_cstr(host), &kept) && arena_slice(c->arena, name, &service)
                 ? 0
                 : ERR_NOMEM;
    rc = rc < 0 ? rc : add_resource(c, (struct selftrace_pair){SLICE("service.name"), service});
    rc = rc < 0 ? rc
                : add_resource(
                      c, (struct selftrace_pair){SLICE("service.version"), slice_cstr(o->version)});
    rc = rc < 0 ? rc : add_resource(c, (struct selftrace_pair){SLICE("host.name"), kept});
    if (rc < 0)
        return err_set(err, rc, "no memory for the tracer");
    rc = read_pairs(c, "OTEL_RESOURCE_ATTRIBUTES", get(o, "OTEL_RESOURCE_ATTRIBUTES"), add_resource,
                    err);
    if (rc == 0 && get(o, "OTEL_SERVICE_NAME").len) /* it wins */
        rc = add_resource(c, (struct selftrace_pair){SLICE("service.name"), service});
    return rc;
}

static int read_endpoint(const struct selftrace_opts *o, struct selftrace_config *c,
                         struct err *err)
{
    struct slice own = get(o, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
                 base = get(o, "OTEL_EXPORTER_OTLP_ENDPOINT"), protocol = get_otlp(o, "PROTOCOL"),
                 packing = get_otlp(o, "COMPRESSION");
    if (protocol.len && !slice_eq(protocol, SLICE("http/protobuf")))
        return bad(err, "OTEL_EXPORTER_OTLP_PROTOCOL", protocol, "http/protobuf");
    if (packing.len && !slice_eq(packing, SLICE("gzip")) && !slice_eq(packing, SLICE("none")))
        return bad(err, "OTEL_EXPORTER_OTLP_COMPRESSION", packing, "gzip or none");
    c->gzip = slice_eq(packing, SLICE("gzip"));
    if (!own.len && !base.len)
        base = SLICE("http://localhost:4318");
    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    struct slice used = own.len ? own : base;
    if (!slice_starts(used, SLICE("http://")) && !slice_starts(used, SLICE("https://")))
        return bad(err, "OTEL_EXPORTER_OTLP_ENDPOINT", used, "a URL");
    c->url = own.len ? arena_cstr(c->arena, own)
                     : arena_printf(c->arena, "%.*s/v1/traces", SLICE_ARGS(base));
    return c->url ? 0 : err_set(err, ERR_NOMEM, "no memory for the tracer");
}

static void read_sampler(const struct selftrace_opts *o, struct selftrace_config *c,
                         const struct log *log)
{
    static const struct {
        const char *name;
        enum selftrace_sampler sampler;
    } samplers[] = {{"always_on", SELFTRACE_ALL},
                    {"always_off", SELFTRACE_NONE},
                    {"traceidratio", SELFTRACE_RATIO}};
    struct slice name = get(o, "OTEL_TRACES_SAMPLER"), arg = get(o, "OTEL_TRACES_SAMPLER_ARG"),
                 lead = SLICE("parentbased_");
    double ratio = 1;
    bool known = name.len == 0;
    c->parent_based = name.len == 0 || slice_starts(name, lead);
    struct slice root = name.len && c->parent_based ? slice_from(name, lead.len) : name;
    for (size_t i = 0; i < sizeof samplers / sizeof samplers[0]; i++) {
        if (!slice_eq(root, slice_cstr(samplers[i].name)))
            continue;
        c->sampler = samplers[i].sampler;
        known = true;
    }
    if (c->sampler == SELFTRACE_RATIO && arg.len &&
        !(parse_f64(arg, &ratio) && ratio >= 0 && ratio <= 1)) {
        known = false;
        ratio = 1;
    }
    c->ratio = ratio >= 1 ? UINT64_C(1) << 63 : (uint64_t)(ratio * 0x1p63);
    if (known)
        return;
    LOG_WARN(log, "OTEL_TRACES_SAMPLER cannot be honoured: all traces are kept",
             KV_SLICE("sampler", name), KV_SLICE("arg", arg));
    c->sampler = SELFTRACE_ALL;
    c->parent_based = true;
}

static int read_batches(const struct selftrace_opts *o, struct selftrace_config *c, struct err *err)
{
    uint64_t queue, batch;
    struct slice timeout = get_otlp(o, "TIMEOUT");
    c->timeout_ms = 10000;
    if (timeout.len &&
        (!parse_u64(timeout, &c->timeout_ms) || c->timeout_ms == 0 || c->timeout_ms > 600000))
        return bad(err, "OTEL_EXPORTER_OTLP_TIMEOUT", timeout, "milliseconds");
    int rc = number(o, "OTEL_BSP_SCHEDULE_DELAY", 5000, 1, 3600000, &c->delay_ms, err);
    rc = rc < 0 ? rc : number(o, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1, 65536, &queue, err);
    rc = rc < 0 ? rc : number(o, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 65536, &batch, err);
    if (rc < 0)
        return rc;
    c->queue_max = (uint32_t)queue;
    c->batch_max = (uint32_t)(batch < queue ? batch : queue);
    return 0;
}

/* Whether a tracer is asked for, and can be had. */
static int wanted(const struct selftrace_opts *o, bool *on, struct err *err)
{
    struct slice exporter = get(o, "OTEL_TRACES_EXPORTER");
    *on = exporter.len || get(o, "OTEL_EXPORTER_OTLP_ENDPOINT").len ||
          get(o, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").len;
    if (slice_eq_nocase(get(o, "OTEL_SDK_DISABLED"), SLICE("true")) ||
        slice_eq(exporter, SLICE("none")))
        *on = false;
    else if (exporter.len && !slice_eq(exporter, SLICE("otlp")))
        return err_set(
            err, ERR_INVALID,
            "error initialising tracer: failed to create OTEL exporter: unknown exporter "
            "or metrics producer (OTEL_TRACES_EXPORTER is otlp or none)");
    return 0;
}

int selftrace_config_read(const struct selftrace_opts *opts, struct selftrace_config *c,
                          struct err *err)
{
    *c = (struct selftrace_config){0};
    int rc = wanted(opts, &c->on, err);
    if (rc < 0 || !c->on)
        return rc;
    c->arena = arena_new(LIMIT_SELFTRACE_MEMORY);
    if (!c->arena)
        return err_set(err, ERR_NOMEM, "no memory for the tracer");
    rc = read_endpoint(opts, c, err);
    if (rc == 0)
        rc = read_batches(opts, c, err);
    if (rc == 0)
        rc = read_resource(opts, c, err);
    if (rc == 0)
        rc =
            read_pairs(c, "OTEL_EXPORTER_OTLP_HEADERS", get_otlp(opts, "HEADERS"), add_header, err);
    if (rc == 0 && !(vec_push(&c->headers, "content-type: application/x-protobuf") &&
                     (!c->gzip || vec_push(&c->headers, "content-encoding: gzip")) &&
                     vec_push(&c->headers, NULL)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tracer");
    read_sampler(opts, c, opts->log);
    return rc;
}

void selftrace_config_clear(struct selftrace_config *c)
{
    vec_free(&c->headers);
    vec_free(&c->resource);
    arena_free(c->arena);
    *c = (struct selftrace_config){0};
}
