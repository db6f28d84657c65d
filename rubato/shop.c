/* The shop: a browser asks the storefront, which asks its services, which ask their databases. */
#include "rubato/shop.h"

#include <stdio.h>
#include <string.h>

enum { US = 1000, MS = 1000 * 1000 };

struct call {
    const char *service;
    const char *name;
    int32_t kind;
    uint32_t depth;      /* parent: the nearest call above with depth - 1 */
    uint32_t mean_us;    /* time of its own */
    uint32_t error_per_mille;
    const char *db;      /* db.system, or NULL */
    const char *route;   /* http.route, or NULL */
};

static const struct call browse[] = {
    {"storefront", "GET /product/{id}", 2, 0, 900, 2, NULL, "/product/{id}"},
    {"storefront", "GET catalog", 3, 1, 300, 0, NULL, NULL},
    {"catalog", "GET /products", 2, 2, 700, 4, NULL, "/products"},
    {"catalog", "SELECT products", 3, 3, 2500, 6, "postgresql", NULL},
    {"storefront", "GET recommendation", 3, 1, 200, 0, NULL, NULL},
    {"recommendation", "ListRecommendations", 2, 2, 4000, 15, NULL, NULL},
    {"recommendation", "GET features", 3, 3, 600, 0, "redis", NULL},
};

static const struct call checkout[] = {
    {"storefront", "POST /checkout", 2, 0, 1500, 4, NULL, "/checkout"},
    {"storefront", "PlaceOrder", 3, 1, 400, 0, NULL, NULL},
    {"checkout", "PlaceOrder", 2, 2, 2000, 10, NULL, NULL},
    {"checkout", "SELECT cart", 3, 3, 1800, 5, "postgresql", NULL},
    {"checkout", "Charge", 3, 3, 300, 0, NULL, NULL},
    {"payment", "Charge", 2, 4, 90000, 30, NULL, NULL},
    {"checkout", "INSERT orders", 3, 3, 5200, 8, "postgresql", NULL},
    {"checkout", "orders publish", 4, 3, 700, 1, NULL, NULL},
    {"fulfilment", "orders process", 5, 4, 15000, 12, NULL, NULL},
    {"fulfilment", "SendMail", 1, 5, 40000, 20, NULL, NULL},
};

struct builder {
    struct shop *shop;
    struct arena *arena;
    struct span_batch *out;
    bool ok;
};

static void put(struct builder *b, const char *key, struct value v)
{
    b->ok = b->ok && vec_push(&b->out->attrs, (struct attr){slice_cstr(key), v});
}

static void put_text(struct builder *b, const char *key, const char *text)
{
    b->ok = b->ok && text;
    put(b, key, (struct value){.type = VALUE_STRING, .str = slice_cstr(text)});
}

static void put_int(struct builder *b, const char *key, int64_t v)
{
    put(b, key, (struct value){.type = VALUE_INT, .i64 = v});
}

static void put_double(struct builder *b, const char *key, double v)
{
    put(b, key, (struct value){.type = VALUE_DOUBLE, .f64 = v});
}

static void put_bool(struct builder *b, const char *key, bool v)
{
    put(b, key, (struct value){.type = VALUE_BOOL, .b = v});
}

static struct range since(uint32_t first, uint32_t count)
{
    return (struct range){first, count - first};
}

static struct range resource_attrs(struct builder *b, const char *service)
{
    uint32_t first = b->out->attrs.count;
    put_text(b, "service.name", service);
    put_text(b, "k8s.namespace.name", "shop");
    put_text(b, "k8s.pod.name",
             arena_printf(b->arena, "%s-%u", service,
                          (unsigned)rng_below(&b->shop->rng, 3)));
    put_text(b, "deployment.environment", "demo");
    return since(first, b->out->attrs.count);
}

static struct range span_attrs(struct builder *b, const struct call *c, bool failed)
{
    struct rng *r = &b->shop->rng;
    uint32_t first = b->out->attrs.count;
    if (c->route) {
        bool product = strstr(c->route, "{id}") != NULL;
        put_text(b, "http.method", c->name[0] == 'P' ? "POST" : "GET");
        put_text(b, "http.route", c->route);
        put_text(b, "http.url",
                 product ? arena_printf(b->arena, "https://shop.example/product/%u?ref=%04x",
                                        (unsigned)rng_below(r, 5000), (unsigned)rng_below(r, 65536))
                         : arena_printf(b->arena, "https://shop.example%s?item=%u", c->route,
                                        (unsigned)rng_below(r, 5000)));
        put_int(b, "http.status_code", failed ? 500 + 3 * (int64_t)rng_below(r, 2) : 200);
        put_int(b, "http.response_content_length", 200 + (int64_t)rng_below(r, 60000));
        put_text(b, "app.request.id",
                 arena_printf(b->arena, "%016llx", (unsigned long long)rng_next(r)));
        put_text(b, "net.peer.ip",
                 arena_printf(b->arena, "10.%u.%u.%u", (unsigned)rng_below(r, 4),
                              (unsigned)rng_below(r, 256), (unsigned)rng_below(r, 256)));
        put_text(b, "http.user_agent",
                 arena_printf(b->arena, "Mozilla/5.0 (demo %u)", (unsigned)rng_below(r, 40)));
    }
    if (c->db) {
        put_text(b, "db.system", c->db);
        put_text(b, "db.statement", c->name);
        put_int(b, "db.rows", (int64_t)rng_below(r, 200));
    }
    put_text(b, "enduser.id", arena_printf(b->arena, "user-%u", (unsigned)rng_below(r, 900)));
    put_double(b, "app.order.amount", (double)rng_below(r, 100000) / 100);
    put_bool(b, "app.cache.hit", rng_below(r, 4) == 0);
    put_text(b, "app.build", "2025.3.1");
    put_text(b, "code.function", c->name);
    put_int(b, "thread.id", (int64_t)rng_below(r, 64));
    put_text(b, "thread.name", arena_printf(b->arena, "worker-%u", (unsigned)rng_below(r, 64)));
    put_int(b, "app.attempt", failed ? 3 : 1);
    return since(first, b->out->attrs.count);
}

