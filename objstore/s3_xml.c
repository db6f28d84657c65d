/* Reading S3's XML: one expat parser under limits, and two readers on top of it, one that picks
 * single elements by name and one for pages of a listing. */
#include "objstore/s3_xml.h"

#include <expat.h>
#include <stdio.h>

#include "base/text.h"
#include "objstore/objstore_limits.h"
#include "objstore/s3_text.h"

#define NAME_BYTES 64

/* Called at the end of each element: depth 1 is the root; parent is the name one level up. */
struct xml;
typedef int(element_fn)(struct xml *x, unsigned depth, const char *parent, const char *name);

struct xml {
    XML_Parser parser;
    element_fn *on_start; /* may be NULL */
    element_fn *on_end;
    void *ctx;
    unsigned depth;
    char names[LIMIT_S3_XML_DEPTH + 1][NAME_BYTES]; /* [0] is above the root */
    struct buf text;                                /* of the element that is open */
    const char *fault;
    int rc;
};

static void stop(struct xml *x, int rc, const char *fault)
{
    if (!x->fault) {
        x->rc = rc;
        x->fault = fault;
    }
    XML_StopParser(x->parser, XML_FALSE);
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attrs)
{
    (void)attrs;
    struct xml *x = ctx;
    if (x->fault)
        return;
    if (x->depth == LIMIT_S3_XML_DEPTH) {
        stop(x, ERR_CORRUPT, "elements lie more than 16 deep");
        return;
    }
    const char *colon = strchr(name, ':');
    x->depth++;
    /* A longer name is none that we look for: cut is fine. */
    snprintf(x->names[x->depth], NAME_BYTES, "%s", colon ? colon + 1 : name);
    buf_reset(&x->text);
    if (x->on_start && x->on_start(x, x->depth, x->names[x->depth - 1], x->names[x->depth]) < 0)
        stop(x, ERR_LIMIT, "too many elements");
}

static void on_text(void *ctx, const XML_Char *s, int len)
{
    struct xml *x = ctx;
    if (!x->fault && buf_append(&x->text, s, (size_t)len) < 0)
        stop(x, ERR_CORRUPT, "an element has more than 16 KiB of text");
}

static void on_end(void *ctx, const XML_Char *name)
{
    (void)name;
    struct xml *x = ctx;
    if (x->fault)
        return;
    int rc = x->on_end(x, x->depth, x->names[x->depth - 1], x->names[x->depth]);
    if (rc < 0)
        stop(x, rc, rc == ERR_CORRUPT ? "a value is not what its element holds" : "too much of it");
    x->depth--;
    buf_reset(&x->text);
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *sysid,
                       const XML_Char *pubid, int has_internal_subset)
{
    (void)name, (void)sysid, (void)pubid, (void)has_internal_subset;
    stop(ctx, ERR_CORRUPT, "it has a document type");
}

static int parse(struct xml *x, struct slice doc, struct err *err)
{
    if (doc.len > LIMIT_S3_XML_BYTES)
        return err_set(err, ERR_CORRUPT, "the XML has %zu bytes; at most %zu are read", doc.len,
                       LIMIT_S3_XML_BYTES);
    x->parser = XML_ParserCreate(NULL);
    if (!x->parser)
        return err_set(err, ERR_NOMEM, "no memory for an XML parser");
    buf_init(&x->text, LIMIT_S3_XML_TEXT_BYTES);
    XML_SetUserData(x->parser, x);
    XML_SetElementHandler(x->parser, on_start, on_end);
    XML_SetCharacterDataHandler(x->parser, on_text);
    XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
    enum XML_Status status =
        XML_Parse(x->parser, doc.len ? (const char *)doc.ptr : "", (int)doc.len, XML_TRUE);
    int rc = 0;
    if (x->fault)
        rc = err_set(err, x->rc, "the XML at byte %lld: %s",
                     (long long)XML_GetCurrentByteIndex(x->parser), x->fault);
    else if (status != XML_STATUS_OK)
        rc = err_set(err, ERR_CORRUPT, "the XML at byte %lld: %s",
                     (long long)XML_GetCurrentByteIndex(x->parser),
                     XML_ErrorString(XML_GetErrorCode(x->parser)));
    XML_ParserFree(x->parser);
    buf_clear(&x->text);
    return rc;
}

/* ---- single elements ---- */

struct read {
    struct s3_xml_want *wants;
    size_t count;
    char *root;
    size_t root_size;
};

static int read_end(struct xml *x, unsigned depth, const char *parent, const char *name)
{
    (void)parent;
    const struct read *r = x->ctx;
    if (depth == 1 && r->root)
        snprintf(r->root, r->root_size, "%s", name);
    for (size_t i = 0; i < r->count; i++) {
        struct s3_xml_want *w = &r->wants[i];
        if (w->out[0] || strcmp(w->name, name) != 0 || x->text.len >= w->out_size ||
            (x->text.len && memchr(x->text.ptr, 0, x->text.len)))
            continue;
        if (x->text.len)
            memcpy(w->out, x->text.ptr, x->text.len);
        w->out[x->text.len] = 0;
    }
    return 0;
}

