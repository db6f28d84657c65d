/* rubato block list, info and columns: what is there, without reading rows. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "block/tenant_index.h"
#include "rubato/block_tool.h"

#define LIMIT_TOOL_INDEX_BYTES ((size_t)256 << 20)
#define LIMIT_TOOL_OFFSET_INDEX_BYTES ((size_t)64 << 20)

static const char *time_text(uint64_t unix_ns, char out[36])
{
    if (unix_ns == 0)
        return "-";
    time_format_rfc3339(unix_ns, out);
    return out;
}

/* ---- list ---- */

static int collect_tenant(void *ctx, const struct objstore_list_item *item)
{
    struct block_tool *t = ctx;
    if (!item->is_prefix || item->key.len < 2)
        return 0; /* work.json, the cluster seed, segments */
    struct slice name = slice_of(item->key.ptr, item->key.len - 1);
    bool first = t->out.len == 0 || t->out.ptr[t->out.len - 1] == '[';
    int rc = 0;
    if (t->args.json) {
        rc = first ? 0 : buf_u8(&t->out, ',');
        rc = rc < 0 ? rc : buf_json_string(&t->out, name);
    } else {
        rc = buf_printf(&t->out, "%.*s\n", SLICE_ARGS(name));
    }
    return rc < 0;
}

static int list_tenants(struct block_tool *t, struct err *err)
{
    int rc = t->args.json ? buf_str(&t->out, "{\"tenants\":[") : 0;
    if (rc == 0)
        rc = objstore_list(t->store, slice_of(NULL, 0), slice_of(NULL, 0), true, collect_tenant, t,
                           block_tool_deadline(), err);
    if (rc < 0)
        return rc;
    return block_tool_put(t, t->args.json ? buf_str(&t->out, "]}\n") : 0, err);
}

/* What list knows of the tenant index. */
struct index_seen {
    const char *name; /* NULL: there is none */
    int rc;
    struct err err;
    struct tenant_index index;
};

/* Protobuf first, JSON when that does not exist, as readers do. */
static int index_read(struct block_tool *t, struct index_seen *out, struct err *err)
{
    static const char *const names[] = {TENANT_INDEX_PB, TENANT_INDEX_JSON};
    *out = (struct index_seen){.name = NULL};
    for (size_t i = 0; i < 2 && !out->name; i++) {
        const char *key = arena_printf(t->arena, "%.*s/%s", SLICE_ARGS(t->tenant), names[i]);
        struct buf bytes;
        buf_init(&bytes, LIMIT_TOOL_INDEX_BYTES);
        if (!key)
            return arena_err(t->arena, err, "a tenant index");
        int rc = objstore_get(t->store, slice_cstr(key), block_tool_deadline(), &bytes, err);
        if (rc == 0) {
            out->name = names[i];
            out->rc =
                i == 0 ? tenant_index_read_pb(buf_view(&bytes), t->arena, &out->index, &out->err)
                       : tenant_index_read_json(buf_view(&bytes), t->arena, &out->index, &out->err);
        }
        buf_clear(&bytes);
        if (rc < 0 && rc != ERR_NOTFOUND)
            return rc;
    }
    return 0;
}

static int put_index(struct block_tool *t, const struct index_seen *x)
{
    char created[36];
    if (t->args.json) {
        if (!x->name)
            return buf_str(&t->out, ",\"index\":null");
        int rc = buf_printf(&t->out, ",\"index\":{\"object\":\"%s\"", x->name);
        if (rc == 0 && x->rc < 0) {
            rc = buf_str(&t->out, ",\"error\":");
            rc = rc < 0 ? rc : buf_json_string(&t->out, slice_cstr(x->err.msg));
        } else if (rc == 0) {
            rc = buf_printf(&t->out, ",\"created\":\"%s\",\"live\":%zu,\"compacted\":%zu",
                            time_text(x->index.created_unix_ns, created), x->index.live_count,
                            x->index.compacted_count);
        }
        return rc < 0 ? rc : buf_u8(&t->out, '}');
    }
    if (!x->name)
        return buf_str(&t->out, "no tenant index\n");
    if (x->rc < 0)
        return buf_printf(&t->out, "tenant index cannot be read: %s\n", x->err.msg);
    return buf_printf(&t->out, "%s of %s: %zu live, %zu compacted\n", x->name,
                      time_text(x->index.created_unix_ns, created), x->index.live_count,
                      x->index.compacted_count);
}

