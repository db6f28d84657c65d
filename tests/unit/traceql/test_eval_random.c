/* Thousands of random filters over random spans: the evaluator against a slow one that goes span by
 * span with lists of entries (tests/support/naive_eval.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "tests/support/naive_eval.h"

#define ARENA_BYTES ((size_t)256 << 20)

#define RANDOM_ATTRS 4
#define RANDOM_SPANS 14

struct random_model {
    struct model m;
    struct model_trace traces[3];
    struct model_attrs resources[3];
    struct model_scope scopes[2];
    struct model_span spans[RANDOM_SPANS];
    struct model_event events[20];
    struct model_link links[6];
    struct model_attr attrs[60][RANDOM_ATTRS];
    uint32_t attrs_used;
    uint8_t ids[40][16];
};

static const char *pick(struct rng *r, const char *const *list, size_t count)
{
    return list[rng_below(r, count)];
}
#define PICK(r, ...)                                                                               \
    pick(r, (const char *const[]){__VA_ARGS__},                                                    \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static struct traceql_value random_value(struct rng *r, int type)
{
    struct traceql_value v = {0};
    switch (type) {
    case 0:
        v.type = TRACEQL_INT;
        v.i64 = (int64_t)rng_below(r, 4) - 1;
        break;
    case 1:
        v.type = TRACEQL_FLOAT;
        v.f64 = (double)rng_below(r, 4) / 2;
        break;
    case 2:
        v.type = TRACEQL_STRING;
        v.str = slice_cstr(PICK(r, "", "a", "ab", "b", "1"));
        break;
    default:
        v.type = TRACEQL_BOOL;
        v.b = rng_below(r, 2);
    }
    return v;
}

static struct model_attrs random_attrs(struct rng *r, struct random_model *m)
{
    struct model_attr *list = m->attrs[m->attrs_used++];
    uint32_t count = (uint32_t)rng_below(r, RANDOM_ATTRS + 1);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (struct model_attr){.key = PICK(r, "a", "b", "a", "b", "name", "http.method",
                                                  "http.status_code", "service.name", "cluster")};
        list[i].count = rng_below(r, 4) ? 1 : (uint32_t)rng_below(r, 4);
        int type = (int)rng_below(r, 4);
        for (uint32_t k = 0; k < list[i].count; k++)
            list[i].values[k] = random_value(r, type);
        /* A key twice is rare, but it is there. */
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(list[k].key, list[i].key) == 0 && rng_below(r, 4)) {
                i--;
                count--;
                break;
            }
        }
    }
    return (struct model_attrs){list, count};
}

static struct slice random_id(struct rng *r, struct random_model *m, size_t len, uint32_t *used)
{
    uint8_t *id = m->ids[(*used)++];
    memset(id, 0, len);
    id[len - 1] = (uint8_t)rng_below(r, 3);
    id[len - 2] = (uint8_t)rng_below(r, 2) * 0xab;
    return slice_of(id, len);
}

static void random_fill(struct rng *r, struct random_model *m)
{
    uint32_t ids = 0, span = 0;
    m->attrs_used = 0;
    for (int i = 0; i < 3; i++) {
        m->traces[i] = (struct model_trace){.id = random_id(r, m, 16, &ids),
                                            .root_name = PICK(r, "", "a", "b"),
                                            .root_service = PICK(r, "", "a"),
                                            .duration_ns = (int64_t)rng_below(r, 4)};
        m->resources[i] = random_attrs(r, m);
    }
    for (int i = 0; i < 2; i++)
        m->scopes[i] = (struct model_scope){PICK(r, "", "a"), PICK(r, "", "1"), random_attrs(r, m)};
    for (uint32_t i = 0; i < RANDOM_SPANS; i++)
        m->spans[i] = (struct model_span){.trace = i * 3 / RANDOM_SPANS,
                                          .resource = (uint32_t)rng_below(r, 3),
                                          .scope = (uint32_t)rng_below(r, 2),
                                          .id = random_id(r, m, 8, &ids),
                                          .name = PICK(r, "", "a", "ab", "b"),
                                          .status_message = PICK(r, "", "a"),
                                          .duration_ns = (int64_t)rng_below(r, 4),
                                          .status = (int64_t)rng_below(r, 3),
                                          .kind = (int64_t)rng_below(r, 6),
                                          .left = (int64_t)rng_below(r, 4),
                                          .right = (int64_t)rng_below(r, 4),
                                          .parent = (int64_t)rng_below(r, 4) - 1,
                                          .attrs = random_attrs(r, m)};
    for (uint32_t i = 0; i < 20; i++) {
        span += (uint32_t)rng_below(r, 2);
        span = span < RANDOM_SPANS ? span : RANDOM_SPANS - 1;
        m->events[i] = (struct model_event){span, PICK(r, "a", "b", ""), (int64_t)rng_below(r, 4),
                                            random_attrs(r, m)};
    }
    span = 0;
    for (uint32_t i = 0; i < 6; i++) {
        span += (uint32_t)rng_below(r, 4);
        span = span < RANDOM_SPANS ? span : RANDOM_SPANS - 1;
        m->links[i] = (struct model_link){span, random_id(r, m, 16, &ids), random_id(r, m, 8, &ids),
                                          random_attrs(r, m)};
    }
    m->m = (struct model){.traces = m->traces,
                          .resources = m->resources,
                          .scopes = m->scopes,
                          .spans = m->spans,
                          .events = m->events,
                          .links = m->links,
                          .trace_count = 3,
                          .resource_count = 3,
                          .scope_count = 2,
                          .span_count = RANDOM_SPANS,
                          .event_count = 20,
                          .link_count = 6};
}

