/* Thousands of random searches over random traces: the evaluator against a slow one that goes trace
 * by trace and span by span with lists of entries (tests/support/naive_eval.c). */
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

/* Numbers the span and what is below it. */
static int64_t number_span(struct model_span *spans, uint32_t at, int64_t next)
{
    spans[at].left = next++;
    for (uint32_t i = 0; i < RANDOM_SPANS; i++) {
        if (spans[i].up == (int32_t)at) {
            spans[i].parent = spans[at].left;
            next = number_span(spans, i, next);
        }
    }
    spans[at].right = next;
    return next + 1;
}

/* Trees over the spans of each trace, in any order of storage; some spans hang on nothing. Wide,
 * deep and mixed ones. */
static void random_trees(struct rng *r, struct model_span *spans)
{
    uint64_t depth = 1 + rng_below(r, 4);
    for (uint32_t first = 0, end; first < RANDOM_SPANS; first = end) {
        uint32_t order[RANDOM_SPANS];
        for (end = first; end < RANDOM_SPANS && spans[end].trace == spans[first].trace; end++)
            order[end - first] = end;
        for (uint32_t i = end - first; i > 1; i--) {
            uint32_t k = (uint32_t)rng_below(r, i), other = order[k];
            order[k] = order[i - 1];
            order[i - 1] = other;
        }
        for (uint32_t i = 0; i < end - first; i++) {
            struct model_span *s = &spans[order[i]];
            uint32_t before = i > depth ? i - (uint32_t)depth : 0;
            s->up = MODEL_ROOT;
            if (i > 0 && rng_below(r, 8))
                s->up = (int32_t)order[before + rng_below(r, i - before)];
            if (rng_below(r, 10) == 0 || (s->up >= 0 && spans[s->up].up == MODEL_APART))
                s->up = MODEL_APART;
        }
        int64_t next = 1;
        for (uint32_t i = first; i < end; i++) {
            if (spans[i].up == MODEL_ROOT) {
                spans[i].parent = -1;
                next = number_span(spans, i, next);
            }
        }
    }
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
                                          .up = MODEL_APART,
                                          .attrs = random_attrs(r, m)};
    random_trees(r, m->spans);
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

static void random_filter(struct rng *r, char *out, size_t size)
{
    append(out, size, "{ ");
    switch (rng_below(r, 6)) {
    case 0:
        break;
    case 1:
    case 2:
    case 3: /* what many spans fulfil, so that there is something to relate */
        append(out, size,
               PICK(r, "kind = server", "status != ok", "status = error", "duration > 1ns",
                    "span.a != nil", "name != \"a\"", "rootName = \"a\" || kind != client",
                    "resource.a != nil", "nestedSetParent < 0", "nestedSetLeft > 2", "false",
                    "duration < 3ns", "!(status = ok) || traceDuration >= 0s"));
        break;
    default:
        random_bool(r, out, size, (int)rng_below(r, 3));
    }
    append(out, size, " }");
}

static const char *random_spanset_op(struct rng *r)
{
    return PICK(r, " && ", " || ", " > ", " >> ", " < ", " << ", " ~ ", " !> ", " !>> ", " !< ",
                " !<< ", " !~ ", " &> ", " &>> ", " &< ", " &<< ", " &~ ");
}

static void random_spanset(struct rng *r, char *out, size_t size, int depth)
{
    if (depth == 0 || rng_below(r, 3) == 0) {
        random_filter(r, out, size);
        return;
    }
    bool parens = rng_below(r, 3) == 0;
    append(out, size, parens ? "(" : "");
    random_spanset(r, out, size, depth - 1);
    append(out, size, random_spanset_op(r));
    random_spanset(r, out, size, depth - 1);
    append(out, size, parens ? ")" : "");
}

static void random_scalar_filter(struct rng *r, char *out, size_t size)
{
    if (rng_below(r, 2)) {
        append(out, size, "count()");
    } else {
        append(out, size, PICK(r, "min(", "max(", "avg(", "sum("));
        if (rng_below(r, 2))
            append(out, size, PICK(r, "duration", "span.a", ".b", "nestedSetLeft", "event.a"));
        else
            random_operand(r, out, size, 1);
        append(out, size, ")");
    }
    append(out, size, PICK(r, " > ", " >= ", " < ", " != ", " = "));
    append(out, size, PICK(r, "0", "1", "2", "-1", "0.5", "1ns", "3"));
}

static void random_stage(struct rng *r, char *out, size_t size, bool first)
{
    switch (rng_below(r, first ? 6 : 7)) {
    case 0:
        random_scalar_filter(r, out, size);
        break;
    case 1:
    case 2:
        append(out, size, "by(");
        if (rng_below(r, 4))
            append(out, size, random_attr(r));
        else
            random_bool(r, out, size, 1);
        append(out, size, ")");
        break;
    case 3:
        append(out, size, "select(");
        append(out, size, random_attr(r));
        append(out, size, ", ");
        append(out, size, random_attr(r));
        append(out, size, ")");
        break;
    case 6:
        append(out, size, "coalesce()");
        break;
    default:
        random_spanset(r, out, size, 1 + (int)rng_below(r, 2));
    }
}