static int list_json(struct block_tool *t, const struct tool_block *b, const struct block_meta *m,
                     const struct err *why, bool first)
{
    char uuid[37];
    uuid_format(b->id, uuid);
    int rc = buf_printf(&t->out, "%s{\"id\":\"%s\",\"state\":\"%s\"", first ? "" : ",", uuid,
                        tool_block_state(b));
    if (rc == 0 && m) {
        rc = buf_str(&t->out, ",\"meta\":");
        rc = rc < 0 ? rc : block_meta_write(m, &t->out, NULL);
    } else if (rc == 0 && why) {
        rc = buf_str(&t->out, ",\"error\":");
        rc = rc < 0 ? rc : buf_json_string(&t->out, slice_cstr(why->msg));
    }
    return rc < 0 ? rc : buf_u8(&t->out, '}');
}

static int list_text(struct block_tool *t, const struct tool_block *b, const struct block_meta *m,
                     const struct err *why)
{
    char uuid[37], start[36], end[36];
    uuid_format(b->id, uuid);
    if (!m)
        return buf_printf(&t->out, "%s  %-10s %s\n", uuid, tool_block_state(b),
                          why ? why->msg : "");
    return buf_printf(
        &t->out, "%s  %-10s vParquet%d  %5u  %9" PRId64 "  %12" PRIu64 "  %6u  %-20s  %s\n", uuid,
        tool_block_state(b), (int)m->version, m->compaction_level, m->total_objects, m->size,
        m->total_records, time_text(m->start_unix_ns, start), time_text(m->end_unix_ns, end));
}

static int list_blocks(struct block_tool *t, const struct tool_blocks *blocks, struct err *err)
{
    uint64_t traces = 0, bytes = 0;
    size_t live = 0;
    for (uint32_t i = 0; i < blocks->at.count; i++) {
        const struct tool_block *b = &blocks->at.at[i];
        struct block_meta meta;
        struct err why = {0};
        bool has_meta = b->live || b->compacted;
        bool read = has_meta && block_tool_meta(t, b, &meta, &why) == 0;
        int rc = t->args.json ? list_json(t, b, read ? &meta : NULL, has_meta ? &why : NULL, i == 0)
                              : list_text(t, b, read ? &meta : NULL, has_meta ? &why : NULL);
        rc = block_tool_put(t, rc, err);
        if (rc < 0)
            return rc;
        block_tool_progress(t, "metas", i, blocks->at.count);
        if (read && b->live && !b->compacted) {
            live++;
            traces += (uint64_t)meta.total_objects;
            bytes += meta.size;
        }
    }
    if (t->args.json)
        return 0;
    return block_tool_put(t,
                          buf_printf(&t->out, "%zu live, %" PRIu64 " traces, %" PRIu64 " bytes\n",
                                     live, traces, bytes),
                          err);
}

int block_tool_list(struct block_tool *t, struct err *err)
{
    struct tool_blocks blocks = {0};
    struct index_seen *index;
    if (t->tenant.len == 0)
        return list_tenants(t, err);
    index = arena_alloc(t->arena, sizeof *index);
    int rc = index ? block_tool_find(t, NULL, true, &blocks, err)
                   : arena_err(t->arena, err, "a tenant index");
    if (rc == 0)
        rc = index_read(t, index, err);
    if (rc == 0 && t->args.json) {
        rc = buf_str(&t->out, "{\"tenant\":");
        rc = rc < 0 ? rc : buf_json_string(&t->out, t->tenant);
        rc = rc < 0 ? rc : put_index(t, index);
        rc = block_tool_put(t, rc < 0 ? rc : buf_str(&t->out, ",\"blocks\":["), err);
    } else if (rc == 0) {
        rc = block_tool_put(
            t,
            buf_printf(&t->out, "%-36s  %-10s %-9s  %-5s  %9s  %12s  %6s  %-20s  %s\n", "block",
                       "state", "format", "level", "traces", "bytes", "groups", "start", "end"),
            err);
    }
    if (rc == 0)
        rc = list_blocks(t, &blocks, err);
    if (rc == 0)
        rc = block_tool_put(t, t->args.json ? buf_str(&t->out, "]}\n") : put_index(t, index), err);
    tool_blocks_clear(&blocks);
    return rc;
}

/* ---- info ---- */

static int put_dedicated(struct buf *out, const struct block_meta *m, enum block_scope scope,
                         const char *name)
{
    bool first = true;
    int rc = 0;
    for (size_t i = 0; i < m->dedicated_count && rc == 0; i++) {
        const struct block_dedicated *d = &m->dedicated[i];
        if (d->scope != scope)
            continue;
        rc = first ? buf_printf(out, "dedicated     %s ", name) : buf_str(out, ", ");
        rc = rc < 0 ? rc
                    : buf_printf(out, "%.*s%s", SLICE_ARGS(d->name),
                                 d->type == BLOCK_DEDICATED_INT ? " (int)" : "");
        first = false;
    }
    return rc < 0 || first ? rc : buf_u8(out, '\n');
}