static const char *random_attr(struct rng *r)
{
    if (rng_below(r, 2))
        return PICK(r, "span.a", "span.b", ".a", ".b", "resource.a", "span.a");
    return PICK(r, "span.name", ".name", "event.a", "event.b", "link.a", "instrumentation.a",
                "resource.service.name", ".service.name", "span.http.method", ".http.method",
                "span.http.status_code", ".http.status_code", "resource.cluster", ".cluster",
                "resource.b", "name", "status", "kind", "duration", "statusMessage", "rootName",
                "rootServiceName", "traceDuration", "nestedSetLeft", "nestedSetRight",
                "nestedSetParent", "event:name", "event:timeSinceStart", "link:spanID",
                "link:traceID", "instrumentation:name", "instrumentation:version", "span:id",
                "trace:id");
}

static const char *random_literal(struct rng *r)
{
    return PICK(r, "0", "1", "2", "-1", "0.5", "1.0", "1.5", "\"\"", "\"a\"", "\"b\"", "\"1\"",
                "true", "false", "nil", "1ns", "2ns", "error", "ok", "server", "client", "unset",
                "\"ab01\"", "\"000000000000ab01\"", "\"0\"", "\"zz\"");
}

static void append(char *out, size_t size, const char *text)
{
    size_t n = strlen(out);
    snprintf(out + n, size - n, "%s", text);
}

static void random_operand(struct rng *r, char *out, size_t size, int depth)
{
    switch (rng_below(r, depth > 0 ? 8 : 5)) {
    case 0:
    case 1:
    case 2:
        append(out, size, random_attr(r));
        break;
    case 3:
    case 4:
        append(out, size, random_literal(r));
        break;
    case 5:
        append(out, size, "-");
        append(out, size, random_attr(r));
        break;
    default:
        append(out, size, "(");
        random_operand(r, out, size, depth - 1);
        append(out, size, PICK(r, " + ", " - ", " * ", " / ", " % ", " ^ "));
        random_operand(r, out, size, depth - 1);
        append(out, size, ")");
    }
}

static void random_bool(struct rng *r, char *out, size_t size, int depth)
{
    switch (rng_below(r, depth > 0 ? 10 : 5)) {
    case 0:
        random_operand(r, out, size, 2);
        append(out, size, PICK(r, " = ", " != ", " < ", " <= ", " > ", " >= "));
        random_operand(r, out, size, 2);
        break;
    case 1:
        append(out, size, random_attr(r));
        append(out, size, PICK(r, " =~ ", " !~ "));
        append(out, size, PICK(r, "\"a.*\"", "\".*b\"", "\"a|b\"", "\"[ab]+\"", "\"\""));
        break;
    case 2:
    case 3:
        append(out, size, random_attr(r));
        append(out, size, PICK(r, " = ", " != ", " < ", " <= ", " > ", " >= "));
        append(out, size, random_literal(r));
        break;
    case 4:
        append(out, size, rng_below(r, 3) ? random_attr(r) : PICK(r, "true", "false"));
        break;
    case 5:
        append(out, size, "!(");
        random_bool(r, out, size, depth - 1);
        append(out, size, ")");
        break;
    default:
        append(out, size, "(");
        random_bool(r, out, size, depth - 1);
        append(out, size, PICK(r, " && ", " || "));
        random_bool(r, out, size, depth - 1);
        append(out, size, ")");
    }
}

/* Few attributes, few literals: conditions meet on one attribute, and on one event. */
static void focused_bool(struct rng *r, const char *const *attrs, size_t count, bool conjunction,
                         char *out, size_t size, int depth)
{
    if (depth > 0 && rng_below(r, 4)) {
        append(out, size, rng_below(r, 4) ? "(" : "!(");
        focused_bool(r, attrs, count, conjunction, out, size, depth - 1);
        append(out, size, conjunction || rng_below(r, 2) ? " && " : " || ");
        focused_bool(r, attrs, count, conjunction, out, size, depth - 1);
        append(out, size, ")");
        return;
    }
    const char *attr = pick(r, attrs, count);
    append(out, size, attr);
    append(out, size, PICK(r, " = ", " != ", " = ", " > "));
    append(out, size,
           strstr(attr, "ame") ? PICK(r, "\"a\"", "\"b\"")
           : strchr(attr, '.') ? PICK(r, "1", "\"a\"", "1", "nil")
                               : PICK(r, "0", "1", "2"));
}