static void random_pipeline(struct rng *r, char *out, size_t size)
{
    uint64_t stages = 1 + rng_below(r, 4);
    for (uint64_t i = 0; i < stages; i++) {
        append(out, size, i ? " | " : "");
        random_stage(r, out, size, i == 0);
    }
}

static void random_groups(struct rng *r, char *out, size_t size)
{
    for (uint64_t i = 0, n = 1 + rng_below(r, 3); i < n; i++) {
        append(out, size, i ? random_spanset_op(r) : "");
        append(out, size, "(");
        random_pipeline(r, out, size);
        append(out, size, ")");
    }
}

static void random_filters(struct rng *r, char *out, size_t size)
{
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

static void random_query(struct rng *r, char *out, size_t size)
{
    out[0] = 0;
    switch (rng_below(r, 8)) {
    case 0:
    case 1:
        focused_query(r, out, size);
        break;
    case 2:
    case 3:
        random_filters(r, out, size);
        break;
    case 4:
    case 5:
        random_spanset(r, out, size, 1 + (int)rng_below(r, 3));
        break;
    case 6:
        random_pipeline(r, out, size);
        break;
    default:
        random_groups(r, out, size);
    }
}

struct tally {
    uint32_t asked, failed, refused, spans, sets;
};

static void compare_sets(const struct naive_result *want, const struct traceql_result *got,
                         const char *text, struct tally *tally)
{
    if (got->set_count != want->set_count)
        fail_msg("%s: %u spansets, naive: %u", text, got->set_count, want->set_count);
    for (uint32_t i = 0; i < got->set_count; i++) {
        const struct traceql_spanset *g = &got->sets[i];
        const struct naive_set *w = &want->sets[i];
        char *attrs = set_attrs_text(g);
        if (g->trace != w->trace || g->count != w->count || strcmp(attrs, w->attrs) != 0)
            fail_msg("%s: spanset %u: trace %u, %u spans, %s naive: trace %u, %u spans, %s", text,
                     i, g->trace, g->count, attrs, w->trace, w->count, w->attrs);
        free(attrs);
        for (uint32_t k = 0; k < g->count; k++) {
            uint32_t span = got->spans[g->first + k];
            if (span != w->spans[k])
                fail_msg("%s: spanset %u: span %u at %u, naive: %u", text, i, span, k, w->spans[k]);
            char *pairs = pairs_text(got, span);
            if (strcmp(pairs, want->pairs[span]) != 0)
                fail_msg("%s: span %u\n shows: %s\n naive: %s", text, span, pairs,
                         want->pairs[span]);
            free(pairs);
            tally->spans++;
        }
        tally->sets++;
    }
}

/* Asks both; the query is known to parse. */
static void compare(const struct model *m, struct traceql_query *q, const char *text,
                    struct arena *a, struct tally *tally)
{
    struct naive_result want;
    struct traceql_result got = {0};
    struct traceql_eval *e;
    struct traceql_batch batch, second;
    struct err err = {0};
    int rc = traceql_eval_new(q, a, &e, &err);
    if (rc < 0) {
        assert_int_equal(rc, ERR_INVALID);
        tally->refused++;
        return;
    }
    naive_eval(m, q, &want);
    model_batch(m, q, a, &batch);
    rc = traceql_eval_batch(e, &batch, a, &got, &err);
    if ((rc < 0) != want.failed && !traceql_query_matches_nothing(q))
        fail_msg("%s: %s, naive: %s", text, rc < 0 ? err.msg : "no error",
                 want.failed ? "fails" : "does not");
    if (rc == 0 && traceql_second_pass(q)) {
        model_batch(m, traceql_second_pass(q), a, &second);
        assert_int_equal(traceql_result_second(&got, &second, &err), 0);
    }
    if (rc == 0)
        compare_sets(&want, &got, text, tally);
    tally->asked++;
    tally->failed += rc < 0;
    naive_free(m, &want);
}

static void random_searches_agree_with_the_slow_evaluator(void **state)
{
    (void)state;
    struct rng rng = {.state = 20240607};
    struct random_model *m = calloc(1, sizeof *m);
    struct tally tally = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    const char *count = getenv("RANDOM_SEARCHES"); /* for long runs by hand */
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
    print_message("%u asked, %u failed, %u refused, %u spansets of %u spans\n", tally.asked,
                  tally.failed, tally.refused, tally.sets, tally.spans);
    /* The comparison is worth something only if queries find things and few fail. */
    assert_true(tally.spans > tally.asked);
    assert_true(tally.sets > tally.asked / 2);
    assert_true(tally.failed < tally.asked / 2);
    arena_free(a);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_searches_agree_with_the_slow_evaluator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
