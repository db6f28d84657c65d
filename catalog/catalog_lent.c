/* Sections that a job from another process names: this process has not listed the store, so each is
 * a segment of one section, made from what the job says. The same section is the same segment for
 * as long as jobs keep naming it, so that its bytes, and columns made of it, can be kept. */
#include "catalog/catalog_priv.h"

/* Sections remembered. Those of one tenant are what it ingested in half a minute; past the limit
 * the one not named for the longest time is forgotten, and read again when it comes back. */
#define LIMIT_LENT_SECTIONS 512
#define LENT_NS (60 * NS_PER_S)

static void forget_locked(struct catalog *c, uint32_t i)
{
    struct catalog_segment *s = c->shared.lent.at[i];
    if (s->raw[0])
        c->shared.raw_bytes -= s->raw[0]->len;
    s->lent = false;
    c->shared.lent.at[i] = c->shared.lent.at[--c->shared.lent.count];
    catalog_segment_release(s);
}

void catalog_forget_lent_locked(struct catalog *c)
{
    while (c->shared.lent.count)
        forget_locked(c, c->shared.lent.count - 1);
    vec_free(&c->shared.lent);
}

/* Makes room: the stale ones, and the oldest where all are fresh. */
static void age_locked(struct catalog *c, uint64_t now)
{
    uint32_t oldest = 0;
    for (uint32_t i = c->shared.lent.count; i-- > 0;) {
        if (now - c->shared.lent.at[i]->added_mono_ns > LENT_NS)
            forget_locked(c, i);
    }
    for (uint32_t i = 1; i < c->shared.lent.count; i++) {
        if (c->shared.lent.at[i]->added_mono_ns < c->shared.lent.at[oldest]->added_mono_ns)
            oldest = i;
    }
    if (c->shared.lent.count >= LIMIT_LENT_SECTIONS)
        forget_locked(c, oldest);
}

static struct catalog_segment *make(struct slice name, const struct segment_section *section)
{
    struct arena *a = arena_new((size_t)64 << 10);
    struct catalog_segment *s = a ? arena_zalloc(a, sizeof *s) : NULL;
    struct segment_section *copy = s ? arena_zalloc(a, sizeof *copy) : NULL;
    if (!copy || !(s->raw = arena_zalloc(a, sizeof(struct shared_bytes *))) ||
        !arena_slice(a, name, &s->name) || !arena_slice(a, section->tenant, &copy->tenant)) {
        arena_free(a);
        return NULL;
    }
    struct slice tenant = copy->tenant;
    *copy = *section;
    copy->tenant = tenant;
    copy->traces = NULL;
    copy->trace_count = 0;
    atomic_init(&s->refs, 1);
    s->arena = a;
    s->raw_bytes = section->raw_bytes;
    s->footer = (struct segment_footer){copy, 1};
    s->lent = true;
    return s;
}

int catalog_lend_section(struct catalog *c, struct slice name,
                         const struct segment_section *section, struct catalog_section *out,
                         struct err *err)
{
    uint64_t now = clock_mono_ns(c->opts.clock);
    struct catalog_segment *s = NULL;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.lent.count && !s; i++) {
        struct catalog_segment *at = c->shared.lent.at[i];
        const struct segment_section *known = &at->footer.sections[0];
        if (known->offset == section->offset && known->bytes == section->bytes &&
            known->raw_bytes == section->raw_bytes && slice_eq(at->name, name))
            s = at;
    }
    if (!s) {
        age_locked(c, now);
        s = make(name, section);
        if (s && !vec_push(&c->shared.lent, s))
            s = catalog_segment_release(s);
    }
    if (s) {
        s->added_mono_ns = now;
        *out = (struct catalog_section){catalog_segment_acquire(s), &s->footer.sections[0], 0};
    }
    pthread_mutex_unlock(&c->shared.mu);
    return s ? 0 : err_set(err, ERR_NOMEM, "no memory for a segment");
}
