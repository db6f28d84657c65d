/* One set of spans, stored as vParquet3, 4 and 5: the same questions get the same answers, but for
 * what a version does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/text.h"
#include "block/assemble.h"
#include "tests/support/old_block.h"
#include "tests/support/otlp_support.h"
#include "worker/scan.h"
#include "worker/scan_source.h"
#include "worker/worker_priv.h"

static const struct objstore_env env = {.clock = &clock_system};

enum { V3, V4, V5, VERSIONS };
static const enum block_version versions[] = {BLOCK_VPARQUET3, BLOCK_VPARQUET4, BLOCK_VPARQUET5};

static const struct block_dedicated dedicated_v4[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("deployment.environment")},
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("host.name")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("db.statement")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("messaging.system")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("enduser.id")},
};

struct stage {
    struct arena *arena;
    struct objstore *store;
    struct worker worker;
    struct span_batch spans; /* as vParquet4 gives them back */
    struct catalog_block block[VERSIONS];
};

/* ---- the stage ---- */

static void read_spans(const char *path, struct stage *st)
{
    struct buf bytes;
    struct parquet_file *f;
    struct err err = {0};
    uint32_t footer_bytes;
    int leaf_of[BLOCK_LEAVES];
    buf_init(&bytes, SIZE_MAX / 2);
    support_read_file(path, &bytes);
    struct slice file;
    assert_true(arena_slice(st->arena, buf_view(&bytes), &file));
    buf_clear(&bytes);
    assert_int_equal(
        parquet_tail_decode(slice_from(file, file.len - 8), file.len, &footer_bytes, &err), 0);
    struct slice footer = slice_of(file.ptr + file.len - 8 - footer_bytes, footer_bytes);
    assert_int_equal(parquet_footer_decode(footer, file.len, st->arena, &f, &err), 0);
    assert_int_equal(block_schema_bind(f, BLOCK_VPARQUET4, leaf_of, &err), 0);
    struct column *columns = arena_zalloc(st->arena, BLOCK_LEAVES * sizeof *columns);
    assert_non_null(columns);
    for (uint32_t i = 0; i < BLOCK_V4_LEAVES; i++) {
        const struct parquet_chunk *c = &f->row_groups[0].chunks[leaf_of[i]];
        assert_int_equal(parquet_chunk_decode(f, 0, (uint32_t)leaf_of[i],
                                              slice_of(file.ptr + c->offset, c->bytes), st->arena,
                                              &columns[i], &err),
                         0);
    }
    /* The fixture has this list too, the conformance block none. */
    assert_int_equal(
        block_assemble(columns, dedicated_v4, 5, 0, columns[0].rows, st->arena, &st->spans, &err),
        0);
}

static void set_stage(struct stage *st, const char *path, uint32_t row_group_rows)
{
    struct err err = {0};
    *st = (struct stage){.arena = arena_new((size_t)1 << 30)};
    assert_int_equal(objstore_memory_new(&env, &st->store, &err), 0);
    read_spans(path, st);
    for (int v = 0; v < VERSIONS; v++) {
        struct old_block_opts opts = {
            .version = versions[v],
            .tenant = "t",
            .id = {(uint8_t)(v + 1)},
            .dedicated = v == V5 ? old_dedicated_v5 : dedicated_v4,
            .dedicated_count = v == V5 ? old_dedicated_v5_count : 5,
            .row_group_rows = row_group_rows,
        };
        struct old_block block;
        old_block_make(&opts, &st->spans, st->arena, &block);
        old_block_put(st->store, &block);
        st->block[v].meta = block.meta;
    }
    st->worker.opts = (struct worker_opts){.store = st->store, .clock = &clock_system};
    assert_int_equal(footer_cache_new((size_t)64 << 20, &st->worker.footers, &err), 0);
}

static void strike_stage(struct stage *st)
{
    footer_cache_free(st->worker.footers);
    scan_memories_free(&st->worker);
    objstore_free(st->store);
    span_batch_clear(&st->spans);
    arena_free(st->arena);
}