static void trace_bound(const struct tool_file *f, uint32_t group, bool max, char out[33])
{
    const struct parquet_chunk *c = &f->file->row_groups[group].chunks[f->leaf_of[BLOCK_TRACE_ID]];
    struct slice id = max ? c->max : c->min;
    memset(out, 0, 33);
    if ((max ? c->has_max : c->has_min) && id.len <= 16)
        hex_encode(id, out);
    else
        out[0] = '-';
}

static uint64_t group_bytes(const struct tool_file *f, uint32_t group)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < f->file->leaf_count; i++)
        bytes += f->file->row_groups[group].chunks[i].bytes;
    return bytes;
}

static int info_text(struct block_tool *t, const struct tool_block *b, const struct block_meta *m,
                     const struct tool_file *f)
{
    char uuid[37], start[36], end[36], first[33], last[33];
    struct buf *out = &t->out;
    uuid_format(b->id, uuid);
    int rc = buf_printf(out, "block         %s\n", uuid);
    rc = rc < 0 ? rc : buf_printf(out, "tenant        %.*s\n", SLICE_ARGS(m->tenant));
    rc = rc < 0 ? rc : buf_printf(out, "state         %s\n", tool_block_state(b));
    rc = rc < 0 ? rc : buf_printf(out, "format        vParquet%d\n", (int)m->version);
    rc = rc < 0 ? rc
                : buf_printf(out, "written by    %.*s\n",
                             f->file->created_by.len < 200 ? (int)f->file->created_by.len : 200,
                             (const char *)f->file->created_by.ptr);
    rc = rc < 0 ? rc
                : buf_printf(out, "time          %s to %s\n", time_text(m->start_unix_ns, start),
                             time_text(m->end_unix_ns, end));
    rc = rc < 0 ? rc : buf_printf(out, "traces        %" PRId64 "\n", m->total_objects);
    rc = rc < 0 ? rc : buf_printf(out, "level         %u\n", m->compaction_level);
    rc = rc < 0 ? rc : buf_printf(out, "replication   %u\n", m->replication_factor);
    rc = rc < 0 ? rc : put_dedicated(out, m, BLOCK_SCOPE_RESOURCE, "resource");
    rc = rc < 0 ? rc : put_dedicated(out, m, BLOCK_SCOPE_SPAN, "span");
    rc = rc < 0 ? rc : put_dedicated(out, m, BLOCK_SCOPE_EVENT, "event");
    rc = rc < 0 ? rc
                : buf_printf(out, "footer        %u bytes, %u columns\n", m->footer_size,
                             f->file->leaf_count);
    for (uint32_t i = 0; i < b->objects.count && rc == 0; i++)
        rc = buf_printf(out, "object        %-20s %12" PRIu64 "\n", b->objects.at[i].name,
                        b->objects.at[i].bytes);
    for (uint32_t g = 0; g < f->file->row_group_count && rc == 0; g++) {
        trace_bound(f, g, false, first);
        trace_bound(f, g, true, last);
        rc = buf_printf(out, "row group     %-5u %9" PRId64 " rows %12" PRIu64 " bytes  %s to %s\n",
                        g, f->file->row_groups[g].rows, group_bytes(f, g), first, last);
    }
    return rc;
}

static int info_json(struct block_tool *t, const struct tool_block *b, const struct block_meta *m,
                     const struct tool_file *f)
{
    char uuid[37], first[33], last[33];
    struct buf *out = &t->out;
    uuid_format(b->id, uuid);
    int rc =
        buf_printf(out, "{\"id\":\"%s\",\"state\":\"%s\",\"meta\":", uuid, tool_block_state(b));
    rc = rc < 0 ? rc : block_meta_write(m, out, NULL);
    rc = rc < 0 ? rc : buf_str(out, ",\"createdBy\":");
    rc = rc < 0 ? rc : buf_json_string(out, f->file->created_by);
    rc = rc < 0 ? rc : buf_printf(out, ",\"columns\":%u,\"objects\":{", f->file->leaf_count);
    for (uint32_t i = 0; i < b->objects.count && rc == 0; i++) {
        rc = i ? buf_u8(out, ',') : 0;
        rc = rc < 0 ? rc : buf_json_string(out, slice_cstr(b->objects.at[i].name));
        rc = rc < 0 ? rc : buf_printf(out, ":%" PRIu64, b->objects.at[i].bytes);
    }
    rc = rc < 0 ? rc : buf_str(out, "},\"rowGroups\":[");
    for (uint32_t g = 0; g < f->file->row_group_count && rc == 0; g++) {
        trace_bound(f, g, false, first);
        trace_bound(f, g, true, last);
        rc = buf_printf(out,
                        "%s{\"rows\":%" PRId64 ",\"bytes\":%" PRIu64
                        ",\"firstTraceID\":\"%s\",\"lastTraceID\":\"%s\"}",
                        g ? "," : "", f->file->row_groups[g].rows, group_bytes(f, g), first, last);
    }
    return rc < 0 ? rc : buf_str(out, "]}\n");
}