static void focused_query(struct rng *r, char *out, size_t size)
{
    static const char *const below[] = {
        "event.a", "event:name", "event.b", "link.a", "span.a", "span.b", "event:timeSinceStart"};
    static const char *const few[] = {"span.a", "span.b"};
    static const char *const event[] = {"event.a", "event:name", "event:timeSinceStart"};
    static const char *const sets[] = {"nestedSetLeft", "nestedSetParent", "span.a"};
    static const char *const above[] = {
        "instrumentation.a", "instrumentation:name", "resource.a", "resource.b", "span.a",
        "rootName"};
    out[0] = 0;
    append(out, size, "{ ");
    bool conjunction = rng_below(r, 3);
    switch (rng_below(r, 6)) {
    case 0:
        focused_bool(r, few, 2, conjunction, out, size, 3);
        break;
    case 1:
        focused_bool(r, above, 6, conjunction, out, size, 3);
        break;
    case 2:
        focused_bool(r, event, 3, conjunction, out, size, 2);
        break;
    case 3:
        focused_bool(r, sets, 3, conjunction, out, size, 3);
        break;
    default:
        focused_bool(r, below, 7, conjunction, out, size, 3);
    }
    append(out, size, " }");
}

static void random_query(struct rng *r, char *out, size_t size)
{
    if (rng_below(r, 2)) {
        focused_query(r, out, size);
        return;
    }
    out[0] = 0;
    uint64_t filters = rng_below(r, 4) ? 1 : 2 + rng_below(r, 2);
    for (uint64_t i = 0; i < filters; i++) {
        if (i)
            append(out, size, PICK(r, " && ", " || ", " | "));
        append(out, size, "{ ");
        if (rng_below(r, 12))
            random_bool(r, out, size, (int)rng_below(r, 4));
        append(out, size, " }");
    }
}

struct tally {
    uint32_t asked, failed, matched, unsupported;
};

/* Asks both; the query is known to parse. */
static void compare(const struct model *m, struct traceql_query *q, const char *text,
                    struct arena *a, struct tally *tally)
{
    struct naive_result want;
    struct traceql_result got = {0};
    struct traceql_eval *e;
    struct traceql_batch batch;
    struct err err = {0};
    int rc = traceql_eval_new(q, a, &e, &err);
    if (rc < 0) {
        assert_true(rc == ERR_INVALID || rc == ERR_UNSUPPORTED);
        tally->unsupported++;
        return;
    }
    naive_eval(m, q, &want);
    model_batch(m, q, a, &batch);
    rc = traceql_eval_batch(e, &batch, a, &got, &err);
    if ((rc < 0) != want.failed && !traceql_query_matches_nothing(q))
        fail_msg("%s: %s, naive: %s", text, rc < 0 ? err.msg : "no error",
                 want.failed ? "fails" : "does not");
    bool found[RANDOM_SPANS] = {0};
    for (uint32_t i = 0; i < got.span_count; i++) {
        assert_false(found[got.spans[i]]);
        found[got.spans[i]] = true;
    }
    for (uint32_t i = 0; rc == 0 && i < m->span_count; i++) {
        if (found[i] != want.matched[i])
            fail_msg("%s: span %u, naive says %d", text, i, want.matched[i]);
        if (!found[i])
            continue;
        char *pairs = pairs_text(&got, i);
        if (strcmp(pairs, want.pairs[i]) != 0)
            fail_msg("%s: span %u\n shows: %s\n naive: %s", text, i, pairs, want.pairs[i]);
        free(pairs);
        tally->matched++;
    }
    tally->asked++;
    tally->failed += rc < 0;
    naive_free(m, &want);
}

static void random_filters_agree_with_the_slow_evaluator(void **state)
{
    (void)state;
    struct rng rng = {.state = 20240607};
    struct random_model *m = calloc(1, sizeof *m);
    struct tally tally = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    const char *count = getenv("RANDOM_FILTERS"); /* for long runs by hand */
    uint32_t want = count ? (uint32_t)strtoul(count, NULL, 10) : 20000;
    while (tally.asked < want) {
        random_fill(&rng, m);
        for (int n = 0; n < 40; n++) {
            char text[4096];
            struct traceql_query *q;
            random_query(&rng, text, sizeof text);
            if (traceql_parse(slice_cstr(text), a, &q, NULL) == 0)
                compare(&m->m, q, text, a, &tally);
            arena_reset(a);
        }
    }
    /* The comparison is worth something only if queries find things and few fail. */
    assert_true(tally.matched > tally.asked);
    assert_true(tally.failed < tally.asked / 2);
    arena_free(a);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_filters_agree_with_the_slow_evaluator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
