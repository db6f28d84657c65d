/* rubato block: looking at blocks, checking them, making them. This file takes the arguments and
 * finds the blocks. */
#include "rubato/block_tool.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "rubato/tool_store.h"
#include "rubato/tools.h"

#define LIMIT_TOOL_META_BYTES ((size_t)1 << 20)
#define LIMIT_TOOL_ARENA_BYTES ((size_t)1 << 30)
#define LIMIT_TOOL_FOOTER_BYTES ((size_t)1 << 30)
#define LIMIT_TOOL_OUT_BYTES ((size_t)1 << 30)
/* Blocks can be large and stores slow; whoever waits at a terminal can stop it. */
#define TOOL_TIMEOUT_NS (24 * 3600 * NS_PER_S)
#define PROGRESS_NS (200 * NS_PER_MS)

/* ---- commands ---- */

struct command {
    const char *name;
    int (*run)(struct block_tool *t, struct err *err);
    bool takes_store;
    int rest_least, rest_most; /* arguments behind options, STORE included */
    const char *options;       /* letters of those that it takes, beside --json and --help */
    const char *help;
};

static const struct command commands[] = {
    {"list", block_tool_list, true, 1, 2, "e",
     "usage: rubato block list [--json] STORE [TENANT]\n"
     "\n"
     "Lists a tenant's blocks, live and compacted, and what its tenant index says;\n"
     "without TENANT the tenants that have blocks.\n"},
    {"info", block_tool_info, true, 2, 3, "e",
     "usage: rubato block info [--json] STORE TENANT [ID]\n"
     "\n"
     "Prints what a block is: meta.json, objects, row groups. Without ID: all live blocks.\n"},
    {"columns", block_tool_columns, true, 2, 3, "e",
     "usage: rubato block columns [--json] STORE TENANT [ID]\n"
     "\n"
     "Prints a block's columns: type, codec, values, nulls, pages, bytes, share of the file.\n"},
    {"dump", block_tool_dump, true, 2, 3, "etcl",
     "usage: rubato block dump [--json] [--trace ID] [--column PATH] [--limit N]\n"
     "                         STORE TENANT [ID]\n"
     "\n"
     "Prints a block's traces; with --json one line of OTLP/JSON each.\n"
     "\n"
     "  --trace ID     only the trace of that id (hex)\n"
     "  --column PATH  the entries of one column instead: levels and values\n"
     "  --limit N      stop after N traces, or entries\n"},
    {"check", block_tool_check, true, 2, 3, "e",
     "usage: rubato block check [--json] STORE TENANT [ID]\n"
     "\n"
     "Reads every byte of a block (of all live blocks) and says the first wrong one: meta.json,\n"
     "footer, pages with their checksums, page indexes and statistics, rows and their order,\n"
     "nested sets, bloom filters, index. Exit status 1 when a block is damaged.\n"},
    {"rewrite", block_tool_rewrite, true, 3, 2 + 256, "eoiT",
     "usage: rubato block rewrite [--json] [--out STORE] [--tenant T] [--id UUID]\n"
     "                            STORE TENANT ID…\n"
     "\n"
     "Writes one new block with all traces of the blocks named, as compaction does: fragments of\n"
     "a trace are combined, repeated spans dropped. The inputs stay as they are.\n"
     "\n"
     "  --out STORE    where the new block goes (STORE)\n"
     "  --tenant T     tenant of the new block (TENANT)\n"
     "  --id UUID      id of the new block (random)\n"},
    {"from-otlp", block_tool_from_otlp, false, 1, 1 << 20, "eoiTd",
     "usage: rubato block from-otlp [--json] [--out STORE] [--tenant T] [--id UUID]\n"
     "                              [--dedicated SCOPE.NAME]… FILE…\n"
     "\n"
     "Writes a block with the spans of FILE…: OTLP requests as frames (a 4-byte big-endian length\n"
     "and a protobuf ExportTraceServiceRequest each), or OTLP/JSON in files named .json; .zst is\n"
     "decompressed.\n"
     "\n"
     "  --out STORE    where the block goes (the current directory)\n"
     "  --tenant T     its tenant (single-tenant)\n"
     "  --id UUID      its id (random)\n"
     "  --dedicated X  a column of its own for an attribute: span.db.statement,\n"
     "                 resource.host.name\n"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char common_help[] =
    "\n"
    "  --json         for machines\n"
    "  --endpoint URL of an S3-compatible store (AWS_ENDPOINT_URL)\n"
    "\n"
    "STORE is a directory or s3://bucket/prefix; credentials come from the environment.\n"
    "Exit status: 0 done, 1 failed, 2 usage.\n";

static int usage(FILE *to)
{
    fputs("usage: rubato block COMMAND …\n\n"
          "  list       blocks of a tenant\n"
          "  info       what a block is\n"
          "  columns    its columns and what they take\n"
          "  dump       its traces, or one column\n"
          "  check      verifies every byte of it\n"
          "  rewrite    merges blocks into a new one\n"
          "  from-otlp  makes a block of files of OTLP requests\n"
          "\n"
          "rubato block COMMAND --help tells more.\n",
          to);
    return to == stdout ? 0 : 2;
}

static int command_usage(const struct command *c, FILE *to)
{
    fputs(c->help, to);
    fputs(common_help, to);
    return to == stdout ? 0 : 2;
}

static bool add_dedicated(struct block_tool_args *a, const char *text)
{
    static const struct {
        struct slice prefix;
        enum block_scope scope;
    } scopes[] = {{{(const uint8_t *)"span.", 5}, BLOCK_SCOPE_SPAN},
                  {{(const uint8_t *)"resource.", 9}, BLOCK_SCOPE_RESOURCE}};
    struct slice s = slice_cstr(text);
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        if (slice_starts(s, scopes[i].prefix) && s.len > scopes[i].prefix.len)
            return vec_push(&a->dedicated,
                            (struct block_dedicated){.scope = scopes[i].scope,
                                                     .name = slice_from(s, scopes[i].prefix.len)});
    }
    fprintf(stderr, "rubato block: --dedicated %s: wanted span.NAME or resource.NAME\n", text);
    return false;
}

/* 0, or the exit status. */
static int take_args(const struct command *c, int argc, char **argv, struct block_tool_args *a)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"endpoint", required_argument, NULL, 'e'},
        {"out", required_argument, NULL, 'o'},
        {"tenant", required_argument, NULL, 'T'},
        {"id", required_argument, NULL, 'i'},
        {"trace", required_argument, NULL, 't'},
        {"column", required_argument, NULL, 'c'},
        {"limit", required_argument, NULL, 'l'},
        {"dedicated", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    const char **texts[] = {['e'] = &a->endpoint, ['o'] = &a->out,   ['T'] = &a->tenant,
                            ['i'] = &a->id,       ['t'] = &a->trace, ['c'] = &a->column};
    a->limit = UINT64_MAX;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == 'h') {
            command_usage(c, stdout);
            return -1;
        }
        if (o == 'j') {
            a->json = true;
            continue;
        }
        if (o == '?' || !strchr(c->options, o))
            return command_usage(c, stderr);
        if (o == 'l' && !parse_u64(slice_cstr(optarg), &a->limit)) {
            fprintf(stderr, "rubato block: --limit %s is no number\n", optarg);
            return 2;
        }
        if (o == 'd' && !add_dedicated(a, optarg))
            return 2;
        if (o != 'l' && o != 'd')
            *texts[o] = optarg;
    }
    a->rest = argv + optind;
    a->rest_count = argc - optind;
    if (a->rest_count < c->rest_least || a->rest_count > c->rest_most)
        return command_usage(c, stderr);
    return 0;
}