/* ---- columns ---- */

struct column_total {
    uint64_t values, nulls, dict_bytes, data_bytes, pages;
    bool nulls_known;
};

static uint64_t dict_bytes_of(const struct parquet_chunk *c)
{
    return c->has_dict ? c->data_offset - c->offset : 0;
}

/* Pages of each column, by the offset indexes, which stand in one run for a row group. */
static int pages_count(const struct tool_file *f, uint32_t group, struct column_total *totals,
                       struct err *err)
{
    const struct parquet_row_group *rg = &f->file->row_groups[group];
    uint64_t lo = UINT64_MAX, hi = 0;
    for (uint32_t i = 0; i < f->file->leaf_count; i++) {
        const struct parquet_chunk *c = &rg->chunks[i];
        if (c->offset_index_bytes == 0)
            continue;
        lo = c->offset_index_offset < lo ? c->offset_index_offset : lo;
        if (c->offset_index_offset + c->offset_index_bytes > hi)
            hi = c->offset_index_offset + c->offset_index_bytes;
    }
    if (hi == 0)
        return 0;
    struct buf bytes;
    buf_init(&bytes, LIMIT_TOOL_OFFSET_INDEX_BYTES);
    int rc = tool_file_read(f, lo, hi - lo, &bytes, err);
    for (uint32_t i = 0; i < f->file->leaf_count && rc == 0; i++) {
        const struct parquet_chunk *c = &rg->chunks[i];
        struct parquet_page_location *pages;
        uint32_t count;
        if (c->offset_index_bytes == 0)
            continue;
        rc = parquet_offset_index_decode(
            f->file, group, i,
            slice_of(bytes.ptr + (c->offset_index_offset - lo), c->offset_index_bytes), f->arena,
            &pages, &count, err);
        if (rc == 0)
            totals[i].pages += count;
    }
    buf_clear(&bytes);
    return rc;
}

static int columns_total(const struct tool_file *f, struct column_total *totals, uint64_t *all,
                         struct err *err)
{
    int rc = 0;
    *all = 0;
    for (uint32_t i = 0; i < f->file->leaf_count; i++)
        totals[i].nulls_known = true;
    for (uint32_t g = 0; g < f->file->row_group_count && rc == 0; g++) {
        for (uint32_t i = 0; i < f->file->leaf_count; i++) {
            const struct parquet_chunk *c = &f->file->row_groups[g].chunks[i];
            uint64_t nulls = c->null_count > 0 ? (uint64_t)c->null_count : 0;
            totals[i].nulls_known &= c->null_count >= 0;
            totals[i].nulls += nulls;
            totals[i].values += (uint64_t)c->num_values - nulls;
            totals[i].dict_bytes += dict_bytes_of(c);
            totals[i].data_bytes += c->bytes - dict_bytes_of(c);
            *all += c->bytes;
        }
        rc = pages_count(f, g, totals, err);
    }
    return rc;
}

static const char *type_name(const struct parquet_leaf *l)
{
    switch (l->type) {
    case PARQUET_BOOLEAN:
        return "bool";
    case PARQUET_INT32:
        return l->logical == PARQUET_UNSIGNED ? "uint32" : "int32";
    case PARQUET_INT64:
        return l->logical == PARQUET_UNSIGNED ? "uint64" : "int64";
    case PARQUET_DOUBLE:
        return "double";
    default:
        return l->logical == PARQUET_STRING ? "string" : "bytes";
    }
}

static const char *codec_name(enum parquet_codec c)
{
    switch (c) {
    case PARQUET_UNCOMPRESSED:
        return "none";
    case PARQUET_SNAPPY:
        return "snappy";
    case PARQUET_GZIP:
        return "gzip";
    case PARQUET_ZSTD:
        return "zstd";
    case PARQUET_LZ4_RAW:
        return "lz4_raw";
    }
    return "?";
}