static struct range failure_event(struct builder *b, uint64_t at_ns)
{
    uint32_t first = b->out->events.count, attr = b->out->attrs.count;
    put_text(b, "exception.type", "TimeoutError");
    put_text(b, "exception.message", "upstream did not answer in time");
    const struct event e = {.time_unix_ns = at_ns,
                            .name = SLICE("exception"),
                            .attrs = since(attr, b->out->attrs.count)};
    b->ok = b->ok && vec_push(&b->out->events, e);
    return since(first, b->out->events.count);
}

static struct range link_to_last(struct builder *b)
{
    uint32_t first = b->out->links.count;
    struct slice id;
    if (b->shop->any && arena_slice(b->arena, slice_of(b->shop->last_trace, 16), &id)) {
        const struct link l = {.trace_id = id, .span_id = slice_of(id.ptr + 8, 8)};
        b->ok = b->ok && vec_push(&b->out->links, l);
    }
    return since(first, b->out->links.count);
}

static struct slice new_id(struct builder *b, size_t bytes)
{
    uint8_t *id = arena_alloc(b->arena, 16);
    if (!id) {
        b->ok = false;
        return slice_of(NULL, 0);
    }
    for (size_t i = 0; i < 16; i += 8) {
        uint64_t r = rng_next(&b->shop->rng) | 1;
        memcpy(id + i, &r, 8);
    }
    return slice_of(id, bytes);
}

static void add_call(struct builder *b, const struct call *c, const uint8_t trace_id[16],
                     struct slice parent, uint64_t start, uint64_t duration, bool failed,
                     struct slice *id)
{
    struct span_batch *o = b->out;
    const struct resource res = {.attrs = resource_attrs(b, c->service),
                                 .scopes = {o->scopes.count, 1},
                                 .present = true};
    const struct scope scope = {.resource = o->resources.count,
                                .name = SLICE("shop-demo"),
                                .version = SLICE("1.0"),
                                .spans = {o->spans.count, 1},
                                .present = true};
    struct span s = {.parent_span_id = parent,
                     .name = slice_cstr(c->name),
                     .start_unix_ns = start,
                     .end_unix_ns = start + duration,
                     .kind = c->kind,
                     .status_code = failed ? 2 : 0,
                     .scope = o->scopes.count};
    memcpy(s.trace_id, trace_id, 16);
    s.span_id = *id = new_id(b, 8);
    s.attrs = span_attrs(b, c, failed);
    if (failed) {
        s.status_message = SLICE("upstream timed out");
        s.events = failure_event(b, start + duration / 2);
    }
    if (c->kind == 5)
        s.links = link_to_last(b);
    b->ok = b->ok && vec_push(&o->resources, res) && vec_push(&o->scopes, scope) &&
            vec_push(&o->spans, s);
}

bool shop_trace(struct shop *s, uint64_t start_unix_ns, struct arena *a, struct span_batch *out)
{
    struct builder b = {s, a, out, true};
    bool buys = rng_below(&s->rng, 4) == 0;
    const struct call *calls = buys ? checkout : browse;
    size_t count = buys ? sizeof checkout / sizeof *checkout : sizeof browse / sizeof *browse;
    struct slice trace = s->next_id.len ? s->next_id : new_id(&b, 16);
    struct slice ids[sizeof checkout / sizeof *checkout];
    uint64_t starts[sizeof checkout / sizeof *checkout];
    for (size_t i = 0; i < count && b.ok; i++) {
        size_t parent = i;
        while (parent > 0 && calls[parent].depth >= calls[i].depth)
            parent--;
        starts[i] = i == 0 ? start_unix_ns
                           : starts[parent] + 50 * US + rng_below(&s->rng, 400) * US;
        /* A call lasts its own time and, roughly, that of the calls below it. */
        uint64_t us = 0;
        for (size_t k = i; k < count && (k == i || calls[k].depth > calls[i].depth); k++)
            us += calls[k].mean_us / 2 + rng_below(&s->rng, calls[k].mean_us);
        if (rng_below(&s->rng, 200) == 0)
            us += 1200 * MS / US; /* now and then something is slow */
        bool failed = rng_below(&s->rng, 1000) < calls[i].error_per_mille;
        add_call(&b, &calls[i], trace.ptr, i ? ids[parent] : slice_of(NULL, 0), starts[i], us * US,
                 failed, &ids[i]);
    }
    if (b.ok) {
        memcpy(s->last_trace, trace.ptr, 16);
        s->next_id.len = 0;
        s->any = true;
    }
    return b.ok;
}