static int run(const struct command *c, struct block_tool *t, struct err *err)
{
    int rc = t->arena ? 0 : err_set(err, ERR_NOMEM, "no memory");
    if (rc == 0 && c->takes_store)
        rc = block_tool_store(t, t->args.rest[0], false, &t->store, err);
    if (rc == 0 && c->takes_store && t->args.rest_count > 1)
        t->tenant = slice_cstr(t->args.rest[1]);
    if (rc == 0)
        rc = c->run(t, err);
    block_tool_progress_end(t);
    int flushed = block_tool_flush(t, rc < 0 ? NULL : err);
    return rc < 0 ? rc : flushed < 0 ? flushed : rc;
}

int tool_block(int argc, char **argv)
{
    const struct command *c = NULL;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return usage(stdout);
    for (size_t i = 0; argc > 1 && i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            c = &commands[i];
    }
    if (!c)
        return usage(stderr);
    char name[64];
    snprintf(name, sizeof name, "rubato block %s", c->name);
    struct block_tool t = {.name = name, .terminal = isatty(STDERR_FILENO) == 1};
    int rc = take_args(c, argc - 1, argv + 1, &t.args);
    if (rc != 0) {
        vec_free(&t.args.dedicated);
        return rc < 0 ? 0 : rc;
    }
    struct err err = {0};
    t.log = (struct log){.fd = STDERR_FILENO, .level = LOG_LEVEL_WARN, .room = "block"};
    t.arena = arena_new(LIMIT_TOOL_ARENA_BYTES);
    buf_init(&t.out, LIMIT_TOOL_OUT_BYTES);
    rc = run(c, &t, &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", name, err.msg);
    objstore_free(t.store);
    buf_clear(&t.out);
    arena_free(t.arena);
    vec_free(&t.args.dedicated);
    return rc == 0 ? 0 : t.bad_usage ? 2 : 1;
}

/* ---- output ---- */

int block_tool_put(struct block_tool *t, int rc, struct err *err)
{
    if (rc < 0)
        return err_set(err, rc, "no memory for the output");
    return t->out.len > ((size_t)1 << 20) ? block_tool_flush(t, err) : 0;
}

int block_tool_flush(struct block_tool *t, struct err *err)
{
    size_t n = t->out.len ? fwrite(t->out.ptr, 1, t->out.len, stdout) : 0;
    bool ok = n == t->out.len && fflush(stdout) == 0;
    buf_reset(&t->out);
    return ok ? 0 : err_set(err, ERR_IO, "cannot write the output: %m");
}

void block_tool_progress(struct block_tool *t, const char *what, uint64_t done, uint64_t total)
{
    uint64_t now = clock_mono_ns(&clock_system);
    if (!t->terminal || now - t->progress_mono_ns < PROGRESS_NS)
        return;
    t->progress_mono_ns = now;
    t->progress_shown = true;
    fprintf(stderr, "\r%s: %llu of %llu, %.0f %%\033[K", what, (unsigned long long)done,
            (unsigned long long)total, total ? 100.0 * (double)done / (double)total : 100.0);
}

void block_tool_progress_end(struct block_tool *t)
{
    if (t->progress_shown)
        fputs("\r\033[K", stderr);
    t->progress_shown = false;
}

uint64_t block_tool_deadline(void)
{
    return clock_mono_ns(&clock_system) + TOOL_TIMEOUT_NS;
}

int block_tool_store(struct block_tool *t, const char *spec, bool make, struct objstore **out,
                     struct err *err)
{
    const struct objstore_env env = {.log = &t->log, .clock = &clock_system};
    const struct tool_store_opts opts = {.endpoint = t->args.endpoint, .make = make};
    return tool_store_open(spec, &opts, &env, out, err);
}

/* ---- blocks ---- */

struct collect {
    struct block_tool *tool;
    struct tool_blocks *blocks;
    bool failed;
};

static int collect_object(void *ctx, const struct objstore_list_item *item)
{
    struct collect *c = ctx;
    struct slice rest = slice_from(item->key, c->tool->tenant.len + 1);
    uint8_t id[16];
    if (rest.len < 38 || rest.ptr[36] != '/' || !uuid_parse(slice_of(rest.ptr, 36), id))
        return 0;
    struct tool_blocks *b = c->blocks;
    struct tool_block *last = b->at.count ? &b->at.at[b->at.count - 1] : NULL;
    if (!last || memcmp(last->id, id, 16) != 0) {
        struct tool_block fresh = {0};
        memcpy(fresh.id, id, 16);
        if (!vec_push(&b->at, fresh))
            goto failed;
        last = &b->at.at[b->at.count - 1];
    }
    struct tool_object o = {arena_cstr(c->tool->arena, slice_from(rest, 37)), item->bytes};
    if (!o.name || !vec_push(&last->objects, o))
        goto failed;
    last->live |= strcmp(o.name, "meta.json") == 0;
    last->compacted |= strcmp(o.name, "meta.compacted.json") == 0;
    return 0;
failed:
    c->failed = true;
    return 1;
}

static int compare_blocks(const void *a, const void *b)
{
    return memcmp(((const struct tool_block *)a)->id, ((const struct tool_block *)b)->id, 16);
}

void tool_blocks_clear(struct tool_blocks *b)
{
    for (uint32_t i = 0; i < b->at.count; i++)
        vec_free(&b->at.at[i].objects);
    vec_free(&b->at);
}

const char *tool_block_state(const struct tool_block *b)
{
    return b->compacted ? "compacted" : b->live ? "live" : "without meta";
}

static void keep_live(struct tool_blocks *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->at.count; i++) {
        if (b->at.at[i].live && !b->at.at[i].compacted)
            b->at.at[kept++] = b->at.at[i];
        else
            vec_free(&b->at.at[i].objects);
    }
    b->at.count = kept;
}