static int column_line(struct block_tool *t, const struct tool_file *f, uint32_t i,
                       const struct column_total *c, uint64_t all)
{
    const struct parquet_leaf *l = &f->file->leaves[i];
    const char *codec =
        f->file->row_group_count ? codec_name(f->file->row_groups[0].chunks[i].codec) : "-";
    uint64_t bytes = c->dict_bytes + c->data_bytes;
    char path[256];
    if (!t->args.json)
        return buf_printf(&t->out,
                          "%3u  %-6s %-7s %u/%u  %10" PRIu64 " %10" PRIu64 " %6" PRIu64
                          " %10" PRIu64 " %10" PRIu64 " %5.1f%%  %s\n",
                          i, type_name(l), codec, l->rep_max, l->def_max, c->values, c->nulls,
                          c->pages, c->dict_bytes, c->data_bytes,
                          all ? 100.0 * (double)bytes / (double)all : 0,
                          text_escape(l->path, 200, path, sizeof path));
    int rc = buf_printf(&t->out, "%s{\"path\":", i ? "," : "");
    rc = rc < 0 ? rc : buf_json_string(&t->out, l->path);
    return rc < 0 ? rc
                  : buf_printf(&t->out,
                               ",\"type\":\"%s\",\"codec\":\"%s\",\"repetition\":%u,"
                               "\"definition\":%u,\"values\":%" PRIu64 ",\"nulls\":%" PRIu64
                               ",\"pages\":%" PRIu64 ",\"dictionaryBytes\":%" PRIu64
                               ",\"dataBytes\":%" PRIu64 "}",
                               type_name(l), codec, l->rep_max, l->def_max, c->values, c->nulls,
                               c->pages, c->dict_bytes, c->data_bytes);
}

static int put_columns(struct block_tool *t, const struct tool_block *b, const struct tool_file *f,
                       struct err *err)
{
    char uuid[37];
    uint64_t all = 0;
    struct column_total *totals = arena_zalloc(f->arena, f->file->leaf_count * sizeof *totals);
    if (!totals)
        return arena_err(f->arena, err, "a block's columns");
    int rc = columns_total(f, totals, &all, err);
    if (rc < 0)
        return rc;
    uuid_format(b->id, uuid);
    rc =
        t->args.json
            ? buf_printf(&t->out, "{\"id\":\"%s\",\"columns\":[", uuid)
            : buf_printf(&t->out, "block %s\n%3s  %-6s %-7s %3s  %10s %10s %6s %10s %10s %6s  %s\n",
                         uuid, "#", "type", "codec", "r/d", "values", "nulls", "pages",
                         "dict bytes", "data bytes", "share", "column");
    for (uint32_t i = 0; i < f->file->leaf_count && rc == 0; i++)
        rc = column_line(t, f, i, &totals[i], all);
    if (rc == 0)
        rc = t->args.json ? buf_str(&t->out, "]}\n")
                          : buf_printf(&t->out, "%u row groups, %" PRIu64 " bytes of columns\n",
                                       f->file->row_group_count, all);
    return block_tool_put(t, rc, err);
}

/* ---- one block after the other ---- */

static int for_each(struct block_tool *t, bool columns, struct err *err)
{
    struct tool_blocks blocks = {0};
    const char *id = t->args.rest_count > 2 ? t->args.rest[2] : NULL;
    int rc = block_tool_find(t, id, false, &blocks, err);
    for (uint32_t i = 0; i < blocks.at.count && rc == 0; i++) {
        const struct tool_block *b = &blocks.at.at[i];
        struct block_meta meta;
        struct tool_file f;
        rc = block_tool_meta(t, b, &meta, err);
        if (rc == 0)
            rc = tool_file_open(t, &meta, &f, err);
        if (rc < 0)
            break;
        if (!t->args.json && i)
            rc = block_tool_put(t, buf_u8(&t->out, '\n'), err);
        if (rc == 0 && columns)
            rc = put_columns(t, b, &f, err);
        else if (rc == 0)
            rc = block_tool_put(
                t, t->args.json ? info_json(t, b, &meta, &f) : info_text(t, b, &meta, &f), err);
        tool_file_clear(&f);
    }
    tool_blocks_clear(&blocks);
    return rc;
}

int block_tool_info(struct block_tool *t, struct err *err)
{
    return for_each(t, false, err);
}

int block_tool_columns(struct block_tool *t, struct err *err)
{
    return for_each(t, true, err);
}
