/* The XML that S3 and STS answer with, read by expat under limits: no document type (so no
 * entities), bounded depth and text. ERR_CORRUPT for what is not well-formed or passes a limit. */
#ifndef OBJSTORE_S3_XML_H
#define OBJSTORE_S3_XML_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/vec.h"

/* One element that is wanted, wherever it stands: the text of the first one of that name. */
struct s3_xml_want {
    const char *name;
    char *out; /* NUL-terminated; empty when absent or when it does not fit */
    size_t out_size;
};

/* root (may be NULL, else at least root_size bytes) receives the name of the root element. */
int s3_xml_read(struct slice doc, struct s3_xml_want *wants, size_t count, char *root,
                size_t root_size, struct err *err);

struct s3_error {
    char code[64];
    char message[256];
    char region[64];
    char endpoint[256];
    char size[24]; /* ActualObjectSize of InvalidRange */
};

/* All fields empty when doc is no <Error>: a proxy's page, or nothing at all. */
void s3_xml_error(struct slice doc, struct s3_error *out);

struct s3_list_entry {
    struct slice key; /* decoded; a common prefix ends in '/' */
    bool is_prefix;
    uint64_t bytes;
    uint64_t modified_unix_ns;
};

struct s3_list_page {
    VEC(struct s3_list_entry) entries; /* as they came: keys, prefixes, in any order */
    bool truncated;
    struct slice token; /* empty when absent */
};

/* Texts lie in the arena; the caller frees entries with vec_free, after failure as well. */
int s3_xml_list(struct slice doc, struct arena *arena, struct s3_list_page *page, struct err *err);

#endif