int block_tool_find(struct block_tool *t, const char *id, bool all_states, struct tool_blocks *out,
                    struct err *err)
{
    struct collect c = {.tool = t, .blocks = out};
    uint8_t raw[16];
    char uuid[37] = "";
    if (id && !uuid_parse(slice_cstr(id), raw)) {
        t->bad_usage = true;
        return err_set(err, ERR_INVALID, "%s is no block id, which is a UUID", id);
    }
    if (id)
        uuid_format(raw, uuid);
    const char *prefix =
        arena_printf(t->arena, "%.*s/%s%s", SLICE_ARGS(t->tenant), uuid, id ? "/" : "");
    if (!prefix)
        return arena_err(t->arena, err, "a list of blocks");
    int rc = objstore_list(t->store, slice_cstr(prefix), slice_of(NULL, 0), false, collect_object,
                           &c, block_tool_deadline(), err);
    if (rc == 0 && c.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for a list of blocks");
    if (rc < 0)
        return rc;
    if (out->at.count)
        qsort(out->at.at, out->at.count, sizeof out->at.at[0], compare_blocks);
    if (!id && !all_states)
        keep_live(out);
    if (out->at.count == 0)
        return err_set(err, ERR_NOTFOUND, "%.*s: tenant %.*s has no %s%s",
                       SLICE_ARGS(objstore_describe(t->store)), SLICE_ARGS(t->tenant),
                       id           ? "block "
                       : all_states ? "blocks"
                                    : "live blocks",
                       uuid);
    return 0;
}

int block_tool_meta(struct block_tool *t, const struct tool_block *b, struct block_meta *out,
                    struct err *err)
{
    const char *name = b->compacted ? "meta.compacted.json" : "meta.json";
    struct buf key, json;
    buf_init(&key, 4096);
    buf_init(&json, LIMIT_TOOL_META_BYTES);
    int rc = block_key(&key, t->tenant, b->id, name);
    rc = rc < 0 ? err_set(err, rc, "no memory for a key")
                : objstore_get(t->store, buf_view(&key), block_tool_deadline(), &json, err);
    if (rc == 0) {
        rc = block_meta_parse(buf_view(&json), t->arena, out, err);
        if (rc < 0)
            err_wrap(err, "%.*s", SLICE_ARGS(buf_view(&key)));
    }
    buf_clear(&key);
    buf_clear(&json);
    return rc;
}

int tool_file_open(struct block_tool *t, const struct block_meta *meta, struct tool_file *out,
                   struct err *err)
{
    *out = (struct tool_file){.tool = t, .meta = meta, .arena = arena_new(LIMIT_TOOL_FOOTER_BYTES)};
    if (!out->arena)
        return err_set(err, ERR_NOMEM, "no memory for a footer");
    int rc = block_open(t->store, meta, block_tool_deadline(), out->arena, &out->file, err);
    if (rc == 0)
        rc = block_schema_bind(out->file, meta->version, out->leaf_of, err);
    if (rc < 0)
        tool_file_clear(out);
    return rc;
}

void tool_file_clear(struct tool_file *f)
{
    arena_free(f->arena);
    f->arena = NULL;
}

int tool_file_read(const struct tool_file *f, uint64_t offset, uint64_t bytes, struct buf *out,
                   struct err *err)
{
    struct buf key;
    buf_init(&key, 4096);
    struct objstore_get get = {.range = OBJSTORE_RANGE, .offset = offset, .bytes = bytes};
    int rc = block_key(&key, f->meta->tenant, f->meta->id, "data.parquet");
    if (rc < 0)
        return err_set(err, rc, "no memory for a key");
    get.key = buf_view(&key);
    get.out = *out;
    rc = objstore_get_many(f->tool->store, &get, 1, block_tool_deadline(), err);
    *out = get.out;
    if (rc == 0 && out->len != bytes)
        rc = err_set(err, ERR_CORRUPT, "%.*s ends at byte %llu, wanted up to %llu",
                     SLICE_ARGS(get.key), (unsigned long long)get.object_bytes,
                     (unsigned long long)(offset + bytes));
    buf_clear(&key);
    return rc;
}

int tool_file_leaf(const struct tool_file *f, uint32_t file_leaf)
{
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        if (f->leaf_of[i] == (int)file_leaf)
            return i;
    }
    return -1;
}