int s3_xml_read(struct slice doc, struct s3_xml_want *wants, size_t count, char *root,
                size_t root_size, struct err *err)
{
    struct read r = {wants, count, root, root_size};
    struct xml x = {.on_end = read_end, .ctx = &r};
    for (size_t i = 0; i < count; i++)
        wants[i].out[0] = 0;
    if (root)
        root[0] = 0;
    return parse(&x, doc, err);
}

void s3_xml_error(struct slice doc, struct s3_error *out)
{
    char root[NAME_BYTES];
    struct s3_xml_want wants[] = {
        {"Code", out->code, sizeof out->code},
        {"Message", out->message, sizeof out->message},
        {"Region", out->region, sizeof out->region},
        {"Endpoint", out->endpoint, sizeof out->endpoint},
        {"ActualObjectSize", out->size, sizeof out->size},
    };
    *out = (struct s3_error){.code = ""};
    if (doc.len == 0)
        return;
    int rc = s3_xml_read(doc, wants, sizeof wants / sizeof wants[0], root, sizeof root, NULL);
    /* STS wraps its <Error> in an <ErrorResponse>. */
    if (rc < 0 || (strcmp(root, "Error") != 0 && strcmp(root, "ErrorResponse") != 0))
        *out = (struct s3_error){.code = ""};
}

/* ---- listings ---- */

struct list {
    struct arena *arena;
    struct s3_list_page *page;
    struct s3_list_entry entry; /* the Contents or CommonPrefixes that is open */
    bool url_encoded;
};

static bool is_entry(unsigned depth, const char *name)
{
    return depth == 2 && (strcmp(name, "Contents") == 0 || strcmp(name, "CommonPrefixes") == 0);
}

static int list_start(struct xml *x, unsigned depth, const char *parent, const char *name)
{
    (void)parent;
    struct list *l = x->ctx;
    if (is_entry(depth, name))
        l->entry = (struct s3_list_entry){0};
    return l->page->entries.count < LIMIT_S3_LIST_ITEMS ? 0 : ERR_LIMIT;
}

static int list_field(struct list *l, const char *parent, const char *name, struct slice text)
{
    struct s3_list_entry *e = &l->entry;
    bool prefix = strcmp(parent, "CommonPrefixes") == 0;
    if (strcmp(name, prefix ? "Prefix" : "Key") == 0) {
        e->is_prefix = prefix;
        return arena_slice(l->arena, text, &e->key) ? 0 : ERR_LIMIT;
    }
    if (!prefix && strcmp(name, "Size") == 0)
        return parse_u64(text, &e->bytes) ? 0 : ERR_CORRUPT;
    if (!prefix && strcmp(name, "LastModified") == 0)
        (void)time_parse_rfc3339(text, &e->modified_unix_ns); /* told, not relied on */
    return 0;
}

static int list_end(struct xml *x, unsigned depth, const char *parent, const char *name)
{
    struct list *l = x->ctx;
    struct slice text = buf_view(&x->text);
    if (depth == 3 && is_entry(2, parent))
        return list_field(l, parent, name, text);
    if (depth == 1)
        return strcmp(name, "ListBucketResult") == 0 ? 0 : ERR_CORRUPT;
    if (depth != 2)
        return 0;
    if (is_entry(2, name))
        return l->entry.key.len == 0                   ? ERR_CORRUPT
               : vec_push(&l->page->entries, l->entry) ? 0
                                                       : ERR_NOMEM;
    if (strcmp(name, "IsTruncated") == 0)
        l->page->truncated = slice_eq(text, SLICE("true"));
    else if (strcmp(name, "NextContinuationToken") == 0)
        return arena_slice(l->arena, text, &l->page->token) ? 0 : ERR_LIMIT;
    else if (strcmp(name, "EncodingType") == 0)
        l->url_encoded = slice_eq(text, SLICE("url"));
    return 0;
}

int s3_xml_list(struct slice doc, struct arena *arena, struct s3_list_page *page, struct err *err)
{
    struct list l = {.arena = arena, .page = page};
    struct xml x = {.on_start = list_start, .on_end = list_end, .ctx = &l};
    *page = (struct s3_list_page){.truncated = false};
    int rc = parse(&x, doc, err);
    if (rc < 0)
        return err_wrap(err, "the listing"), rc;
    /* EncodingType may come after the keys it is about. */
    for (uint32_t i = 0; i < page->entries.count && l.url_encoded; i++) {
        struct slice *key = &page->entries.at[i].key;
        key->len = s3_uri_decode((uint8_t *)(uintptr_t)key->ptr, key->len);
    }
    return 0;
}
