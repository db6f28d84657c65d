/* What the commands of rubato block share: arguments, stores, finding blocks, output, progress. */
#ifndef RUBATO_BLOCK_TOOL_H
#define RUBATO_BLOCK_TOOL_H

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/vec.h"
#include "block/block_meta.h"
#include "block/block_schema.h"
#include "catalog/block_store.h"
#include "objstore/objstore.h"

struct block_tool_args {
    bool json;
    const char *endpoint, *out, *tenant, *id, *trace, *column;
    uint64_t limit; /* UINT64_MAX: none */
    VEC(struct block_dedicated) dedicated;
    char **rest;
    int rest_count;
};

struct block_tool {
    const char *name; /* "rubato block list" */
    struct block_tool_args args;
    struct log log;
    struct objstore *store; /* NULL for commands without STORE */
    struct slice tenant;    /* empty: not named */
    struct arena *arena;
    struct buf out; /* to stdout */
    bool bad_usage; /* with an error: the arguments are at fault */
    bool terminal;  /* stderr is one: progress is shown */
    uint64_t progress_mono_ns;
    bool progress_shown;
};

/* ---- output ---- */

/* Writes t->out to stdout and empties it. ERR_IO: nobody reads any more. */
int block_tool_flush(struct block_tool *t, struct err *err);
/* Ends a piece of output that was appended with rc; full is a failure of ours. */
int block_tool_put(struct block_tool *t, int rc, struct err *err);
/* One line on a terminal, a few times a second: "what: 40 % of total". */
void block_tool_progress(struct block_tool *t, const char *what, uint64_t done, uint64_t total);
void block_tool_progress_end(struct block_tool *t);

/* Seconds from now on after which a long operation is given up. */
uint64_t block_tool_deadline(void);

/* ---- stores and blocks ---- */

/* A directory, or s3://bucket[/prefix] with credentials from the environment. make: a directory
 * that is not there is made. */
int block_tool_store(struct block_tool *t, const char *spec, bool make, struct objstore **out,
                     struct err *err);

struct tool_object {
    const char *name; /* "bloom-0" */
    uint64_t bytes;
};

struct tool_block {
    uint8_t id[16];
    bool live, compacted; /* which meta there is; both for a moment, then it is compacted */
    VEC(struct tool_object) objects;
};

struct tool_blocks {
    VEC(struct tool_block) at; /* ascending by id */
};

/* Blocks of the tenant, or the one that the argument names. Without an argument: those that are
 * there at all with all_states, else the live ones. ERR_NOTFOUND when there is none. */
int block_tool_find(struct block_tool *t, const char *id, bool all_states, struct tool_blocks *out,
                    struct err *err);
void tool_blocks_clear(struct tool_blocks *b);
const char *tool_block_state(const struct tool_block *b); /* "live", "compacted", "without meta" */

/* In the tool's arena. */
int block_tool_meta(struct block_tool *t, const struct tool_block *b, struct block_meta *out,
                    struct err *err);

/* An opened block. */
struct tool_file {
    struct block_tool *tool;
    const struct block_meta *meta;
    struct arena *arena;
    struct parquet_file *file;
    int leaf_of[BLOCK_LEAVES];
};

int tool_file_open(struct block_tool *t, const struct block_meta *meta, struct tool_file *out,
                   struct err *err);
void tool_file_clear(struct tool_file *f);
/* Bytes [offset, +bytes) of data.parquet, appended. ERR_CORRUPT when it ends before. */
int tool_file_read(const struct tool_file *f, uint64_t offset, uint64_t bytes, struct buf *out,
                   struct err *err);
/* Our number of a leaf of the file, or -1. */
int tool_file_leaf(const struct tool_file *f, uint32_t file_leaf);

/* ---- the commands: 0, or negative with err set; 1: done, and the answer is no ---- */

int block_tool_list(struct block_tool *t, struct err *err);
int block_tool_info(struct block_tool *t, struct err *err);
int block_tool_columns(struct block_tool *t, struct err *err);
int block_tool_dump(struct block_tool *t, struct err *err);
int block_tool_check(struct block_tool *t, struct err *err);
int block_tool_rewrite(struct block_tool *t, struct err *err);
int block_tool_from_otlp(struct block_tool *t, struct err *err);

#endif
