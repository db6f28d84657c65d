/* Memory that is freed together. An arena has a byte limit: passing it fails one request, not the
 * process. Not for two threads at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/checked.h"
#include "base/err.h"
#include "base/slice.h"

struct arena;

struct arena *arena_new(size_t limit_bytes); /* NULL: out of memory */
/* One that is used again and again for megabytes: it is filled in pieces of some megabytes, and keeps
 * keep_bytes of them when it is reset, so that the next use meets memory that is there already. */
struct arena *arena_new_large(size_t limit_bytes, size_t keep_bytes);
/* What several arenas may take together. Outlives them; any thread may hold one of its arenas. */
struct arena_budget {
    _Atomic size_t used; /* bytes of their chunks */
    size_t limit;
    const char *name; /* of the setting that it comes from, for errors */
};
struct arena *arena_new_within(struct arena_budget *budget); /* NULL: out of memory */
void arena_free(struct arena *a);            /* NULL is fine */
void arena_reset(struct arena *a);           /* empties; keeps some memory for the next use */
size_t arena_used(const struct arena *a);    /* bytes handed out since new or reset */

/* 16-byte aligned, not zeroed. NULL past the limit or out of memory. n = 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* n * size checked. */
void *arena_alloc_array(struct arena *a, size_t n, size_t size);
#define arena_array(a, type, n) ((type *)arena_alloc_array((a), (n), sizeof(type)))

/* Copies; false past the limit. */
bool arena_slice(struct arena *a, struct slice s, struct slice *out);
/* A NUL-terminated copy, or NULL. */
char *arena_cstr(struct arena *a, struct slice s);
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *a, const char *fmt, ...);

/* Calls fn(ctx) at reset and free, last registered first. False: out of memory, fn not called. */
typedef void(arena_cleanup_fn)(void *ctx);
bool arena_on_reset(struct arena *a, arena_cleanup_fn *fn, void *ctx);
/* The ctx last registered with fn, or NULL: for what is made once an arena, when it is first used. */
void *arena_kept(const struct arena *a, arena_cleanup_fn *fn);

/* The error for an allocation that the arena or its budget refused: ERR_LIMIT, or ERR_NOMEM once
 * malloc has. */
int arena_err(const struct arena *a, struct err *err, const char *what);

#endif