/* ---- answers as text ---- */

static void put_hex(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        assert_int_equal(buf_printf(out, "%02x", bytes.ptr[i]), 0);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines in the order of their text: attributes and services have none of their own. */
static void put_sorted(struct buf *out, char **lines, uint32_t count)
{
    if (count)
        qsort(lines, count, sizeof *lines, by_text);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(buf_printf(out, " %s", lines[i]), 0);
}

static void put_span(const struct query_span *sp, struct arena *a, struct buf *out)
{
    char **lines = arena_array(a, char *, sp->attr_count);
    assert_non_null(lines);
    for (uint32_t i = 0; i < sp->attr_count; i++) {
        const struct query_attr *attr = &sp->attrs[i];
        struct buf values;
        buf_init(&values, 1 << 16);
        for (uint32_t k = 0; k < attr->count; k++) {
            assert_int_equal(traceql_value_print(&attr->values[k], &values), 0);
            assert_int_equal(buf_u8(&values, ','), 0);
        }
        lines[i] =
            arena_printf(a, "%.*s=%.*s", SLICE_ARGS(attr->key), SLICE_ARGS(buf_view(&values)));
        assert_non_null(lines[i]);
        buf_clear(&values);
    }
    assert_int_equal(buf_printf(out, "  "), 0);
    put_hex(out, sp->id);
    assert_int_equal(buf_printf(out, " %.*s %llu +%llu", SLICE_ARGS(sp->name),
                                (unsigned long long)sp->start_unix_ns,
                                (unsigned long long)sp->duration_ns),
                     0);
    put_sorted(out, lines, sp->attr_count);
    assert_int_equal(buf_printf(out, "\n"), 0);
}

static void put_trace(const struct query_trace *t, bool services, struct arena *a, struct buf *out)
{
    put_hex(out, slice_of(t->id, sizeof t->id));
    assert_int_equal(buf_printf(out, " %.*s/%.*s %llu +%llu", SLICE_ARGS(t->root_service),
                                SLICE_ARGS(t->root_name), (unsigned long long)t->start_unix_ns,
                                (unsigned long long)t->duration_ns),
                     0);
    char **lines = arena_array(a, char *, t->service_count);
    assert_non_null(lines);
    for (uint32_t i = 0; i < t->service_count; i++) {
        const struct query_service *s = &t->services[i];
        lines[i] =
            arena_printf(a, "[%.*s %u %u]", SLICE_ARGS(s->name), s->span_count, s->error_count);
        assert_non_null(lines[i]);
    }
    if (services)
        put_sorted(out, lines, t->service_count);
    assert_int_equal(buf_printf(out, "\n"), 0);
    for (uint32_t i = 0; i < t->set_count; i++) {
        assert_int_equal(buf_printf(out, " %u matched\n", t->sets[i].matched), 0);
        for (uint32_t k = 0; k < t->sets[i].span_count; k++)
            put_span(&t->sets[i].spans[k], a, out);
    }
}

/* Traces found; the text ends in a 0. */
static uint32_t ask(struct stage *st, int version, const char *text, bool services, struct buf *out)
{
    struct arena *a = arena_new((size_t)256 << 20);
    struct traceql_query *q;
    struct query_search_result result;
    struct err err = {0};
    if (traceql_parse(slice_cstr(text), a, &q, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    const struct query_search search = {.query = q, .limit = 100000, .spans_per_set = 100000};
    const struct query_source source = {.tenant = SLICE("t"), .block = &st->block[version]};
    if (worker_search(&st->worker, &source, &search, UINT64_MAX, a, &result, &err) < 0)
        fail_msg("%s over vParquet%d: %s", text, (int)versions[version], err.msg);
    for (uint32_t i = 0; i < result.trace_count; i++)
        put_trace(&result.traces[i], services, a, out);
    assert_int_equal(buf_u8(out, 0), 0);
    uint32_t found = result.trace_count;
    arena_free(a);
    return found;
}

/* ---- the questions ---- */

enum expect {
    SAME,
    NOTHING, /* the version does not have it, so it finds no trace */
};

struct question {
    const char *text;
    bool found; /* by vParquet4, in the fixture */
    uint8_t v3; /* enum expect */
};

static const struct question questions[] = {
    {"{}", true, SAME},
    {"{ name = \"charge\" }", true, SAME},
    {"{ name =~ \"op-.*\" && kind = server }", true, SAME},
    {"{ status = error }", true, SAME},
    {"{ statusMessage != \"\" }", true, SAME},
    {"{ duration > 100ms }", true, SAME},
    {"{ rootName = \"root\" && rootServiceName =~ \"bulk-[1-4]\" }", true, SAME},
    {"{ traceDuration > 1s }", false, SAME},
    {"{ span:id = \"a100000000000001\" }", true, SAME},
    {"{ nestedSetParent < 0 }", true, SAME},

    /* Columns of their own in some versions, generic in others. */
    {"{ resource.service.name = \"shop\" }", true, SAME},
    {"{ resource.service.name = 123 }", true, SAME},
    {"{ resource.cluster = \"c1\" }", true, SAME},
    {"{ resource.cluster = true }", true, SAME},
    {"{ resource.namespace = \"ns1\" && resource.pod =~ \"pod.*\" }", true, SAME},
    {"{ resource.k8s.pod.name = \"kpod\" }", true, SAME},
    {"{ resource.k8s.container.name != \"x\" }", true, SAME},
    {"{ span.http.method = \"GET\" }", true, SAME},
    {"{ span.http.method = 7 }", true, SAME},
    {"{ span.http.url =~ \"http.*\" }", true, SAME},
    {"{ span.http.status_code >= 200 }", true, SAME},
    {"{ span.http.status_code = \"500\" }", true, SAME},
    {"{ .http.status_code = 200 }", true, SAME},
    {"{ .cluster = \"c1\" }", true, SAME},

    /* Dedicated ones. */
    {"{ resource.deployment.environment = \"prod\" }", true, SAME},
    {"{ resource.host.name =~ \"host.*\" }", true, SAME},
    {"{ resource.res.int = 5 }", true, SAME},
    {"{ span.db.statement =~ \"SELECT.*\" }", true, SAME},
    {"{ span.db.statement = 12345 }", true, SAME},
    {"{ span.enduser.id != nil }", true, SAME},
    {"{ span.nobody.has.this != nil }", false, SAME},

    /* Generic ones, of every type. */
    {"{ span.a.string = \"hello\" }", true, SAME},
    {"{ span.a.empty = \"\" }", true, SAME},
    {"{ span.a.int = 42 }", true, SAME},
    {"{ span.a.int.min < 0 }", true, SAME},
    {"{ span.a.double > 3.0 }", true, SAME},
    {"{ span.a.bool.t = true }", true, SAME},
    {"{ span.a.bool.f = false }", true, SAME},
    {"{ span.n > 2 && span.even = true }", true, SAME},
    {"{ .n = 3 }", true, SAME},
    {"{ span.dup = \"second\" }", true, SAME},
    {"{ span.a.int = 42 || span.n = 1 }", true, SAME},
    {"{ span.n > span.missing }", false, SAME},
    {"{ span.a.unicode != \"\" }", true, SAME},

    /* Arrays: JSON in vParquet3, which is not searched. */
    {"{ span.arr.string = \"x\" }", true, NOTHING},
    {"{ span.arr.string != nil }", true, NOTHING},
    {"{ span.arr.string =~ \".\" }", true, NOTHING},
    {"{ span.arr.int = 1 }", true, NOTHING},
    {"{ span.arr.int > 1 }", true, NOTHING},
    {"{ span.arr.double > 1.0 }", true, NOTHING},
    {"{ span.arr.bool = true }", true, NOTHING},
    {"{ resource.res.arr = \"r2\" }", true, NOTHING},
    {"{ span.arr.mixed != nil }", false, SAME},
    {"{ span.kv.simple != nil }", false, SAME},
    {"{ span.bytes != nil }", false, SAME},

    /* Events, links and scopes: names and times are there in vParquet3, attributes and links not.
     */
    {"{ event:name = \"cache.miss\" }", true, SAME},
    {"{ event:timeSinceStart > 1ms }", true, SAME},
    {"{ event:name = \"before-start\" && event:timeSinceStart < 0ms }", true, SAME},
    {"{ event.ev.key = \"cart:1\" }", true, NOTHING},
    {"{ event.ev.hits = 0 }", true, NOTHING},
    {"{ event.ev.ratio > 0.5 }", true, NOTHING},
    {"{ event.ev.arr = \"e1\" }", true, NOTHING},
    {"{ event.note =~ \"event.*\" }", true, NOTHING},
    {"{ link:spanID != \"\" }", true, NOTHING},
    {"{ link:traceID = \"af7651916cd43dd8448eb211c80319c\" }", true, NOTHING},
    {"{ link.link.kind = \"follows\" }", true, NOTHING},
    {"{ link.link.arr = 4 }", true, NOTHING},
    {"{ instrumentation:name = \"lib-http\" }", true, SAME},
    {"{ instrumentation:version =~ \"1.*\" }", true, SAME},
    {"{ instrumentation.scope.int = 3 }", true, NOTHING},
};
#define QUESTIONS (sizeof questions / sizeof questions[0])

static void compare(struct stage *st, const struct question *q, bool fixture)
{
    struct buf want, have;
    buf_init(&want, SIZE_MAX / 2);
    buf_init(&have, SIZE_MAX / 2);
    uint32_t found = ask(st, V4, q->text, true, &want);
    if (fixture && q->found != (found > 0))
        fail_msg("%s finds %u traces in vParquet4", q->text, found);
    ask(st, V5, q->text, true, &have);
    if (strcmp((char *)have.ptr, (char *)want.ptr) != 0)
        fail_msg("%s\nvParquet5:\n%s\nvParquet4:\n%s", q->text, have.ptr, want.ptr);

    buf_reset(&want);
    buf_reset(&have);
    ask(st, V4, q->text, false, &want);
    found = ask(st, V3, q->text, false, &have);
    if (q->v3 == SAME && strcmp((char *)have.ptr, (char *)want.ptr) != 0)
        fail_msg("%s\nvParquet3:\n%s\nvParquet4:\n%s", q->text, have.ptr, want.ptr);
    if (q->v3 == NOTHING && found)
        fail_msg("%s\nvParquet3:\n%s", q->text, have.ptr);
    buf_clear(&want);
    buf_clear(&have);
}

static const char fixture_path[] =
    "tests/data/fixtures/blocks/acme/ff2a1b95-f4c1-44b9-87d1-341455ab6a9e/data.parquet";
static const char edge_path[] =
    "tests/data/conformance/blocks/edge/28b32bc4-3130-4c49-9e90-ad3c05862dbf/data.parquet";

static void searches_over_the_fixture_give_the_same_answers(void **state)
{
    (void)state;
    for (uint32_t rows = 0; rows < 8; rows += 3) { /* one row group, and several */
        struct stage st;
        set_stage(&st, fixture_path, rows);
        for (size_t i = 0; i < QUESTIONS; i++)
            compare(&st, &questions[i], true);
        strike_stage(&st);
    }
}

static void searches_over_a_larger_block_give_the_same_answers(void **state)
{
    (void)state;
    static const struct question more[] = {
        {"{ span.http.method = \"GET\" && resource.service.name =~ \".*\" }", false, SAME},
        {"{ .http.method != nil }", false, SAME},
        {"{ span.http.route != nil }", false, SAME},
        {"{ status = error && duration > 1ms }", false, SAME},
        {"{ kind = client || kind = producer }", false, SAME},
        {"{ resource.k8s.namespace.name != nil }", false, SAME},
        {"{ event:name != \"\" }", false, SAME},
        {"{ nestedSetLeft > 3 }", false, SAME},
    };
    struct stage st;
    set_stage(&st, edge_path, 100);
    for (size_t i = 0; i < QUESTIONS; i++)
        compare(&st, &questions[i], false);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        compare(&st, &more[i], false);
    strike_stage(&st);
}

/* An array under a dedicated name is in the generic list of vParquet4, where conditions of the
 * column's type do not look, and in the column of vParquet5, where they do. */
static void arrays_in_dedicated_columns_are_searched(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int matched[VERSIONS];
        const char *shown; /* of the last span, in vParquet5 */
    } cases[] = {
        {"{ span.messaging.system = \"kafka\" }", {1, 1, 2}, "messaging.system=`kafka`,"},
        {"{ span.messaging.system =~ \".*a.*\" }", {1, 1, 2}, "messaging.system=`"},
        {"{ span.messaging.system = \"nats\" }", {0, 0, 1}, "messaging.system=`nats`,"},
        {"{ span.messaging.system = \"sqs\" }", {0, 0, 0}, NULL},
        {"{ span.http.url = \"u2\" }", {0, 0, 1}, "http.url=`u2`,"},
        {"{ span.http.url =~ \"u.\" }", {0, 0, 1}, "http.url=`u1`,`u2`,"},
    };
    struct stage st;
    set_stage(&st, fixture_path, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int v = 0; v < VERSIONS; v++) {
            struct buf text;
            buf_init(&text, 1 << 20);
            uint32_t found = ask(&st, v, cases[i].text, false, &text);
            char want[32];
            snprintf(want, sizeof want, "\n %d matched\n", cases[i].matched[v]);
            if (found != (cases[i].matched[v] > 0) ||
                (found && !strstr((const char *)text.ptr, want)))
                fail_msg("%s, vParquet%d: %s", cases[i].text, (int)versions[v], text.ptr);
            if (v == V5 && cases[i].shown && !strstr((const char *)text.ptr, cases[i].shown))
                fail_msg("%s, vParquet5: %s", cases[i].text, text.ptr);
            buf_clear(&text);
        }
    }
    strike_stage(&st);
}

/* ---- one trace ---- */

static void find(struct stage *st, int version, const uint8_t id[16], struct arena *a,
                 struct span_batch *out)
{
    const struct query_source source = {.tenant = SLICE("t"), .block = &st->block[version]};
    struct query_trace_result result = {.batch = out};
    struct err err = {0};
    if (worker_find_trace(&st->worker, &source, id, UINT64_MAX, a, &result, &err) < 0)
        fail_msg("vParquet%d: %s", (int)versions[version], err.msg);
}

static void every_trace_is_found_by_its_id(void **state)
{
    (void)state;
    static const char *const paths[] = {fixture_path, edge_path};
    for (int p = 0; p < 2; p++) {
        struct stage st;
        set_stage(&st, paths[p], p ? 100 : 4);
        for (uint32_t i = 0, next; i < st.spans.spans.count; i = next) {
            const uint8_t *id = st.spans.spans.at[i].trace_id;
            for (next = i + 1; next < st.spans.spans.count; next++) {
                if (memcmp(st.spans.spans.at[next].trace_id, id, 16) != 0)
                    break;
            }
            for (int v = 0; v < VERSIONS; v++) {
                struct arena *a = arena_new((size_t)64 << 20);
                struct span_batch found = {0};
                find(&st, v, id, a, &found);
                assert_int_equal(found.spans.count, next - i);
                for (uint32_t k = 0; k < found.spans.count; k++) {
                    const struct span *have = &found.spans.at[k];
                    const struct span *want = &st.spans.spans.at[i + k];
                    assert_memory_equal(have->trace_id, id, 16);
                    assert_true(slice_eq(have->span_id, want->span_id));
                    assert_true(slice_eq(have->name, want->name));
                    assert_int_equal(have->events.count, want->events.count);
                    assert_int_equal(have->links.count, want->links.count);
                }
                span_batch_clear(&found);
                arena_free(a);
            }
        }
        static const uint8_t nobodys[16] = {0x42, 0x42};
        for (int v = 0; v < VERSIONS; v++) {
            struct arena *a = arena_new((size_t)64 << 20);
            struct span_batch found = {0};
            find(&st, v, nobodys, a, &found);
            assert_int_equal(found.spans.count, 0);
            arena_free(a);
        }
        strike_stage(&st);
    }
}

/* ---- hostile columns ---- */

/* Levels that a page can say: the values are as many as they tell. False when there are too few. */
static bool bend_levels(struct rng *r, struct column *c)
{
    uint32_t at = (uint32_t)rng_below(r, c->entries), values = 0, rows = 0;
    if (c->rep_max && rng_below(r, 2))
        c->rep[at] = (uint8_t)rng_below(r, c->rep_max + 1u);
    else
        c->def[at] = (uint8_t)rng_below(r, c->def_max + 1u);
    if (c->rep_max && rng_below(r, 4) == 0) { /* everything behind it is shifted */
        memmove(c->rep + at, c->rep + at + 1, c->entries - at - 1);
        memmove(c->def + at, c->def + at + 1, c->entries - at - 1);
        c->entries--;
    }
    for (uint32_t i = 0; i < c->entries; i++) {
        values += c->def[i] == c->def_max;
        rows += !c->rep_max || c->rep[i] == 0;
    }
    bool enough = values <= c->values;
    c->values = values;
    c->rows = rows;
    return enough && c->entries && (!c->rep_max || c->rep[0] == 0);
}

static void *copy_exactly(const void *p, size_t n)
{
    void *q = malloc(n);
    if (n) {
        assert_non_null(q);
        memcpy(q, p, n);
    }
    return q;
}

static void close_scan(void *scan)
{
    scan_close(scan);
}

/* Columns of the fixture as vParquet5, all there at once. */
static void ready_columns(struct stage *st, struct column *columns)
{
    struct footer *footer;
    struct err err = {0};
    assert_int_equal(footer_cache_get(st->worker.footers, st->store, &st->block[V5].meta,
                                      UINT64_MAX, &footer, &err),
                     0);
    struct scan *s = arena_zalloc(st->arena, sizeof *s);
    assert_non_null(s);
    *s = (struct scan){.store = st->store,
                       .meta = &st->block[V5].meta,
                       .footer = footer,
                       .deadline_mono_ns = UINT64_MAX,
                       .clock = &clock_system,
                       .step = QUERY_STEPS,
                       .group = st->arena,
                       .arena = st->arena,
                       .row_count = footer->file->row_groups[0].rows};
    s->stats = arena_zalloc(st->arena, sizeof *s->stats);
    assert_non_null(s->stats);
    assert_true(arena_on_reset(st->arena, close_scan, s)); /* the columns are its readers' */
    int all[BLOCK_LEAVES];
    for (int i = 0; i < BLOCK_LEAVES; i++)
        all[i] = i;
    assert_int_equal(scan_need(s, all, BLOCK_LEAVES, &err), 0);
    memcpy(columns, s->decoded, sizeof s->decoded);
    footer_cache_put(st->worker.footers, footer);
}

static int search_bent(struct stage *st, const struct column *columns, const char *text,
                       struct err *err)
{
    struct arena *a = arena_new((size_t)64 << 20);
    struct traceql_query *q;
    struct traceql_eval *eval;
    struct traceql_batch batch;
    struct traceql_result result;
    struct scan *s = arena_zalloc(a, sizeof *s);
    assert_non_null(s);
    *s = (struct scan){.meta = &st->block[V5].meta,
                       .ready = columns,
                       .deadline_mono_ns = UINT64_MAX,
                       .group = a,
                       .arena = a};
    assert_int_equal(traceql_parse(slice_cstr(text), a, &q, err), 0);
    assert_int_equal(traceql_eval_new(q, a, &eval, err), 0);
    int rc = scan_batch(s, q, &batch, err);
    rc = rc < 0 ? rc : traceql_eval_batch(eval, &batch, a, &result, err);
    arena_free(a);
    return rc;
}

static void bent_columns_are_refused_or_searched_never_worse(void **state)
{
    (void)state;
    /* Each question with the leaves that it reads. */
    static const struct {
        const char *text;
        int leaves[4];
    } cases[] = {
        {"{ span.http.url =~ \"u.\" }", {BLOCK_SPAN_DEDICATED + 1, BLOCK_SPAN_KIND, -1}},
        {"{ span.http.url = 3 || span.http.url = \"u1\" }",
         {BLOCK_SPAN_DEDICATED + 1, BLOCK_SPAN_ATTRS, BLOCK_SPAN_ATTRS + BLOCK_ATTR_INT, -1}},
        {"{ resource.res.arr = \"r2\" }",
         {BLOCK_RESOURCE_DEDICATED + 2, BLOCK_RESOURCE_ATTRS, BLOCK_SPAN_KIND, -1}},
        {"{ span.arr.double > 1.0 }",
         {BLOCK_SPAN_ATTRS, BLOCK_SPAN_ATTRS + BLOCK_ATTR_DOUBLE, BLOCK_SPAN_KIND, -1}},
        {"{ event.ev.ratio > 0.5 && event:name != \"\" }",
         {BLOCK_EVENT_NAME, BLOCK_EVENT_ATTRS, BLOCK_EVENT_ATTRS + BLOCK_ATTR_DOUBLE, -1}},
        {"{ link.link.n = 9 }",
         {BLOCK_LINK_SPAN_ID, BLOCK_LINK_ATTRS, BLOCK_LINK_ATTRS + BLOCK_ATTR_INT, -1}},
        {"{ instrumentation.scope.int = 3 }",
         {BLOCK_SCOPE_ATTRS, BLOCK_SCOPE_ATTRS + BLOCK_ATTR_INT, BLOCK_SPAN_KIND, -1}},
    };
    struct stage st;
    static struct column good[BLOCK_LEAVES], columns[BLOCK_LEAVES];
    struct rng r = {.state = 11};
    uint32_t refused = 0, searched = 0;
    set_stage(&st, fixture_path, 0);
    ready_columns(&st, good);
    for (int round = 0; round < 20000; round++) {
        size_t k = rng_below(&r, sizeof cases / sizeof cases[0]);
        int leaf = cases[k].leaves[rng_below(&r, 3)];
        if (leaf < 0)
            continue;
        memcpy(columns, good, sizeof columns);
        struct column *c = &columns[leaf];
        c->rep = copy_exactly(c->rep, c->entries);
        c->def = copy_exactly(c->def, c->entries);
        uint8_t *rep = c->rep, *def = c->def;
        struct err err = {0};
        if (bend_levels(&r, c)) {
            int rc = search_bent(&st, columns, cases[k].text, &err);
            if (rc < 0 && (rc != ERR_CORRUPT || !strstr(err.msg, "column ")))
                fail_msg("%s with %s bent: %d %s", cases[k].text, block_leaves[leaf].path, rc,
                         err.msg);
            refused += rc < 0;
            searched += rc == 0;
        }
        free(rep);
        free(def);
    }
    assert_true(refused > 1000);
    assert_true(searched > 1000);
    strike_stage(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_over_the_fixture_give_the_same_answers),
        cmocka_unit_test(searches_over_a_larger_block_give_the_same_answers),
        cmocka_unit_test(arrays_in_dedicated_columns_are_searched),
        cmocka_unit_test(every_trace_is_found_by_its_id),
        cmocka_unit_test(bent_columns_are_refused_or_searched_never_worse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
