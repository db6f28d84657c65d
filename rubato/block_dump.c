/* rubato block dump: a block's traces for people or as OTLP/JSON, or the entries of one column. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "block/value_json.h"
#include "catalog/block_rows.h"
#include "otlp/otlp.h"
#include "rubato/block_tool.h"

#define LIMIT_TOOL_COLUMN_BYTES ((size_t)4 << 30)

struct dump {
    struct block_tool *tool;
    bool one;
    uint8_t id[16]; /* with one */
    uint64_t left;
    VEC(uint32_t) order;
};

/* ---- traces ---- */

static const char *kind_name(int32_t kind)
{
    static const char *const names[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};
    return kind >= 0 && kind < 6 ? names[kind] : "?";
}

static int put_text(struct buf *out, struct slice s)
{
    return buf_json_string(out, s);
}

static int put_value(struct buf *out, const struct span_batch *b, const struct value *v)
{
    char number[40];
    switch (v->type) {
    case VALUE_STRING:
        return put_text(out, v->str);
    case VALUE_BOOL:
        return buf_str(out, v->b ? "true" : "false");
    case VALUE_INT:
        return buf_printf(out, "%" PRId64, v->i64);
    case VALUE_DOUBLE:
        format_f64_json(v->f64, number);
        return buf_str(out, number);
    case VALUE_NONE:
        return buf_str(out, "none");
    default:
        return value_json_write(b, v, out);
    }
}

static int put_attrs(struct buf *out, const struct span_batch *b, struct range attrs,
                     const char *indent)
{
    int rc = 0;
    for (uint32_t i = 0; i < attrs.count && rc == 0; i++) {
        const struct attr *a = &b->attrs.at[attrs.first + i];
        char key[512];
        rc = buf_printf(out, "%s%s = ", indent, text_escape(a->key, 200, key, sizeof key));
        rc = rc < 0 ? rc : put_value(out, b, &a->value);
        rc = rc < 0 ? rc : buf_u8(out, '\n');
    }
    return rc;
}

static int put_events(struct buf *out, const struct span_batch *b, const struct span *s)
{
    int rc = 0;
    for (uint32_t i = 0; i < s->events.count && rc == 0; i++) {
        const struct event *e = &b->events.at[s->events.first + i];
        rc = buf_printf(out, "      event %+" PRId64 " ns ",
                        (int64_t)(e->time_unix_ns - s->start_unix_ns));
        rc = rc < 0 ? rc : put_text(out, e->name);
        rc = rc < 0 ? rc : buf_u8(out, '\n');
        rc = rc < 0 ? rc : put_attrs(out, b, e->attrs, "        ");
    }
    for (uint32_t i = 0; i < s->links.count && rc == 0; i++) {
        const struct link *l = &b->links.at[s->links.first + i];
        rc = buf_str(out, "      link ");
        rc = rc < 0 ? rc : buf_hex(out, l->trace_id);
        rc = rc < 0 ? rc : buf_u8(out, ' ');
        rc = rc < 0 ? rc : buf_hex(out, l->span_id);
        rc = rc < 0 ? rc : buf_u8(out, '\n');
        rc = rc < 0 ? rc : put_attrs(out, b, l->attrs, "        ");
    }
    return rc;
}

static int put_span(struct buf *out, const struct span_batch *b, const struct span *s)
{
    static const char *const status[] = {"unset", "ok", "error"};
    char start[36];
    time_format_rfc3339(s->start_unix_ns, start);
    int rc = buf_str(out, "    span ");
    rc = rc < 0 ? rc : buf_hex(out, s->span_id);
    rc = rc < 0 ? rc : buf_str(out, s->parent_span_id.len ? " below " : " root");
    rc = rc < 0 ? rc : buf_hex(out, s->parent_span_id);
    rc = rc < 0 ? rc : buf_u8(out, ' ');
    rc = rc < 0 ? rc : put_text(out, s->name);
    rc = rc < 0
             ? rc
             : buf_printf(out, " %s %s for %" PRIu64 " ns, status %s", kind_name(s->kind), start,
                          s->end_unix_ns - s->start_unix_ns,
                          s->status_code >= 0 && s->status_code < 3 ? status[s->status_code] : "?");
    if (rc == 0 && s->status_message.len) {
        rc = buf_u8(out, ' ');
        rc = rc < 0 ? rc : put_text(out, s->status_message);
    }
    rc = rc < 0 ? rc : buf_u8(out, '\n');
    rc = rc < 0 ? rc : put_attrs(out, b, s->attrs, "      ");
    return rc < 0 ? rc : put_events(out, b, s);
}

