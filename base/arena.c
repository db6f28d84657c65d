/* Arenas: chunks of doubling size, freed together. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CHUNK_BYTES_FIRST ((size_t)16 << 10)
#define CHUNK_BYTES_LARGEST ((size_t)4 << 20)
/* Of large arenas: what the kernel can back with one page, so that memory comes in a few faults
 * instead of hundreds. */
#define CHUNK_BYTES_HUGE ((size_t)2 << 20)
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
    struct arena_budget *budget; /* NULL: none */
    struct chunk *kept; /* empty, of large arenas */
    size_t keep;        /* bytes of chunks that a reset keeps; 0: the newest regular one */
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

struct arena *arena_new_large(size_t limit_bytes, size_t keep_bytes)
{
    struct arena *a = arena_new(limit_bytes);
    if (a) {
        a->keep = keep_bytes;
        a->next_cap = CHUNK_BYTES_LARGEST;
    }
    return a;
}

struct arena *arena_new_within(struct arena_budget *budget)
{
    struct arena *a = arena_new(budget->limit);
    if (a)
        a->budget = budget;
    return a;
}

/* False: the arenas have all that they may. */
static bool charge(struct arena *a, size_t bytes)
{
    if (!a->budget)
        return true;
    size_t before = atomic_fetch_add(&a->budget->used, bytes);
    if (before <= a->budget->limit && bytes <= a->budget->limit - before)
        return true;
    atomic_fetch_sub(&a->budget->used, bytes);
    return false;
}

static void free_chunk(struct arena *a, struct chunk *c)
{
    if (a->budget)
        atomic_fetch_sub(&a->budget->used, sizeof *c + c->cap);
    free(c);
}

static void run_cleanups(struct arena *a)
{
    while (a->cleanups) {
        struct cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->ctx);
    }
}

static void free_chunks(struct arena *a, struct chunk *c)
{
    for (struct chunk *next; c; c = next) {
        next = c->next;
        free_chunk(a, c);
    }
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    run_cleanups(a);
    free_chunks(a, a->chunks);
    free_chunks(a, a->kept);
    free(a);
}

/* All chunks are kept as far as the limit goes, those from the front first. */
static void reset_large(struct arena *a)
{
    struct chunk *all = a->chunks, *older = a->kept;
    size_t bytes = 0;
    for (struct chunk **end = &all;; end = &(*end)->next) {
        if (!*end) {
            *end = older;
            break;
        }
    }
    a->chunks = a->kept = NULL;
    for (struct chunk *c = all, *next; c; c = next) {
        next = c->next;
        if (c->cap > a->keep - bytes) {
            free(c);
            continue;
        }
        bytes += c->cap;
        c->used = 0;
        c->next = a->kept;
        a->kept = c;
    }
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    run_cleanups(a);
    if (a->keep) {
        reset_large(a);
        return;
    }
    /* The newest regular chunk is the largest one: keep that. */
    struct chunk *keep = NULL;
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        if (!keep && c->cap <= CHUNK_BYTES_LARGEST)
            keep = c;
        else
            free_chunk(a, c);
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

/* The smallest kept chunk that has room. */
static struct chunk *take_kept(struct arena *a, size_t n)
{
    struct chunk **best = NULL;
    for (struct chunk **at = &a->kept; *at; at = &(*at)->next) {
        if ((*at)->cap >= n && (!best || (*at)->cap < (*best)->cap))
            best = at;
    }
    struct chunk *c = best ? *best : NULL;
    if (c)
        *best = c->next;
    return c;
}

static struct chunk *new_chunk(struct arena *a, size_t cap)
{
    struct chunk *c = a->keep ? take_kept(a, cap) : NULL;
    if (c)
        return c;
    if (!a->keep) {
        c = malloc(sizeof *c + cap);
    } else {
        size_t bytes = (sizeof *c + cap + CHUNK_BYTES_HUGE - 1) & ~(CHUNK_BYTES_HUGE - 1);
        c = aligned_alloc(CHUNK_BYTES_HUGE, bytes);
        cap = bytes - sizeof *c;
        if (c) /* what a kernel without huge pages makes of it is fine as well */
            madvise(c, bytes, MADV_HUGEPAGE);
    }
    if (c) {
        c->cap = cap;
        c->used = 0;
    }
    return c;
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
        if (!charge(a, sizeof(struct chunk) + cap))
            return NULL;
        struct chunk *fresh = new_chunk(a, cap);
        if (!fresh) {
            a->starved = true;
            if (a->budget)
                atomic_fetch_sub(&a->budget->used, sizeof *fresh + cap);
            return NULL;
        }
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
    if (a->budget)
        return err_set(err, ERR_LIMIT, "%s does not fit: %zu of %zu bytes are in use (%s)", what,
                       atomic_load(&a->budget->used), a->budget->limit, a->budget->name);
    return err_set(err, ERR_LIMIT, "%s does not fit: %zu of %zu bytes are in use", what, a->used,
                   a->limit);
}
