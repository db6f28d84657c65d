/* Listing page by page: the walk, shared by the two drivers that speak S3, and the pages of
 * ListObjectsV2.
 *
 * The order is checked, not trusted: a page that does not go on from the last one would loop for
 * ever, or hide keys. A server that says "truncated" without a token is asked to start after the
 * last key seen. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "objstore/s3_list.h"
#include "objstore/s3_request_priv.h"

#define PAGE_ARENA_BYTES ((size_t)64 << 20)

static int fetch_page(struct s3_lister *l, struct arena *a, struct s3_list_page *page,
                      struct err *err)
{
    struct s3_request r = {
        .store = (struct s3_store *)l->store,
        .op = OBJSTORE_OP_LIST,
        .method = "GET",
        .deadline_ns = l->query->deadline_ns,
    };
    r.query[r.query_count++] = (struct s3_pair){SLICE("list-type"), SLICE("2")};
    r.query[r.query_count++] = (struct s3_pair){SLICE("encoding-type"), SLICE("url")};
    r.query[r.query_count++] = (struct s3_pair){SLICE("prefix"), buf_view(&l->prefix)};
    if (l->query->delimiter_slash)
        r.query[r.query_count++] = (struct s3_pair){SLICE("delimiter"), SLICE("/")};
    if (l->token.len)
        r.query[r.query_count++] =
            (struct s3_pair){SLICE("continuation-token"), buf_view(&l->token)};
    else if (l->start_after.len)
        r.query[r.query_count++] =
            (struct s3_pair){SLICE("start-after"), buf_view(&l->start_after)};
    buf_init(&r.out, LIMIT_S3_XML_BYTES);
    int rc = s3_request_run(&r, err);
    if (rc == 0)
        rc = s3_xml_list(buf_view(&r.out), a, page, err);
    s3_request_clear(&r);
    return rc;
}

static int entry_cmp(const void *a, const void *b)
{
    const struct s3_list_entry *x = a, *y = b;
    return slice_cmp(x->key, y->key);
}

static int set_buf(struct buf *b, struct slice s)
{
    buf_reset(b);
    return buf_slice(b, s);
}

/* Objects whose names are no keys of ours ("dir/" markers for one) are passed over. */
static void show(struct s3_lister *l, const struct s3_list_entry *e)
{
    const struct objstore_list_query *q = l->query;
    struct slice key = slice_from(e->key, l->store_prefix.len);
    struct slice name = e->is_prefix && key.len ? slice_of(key.ptr, key.len - 1) : key;
    if (!objstore_key_is_valid(name) || slice_cmp(key, q->start_after) <= 0)
        return;
    struct objstore_list_item item = {key, e->is_prefix, e->bytes, e->modified_unix_ns};
    l->stopped = q->fn(q->ctx, &item) != 0;
}

static int show_page(struct s3_lister *l, struct s3_list_page *page, struct err *err)
{
    uint32_t count = page->entries.count;
    if (count == 0)
        return ++l->empty_pages > LIMIT_S3_EMPTY_PAGES
                   ? err_set(err, ERR_CORRUPT, "%u pages without a key", l->empty_pages)
                   : 0;
    l->empty_pages = 0;
    qsort(page->entries.at, count, sizeof page->entries.at[0], entry_cmp);
    char shown[256];
    for (uint32_t i = 0; i < count && !l->stopped; i++) {
        const struct s3_list_entry *e = &page->entries.at[i];
        if (!slice_starts(e->key, buf_view(&l->prefix)))
            return err_set(err, ERR_CORRUPT, "the listing names '%s', outside the prefix",
                           text_escape(e->key, 60, shown, sizeof shown));
        if (slice_cmp(e->key, buf_view(&l->last)) <= 0 && l->last.len)
            return err_set(err, ERR_CORRUPT, "the listing goes back to '%s'",
                           text_escape(e->key, 60, shown, sizeof shown));
        show(l, e);
        if (set_buf(&l->last, e->key) < 0)
            return err_set(err, ERR_NOMEM, "no memory for a key");
    }
    return 0;
}

/* 1: there is a next page. */
static int plan_next(struct s3_lister *l, const struct s3_list_page *page, struct err *err)
{
    if (!page->truncated)
        return 0;
    int rc;
    if (page->token.len) {
        rc = set_buf(&l->token, page->token);
    } else if (page->entries.count == 0) {
        return err_set(err, ERR_CORRUPT, "the listing is cut off without saying where");
    } else {
        buf_reset(&l->token);
        rc = set_buf(&l->start_after, buf_view(&l->last));
    }
    return rc < 0 ? err_set(err, rc, "the continuation token is too long") : 1;
}

static int one_page(struct s3_lister *l, struct err *err)
{
    struct arena *arena = arena_new(PAGE_ARENA_BYTES);
    struct s3_list_page page = {.truncated = false};
    int rc = arena ? 0 : err_set(err, ERR_NOMEM, "no memory for a page");
    if (rc == 0)
        rc = l->fetch(l, arena, &page, err);
    if (rc == 0)
        rc = show_page(l, &page, err);
    if (rc == 0)
        rc = l->stopped ? 0 : plan_next(l, &page, err);
    vec_free(&page.entries);
    arena_free(arena);
    return rc;
}

/* A key as the server knows it; an empty one is the store's whole prefix. */
static int full_key(const struct s3_lister *l, struct slice key, struct buf *out, struct err *err)
{
    int rc = buf_slice(out, l->store_prefix);
    rc = rc < 0 ? rc : buf_slice(out, key);
    if (rc < 0)
        return err_set(err, rc, "no memory for a key");
    if (out->len > LIMIT_KEY_BYTES)
        return err_set(err, ERR_INVALID, "with the prefix the key has %zu bytes; at most %u",
                       out->len, LIMIT_KEY_BYTES);
    return 0;
}

int s3_list_walk(struct s3_lister *l, struct err *err)
{
    buf_init(&l->prefix, 2 * LIMIT_KEY_BYTES);
    buf_init(&l->start_after, 4 * LIMIT_KEY_BYTES);
    buf_init(&l->token, LIMIT_S3_XML_TEXT_BYTES);
    buf_init(&l->last, LIMIT_S3_XML_TEXT_BYTES);
    int rc = full_key(l, l->query->prefix, &l->prefix, err);
    if (rc == 0 && l->query->start_after.len)
        rc = full_key(l, l->query->start_after, &l->start_after, err);
    if (rc == 0) {
        do {
            rc = one_page(l, err);
        } while (rc > 0);
    }
    buf_clear(&l->prefix);
    buf_clear(&l->start_after);
    buf_clear(&l->token);
    buf_clear(&l->last);
    return rc;
}

int s3_list(struct objstore *store, const struct objstore_list_query *query, struct err *err)
{
    struct s3_store *s = (struct s3_store *)store;
    struct s3_lister l = {
        .fetch = fetch_page, .store = store, .store_prefix = slice_cstr(s->prefix), .query = query};
    return s3_list_walk(&l, err);
}