static int put_scope(struct buf *out, const struct span_batch *b, const struct scope *c)
{
    int rc = buf_str(out, "   scope ");
    rc = rc < 0 ? rc : put_text(out, c->name);
    rc = rc < 0 ? rc : buf_u8(out, ' ');
    rc = rc < 0 ? rc : put_text(out, c->version);
    rc = rc < 0 ? rc : buf_u8(out, '\n');
    return rc < 0 ? rc : put_attrs(out, b, c->attrs, "     ");
}

static int trace_text(struct buf *out, const struct span_batch *b, const struct block_row *row)
{
    uint32_t scope = UINT32_MAX, resource = UINT32_MAX;
    int rc = buf_str(out, "trace ");
    rc = rc < 0 ? rc : buf_hex(out, slice_of(row->id, 16));
    rc = rc < 0 ? rc : buf_printf(out, " %u spans, root ", row->span_count);
    rc = rc < 0 ? rc : put_text(out, row->root_service);
    rc = rc < 0 ? rc : buf_u8(out, ' ');
    rc = rc < 0 ? rc : put_text(out, row->root_name);
    rc = rc < 0 ? rc : buf_u8(out, '\n');
    for (uint32_t i = 0; i < row->span_count && rc == 0; i++) {
        const struct span *s = &b->spans.at[row->span_first + i];
        uint32_t of = b->scopes.at[s->scope].resource;
        if (of != resource) {
            rc = buf_str(out, "  resource\n");
            rc = rc < 0 ? rc : put_attrs(out, b, b->resources.at[of].attrs, "    ");
        }
        if (rc == 0 && s->scope != scope)
            rc = put_scope(out, b, &b->scopes.at[s->scope]);
        scope = s->scope;
        resource = of;
        rc = rc < 0 ? rc : put_span(out, b, s);
    }
    return rc;
}

static int trace_json(struct dump *d, const struct span_batch *b, const struct block_row *row)
{
    struct buf *out = &d->tool->out;
    vec_reset(&d->order);
    if (!vec_reserve(&d->order, row->span_count))
        return ERR_NOMEM;
    for (uint32_t i = 0; i < row->span_count; i++)
        d->order.at[i] = row->span_first + i;
    const struct trace t = {b, d->order.at, row->span_count};
    int rc = buf_str(out, "{\"traceID\":\"");
    rc = rc < 0 ? rc : buf_hex(out, slice_of(row->id, 16));
    rc = rc < 0 ? rc : buf_str(out, "\",\"rootServiceName\":");
    rc = rc < 0 ? rc : buf_json_string(out, row->root_service);
    rc = rc < 0 ? rc : buf_str(out, ",\"rootTraceName\":");
    rc = rc < 0 ? rc : buf_json_string(out, row->root_name);
    rc = rc < 0 ? rc : buf_str(out, ",\"trace\":");
    rc = rc < 0 ? rc : otlp_json_encode(&t, "resourceSpans", out);
    return rc < 0 ? rc : buf_str(out, "}\n");
}

/* 1: enough has been printed. */
static int dump_window(struct dump *d, const struct block_window *w, struct err *err)
{
    for (uint32_t i = 0; i < w->rows.count; i++) {
        const struct block_row *row = &w->rows.at[i];
        int order = d->one ? memcmp(row->id, d->id, 16) : 0;
        if (d->left == 0 || order > 0)
            return 1;
        if (order < 0)
            continue;
        int rc = d->tool->args.json ? trace_json(d, &w->batch, row)
                                    : trace_text(&d->tool->out, &w->batch, row);
        rc = block_tool_put(d->tool, rc, err);
        if (rc < 0)
            return rc;
        d->left--;
    }
    return 0;
}

static int dump_traces(struct dump *d, const struct block_meta *meta, struct err *err)
{
    const struct block_rows_opts opts = {
        .store = d->tool->store, .meta = meta, .deadline_mono_ns = block_tool_deadline()};
    struct block_rows *rows;
    struct block_window *w;
    int rc = block_rows_new(&opts, &rows, err);
    if (rc < 0)
        return rc;
    while (rc == 0 && d->left > 0 && (rc = block_rows_next(rows, &w, err)) == 0)
        rc = dump_window(d, w, err);
    block_rows_free(rows);
    return rc < 0 ? rc : 0;
}

/* ---- one column ---- */

