/* Arenas: chunks of doubling size, freed together. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES_FIRST ((size_t)16 << 10)
#define CHUNK_BYTES_LARGEST ((size_t)4 << 20)
#define ALIGN ((size_t)16)

struct chunk {
    struct chunk *next;
    size_t cap;
    size_t used;
    size_t pad; /* data starts 16-byte aligned */
    uint8_t data[];
};

struct cleanup {
    struct cleanup *next;
    arena_cleanup_fn *fn;
    void *ctx;
};

struct arena {
    struct chunk *chunks; /* the first one is filled */
    struct cleanup *cleanups;
    size_t limit;
    size_t used;
    size_t next_cap;
    bool starved; /* there was no memory, rather than no room */
};

struct arena *arena_new(size_t limit_bytes)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a) {
        a->limit = limit_bytes;
        a->next_cap = CHUNK_BYTES_FIRST;
    }
    return a;
}

static void run_cleanups(struct arena *a)
{
    while (a->cleanups) {
        struct cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->ctx);
    }
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    run_cleanups(a);
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

void arena_reset(struct arena *a)
{
    run_cleanups(a);
    /* The newest regular chunk is the largest one: keep that. */
    struct chunk *keep = NULL;
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        if (!keep && c->cap <= CHUNK_BYTES_LARGEST)
            keep = c;
        else
            free(c);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    a->chunks = keep;
    a->used = 0;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN)
        return NULL;
    n = (n + ALIGN - 1) & ~(ALIGN - 1);
    if (n == 0)
        n = ALIGN;
    if (n > a->limit || a->used > a->limit - n)
        return NULL;
    struct chunk *c = a->chunks;
    if (!c || c->cap - c->used < n) {
        bool large = n > a->next_cap / 2;
        size_t cap = large ? n : a->next_cap;
        struct chunk *fresh = malloc(sizeof *fresh + cap);
        if (!fresh) {
            a->starved = true;
            return NULL;
        }
        fresh->cap = cap;
        fresh->used = 0;
        if (large && c) {
            /* Stands behind the chunk that is being filled, which goes on being filled. */
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            a->chunks = fresh;
            if (!large && a->next_cap < CHUNK_BYTES_LARGEST)
                a->next_cap *= 2;
        }
        c = fresh;
    }
    void *p = c->data + c->used;
    c->used += n;
    a->used += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *arena_alloc_array(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    return size_mul(n, size, &bytes) ? arena_alloc(a, bytes) : NULL;
}

bool arena_slice(struct arena *a, struct slice s, struct slice *out)
{
    uint8_t *p = arena_alloc(a, s.len);
    if (!p)
        return false;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    *out = slice_of(p, s.len);
    return true;
}

char *arena_cstr(struct arena *a, struct slice s)
{
    char *p = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;
    if (p) {
        if (s.len)
            memcpy(p, s.ptr, s.len);
        p[s.len] = 0;
    }
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p) {
        va_start(ap, fmt);
        vsnprintf(p, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return p;
}

bool arena_on_reset(struct arena *a, arena_cleanup_fn *fn, void *ctx)
{
    struct cleanup *c = arena_alloc(a, sizeof *c);
    if (!c)
        return false;
    *c = (struct cleanup){a->cleanups, fn, ctx};
    a->cleanups = c;
    return true;
}

void *arena_kept(const struct arena *a, arena_cleanup_fn *fn)
{
    for (const struct cleanup *c = a->cleanups; c; c = c->next) {
        if (c->fn == fn)
            return c->ctx;
    }
    return NULL;
}

int arena_err(const struct arena *a, struct err *err, const char *what)
{
    if (a->starved)
        return err_set(err, ERR_NOMEM, "no memory for %s: %zu bytes are in use", what, a->used);
    return err_set(err, ERR_LIMIT, "%s does not fit: %zu of %zu bytes are in use", what, a->used,
                   a->limit);
}
