/* The walk over the pages of a bucket's listing, for the two drivers that speak S3. */
#ifndef OBJSTORE_S3_LIST_H
#define OBJSTORE_S3_LIST_H

#include "objstore/objstore_priv.h"
#include "objstore/s3_xml.h"

struct s3_lister {
    /* Gets the page that follows: by the token when there is one, else after start_after. Texts of
     * the entries live in the arena. */
    int (*fetch)(struct s3_lister *l, struct arena *a, struct s3_list_page *page, struct err *err);
    struct objstore *store;
    struct slice store_prefix; /* "" or with its '/' */
    const struct objstore_list_query *query;
    /* The walk's own; with the store's prefix. */
    struct buf prefix;
    struct buf start_after; /* empty: from the first */
    struct buf token;       /* empty: none */
    struct buf last;        /* the last key or prefix of all pages */
    unsigned empty_pages;
    bool stopped; /* the caller has seen enough */
};

int s3_list_walk(struct s3_lister *l, struct err *err);

#endif