static int put_entry(struct block_tool *t, const struct column *c, uint32_t value, bool there)
{
    struct buf *out = &t->out;
    char number[40];
    if (!there)
        return buf_str(out, t->args.json ? "null" : "-");
    switch (c->type) {
    case COLUMN_BOOL:
        return buf_str(out, c->v.b[value] ? "true" : "false");
    case COLUMN_I32:
        return buf_printf(out, "%" PRId32, c->v.i32[value]);
    case COLUMN_I64:
        return buf_printf(out, "%" PRId64, c->v.i64[value]);
    case COLUMN_F64:
        format_f64_json(c->v.f64[value], number);
        return buf_printf(out, t->args.json ? "\"%s\"" : "%s", number);
    case COLUMN_BYTES:
        break;
    }
    struct slice s = column_bytes(c, value);
    if (utf8_valid(s))
        return buf_json_string(out, s);
    int rc = buf_str(out, t->args.json ? "{\"hex\":\"" : "x");
    rc = rc < 0 ? rc : buf_hex(out, s);
    return rc < 0 || !t->args.json ? rc : buf_str(out, "\"}");
}

static int dump_column(struct dump *d, uint32_t group, const struct column *c, struct err *err)
{
    struct block_tool *t = d->tool;
    uint32_t value = 0;
    int64_t row = -1;
    for (uint32_t i = 0; i < c->entries && d->left > 0; i++, d->left--) {
        unsigned rep = c->rep ? c->rep[i] : 0, def = c->def ? c->def[i] : 0;
        bool there = def == c->def_max;
        row += rep == 0;
        int rc = t->args.json ? buf_printf(&t->out,
                                           "{\"rowGroup\":%u,\"row\":%" PRId64
                                           ",\"repetition\":%u,\"definition\":%u,\"value\":",
                                           group, row, rep, def)
                              : buf_printf(&t->out, "%u %" PRId64 " %u %u ", group, row, rep, def);
        rc = rc < 0 ? rc : put_entry(t, c, value, there);
        rc = block_tool_put(t, rc < 0 ? rc : buf_str(&t->out, t->args.json ? "}\n" : "\n"), err);
        if (rc < 0)
            return rc;
        value += there;
    }
    return 0;
}

static int dump_columns(struct dump *d, const struct block_meta *meta, struct err *err)
{
    struct tool_file f;
    int rc = tool_file_open(d->tool, meta, &f, err);
    if (rc < 0)
        return rc;
    int leaf = parquet_leaf_find(f.file, slice_cstr(d->tool->args.column));
    if (leaf < 0) {
        d->tool->bad_usage = true;
        rc =
            err_set(err, ERR_INVALID, "the block has no column %s: rubato block columns lists them",
                    d->tool->args.column);
    }
    for (uint32_t g = 0; g < f.file->row_group_count && rc == 0 && d->left > 0; g++) {
        const struct parquet_chunk *c = &f.file->row_groups[g].chunks[leaf];
        struct arena *a = arena_new(LIMIT_TOOL_COLUMN_BYTES);
        struct buf bytes;
        struct column column;
        buf_init(&bytes, LIMIT_TOOL_COLUMN_BYTES);
        rc = a ? tool_file_read(&f, c->offset, c->bytes, &bytes, err)
               : err_set(err, ERR_NOMEM, "no memory for a column");
        if (rc == 0)
            rc = parquet_chunk_decode(f.file, g, (uint32_t)leaf, buf_view(&bytes), a, &column, err);
        if (rc == 0)
            rc = dump_column(d, g, &column, err);
        buf_clear(&bytes);
        arena_free(a);
    }
    tool_file_clear(&f);
    return rc;
}

/* Shorter ids are padded in front, as everywhere. */
static bool id_parse(struct slice hex, uint8_t out[16])
{
    char padded[32];
    if (hex.len == 0 || hex.len > 32)
        return false;
    memset(padded, '0', sizeof padded);
    memcpy(padded + 32 - hex.len, hex.ptr, hex.len);
    return hex_decode(slice_of(padded, 32), out);
}

int block_tool_dump(struct block_tool *t, struct err *err)
{
    struct tool_blocks blocks = {0};
    struct dump d = {.tool = t, .one = t->args.trace != NULL, .left = t->args.limit};
    if (d.one && !id_parse(slice_cstr(t->args.trace), d.id)) {
        t->bad_usage = true;
        return err_set(err, ERR_INVALID, "--trace %s is no trace id: up to 32 hex digits",
                       t->args.trace);
    }
    const char *id = t->args.rest_count > 2 ? t->args.rest[2] : NULL;
    int rc = block_tool_find(t, id, false, &blocks, err);
    for (uint32_t i = 0; i < blocks.at.count && rc == 0; i++) {
        struct block_meta meta;
        rc = block_tool_meta(t, &blocks.at.at[i], &meta, err);
        if (rc == 0)
            rc = t->args.column ? dump_columns(&d, &meta, err) : dump_traces(&d, &meta, err);
    }
    if (rc == 0 && d.one && d.left == t->args.limit)
        rc = err_set(err, ERR_NOTFOUND, "trace %s is not there", t->args.trace);
    vec_free(&d.order);
    tool_blocks_clear(&blocks);
    return rc;
}
