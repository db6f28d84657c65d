/* What bounds the object store room, and why each number is what it is. */
#ifndef OBJSTORE_OBJSTORE_LIMITS_H
#define OBJSTORE_OBJSTORE_LIMITS_H

#include <assert.h>
#include <stdint.h>

#include "base/clock.h"

/* S3's longest key, with the configured prefix. Longer: ERR_INVALID. */
#define LIMIT_KEY_BYTES 1024u
/* A call that names no deadline. */
#define LIMIT_OBJSTORE_DEADLINE_NS (60 * NS_PER_S)
/* Bytes of a key in an error text. */
#define LIMIT_KEY_SHOWN 200u

/* ---- local ---- */

/* Directories below the root; each costs the list walk one stack entry and one descriptor.
 * A tree that is deeper holds no keys of ours: what lies below is not listed. */
#define LIMIT_LOCAL_DEPTH 64u
/* Names of one directory are held sorted while it is walked. Passing it fails the list with
 * ERR_LIMIT: at 40 bytes a name this is some 100 MB. */
#define LIMIT_LOCAL_DIR_ENTRIES (1u << 21)
/* A directory may vanish under a PUT (an emptied one is removed) so often before ERR_IO. */
#define LIMIT_LOCAL_TRIES 16u
/* A temporary file nobody holds a lock on is stale once it is older: its writer is between create
 * and lock for microseconds only. */
#define LIMIT_LOCAL_STALE_S 60
/* Directories remembered as durable; forgetting one costs an fsync. */
#define LIMIT_LOCAL_DURABLE 256u

/* ---- s3 ---- */

#define LIMIT_S3_PART_BYTES ((uint64_t)64 << 20)         /* single PUT up to here */
#define LIMIT_S3_PART_BYTES_SMALLEST ((uint64_t)5 << 20) /* S3's own: EntityTooSmall below */
#define LIMIT_S3_PART_BYTES_LARGEST ((uint64_t)5 << 30)  /* S3's own */
#define LIMIT_S3_PARTS 10000u                            /* S3's own */
/* Parts of one large PUT under way at once; they share the caller's memory. */
#define LIMIT_S3_PARTS_PARALLEL 4u
/* A streamed upload copies: at most (2 + 1) * 8 MiB. 8 MiB * 10000 parts bound it to 78 GiB. */
#define LIMIT_S3_UPLOAD_PART_BYTES ((uint64_t)8 << 20)
#define LIMIT_S3_UPLOAD_PARALLEL 2u
static_assert(LIMIT_S3_UPLOAD_PART_BYTES >= LIMIT_S3_PART_BYTES_SMALLEST, "S3 takes the part");
static_assert(LIMIT_S3_PART_BYTES >= LIMIT_S3_PART_BYTES_SMALLEST, "S3 takes the part");

/* Tries of one request, the first one included; with full jitter they span 8 s on average. */
#define LIMIT_S3_TRIES 10u
#define LIMIT_S3_BACKOFF_FIRST_NS (50 * NS_PER_MS)
#define LIMIT_S3_BACKOFF_LARGEST_NS (5 * NS_PER_S)
/* Answers of one request that send us elsewhere (region, host, clock, new credentials). */
#define LIMIT_S3_REDIRECTS 4u

/* Largest XML answer: a page of 1000 keys, each of 1024 bytes three times escaped, is 4 MB. */
#define LIMIT_S3_XML_BYTES ((size_t)16 << 20)
#define LIMIT_S3_XML_DEPTH 16u
#define LIMIT_S3_XML_TEXT_BYTES ((size_t)16 << 10)
/* Entries of one page; S3 sends 1000. */
#define LIMIT_S3_LIST_ITEMS 100000u
/* Pages without an item that one list accepts in a row before it calls the store broken. */
#define LIMIT_S3_EMPTY_PAGES 1000u
/* Error bodies are XML of a few hundred bytes; a proxy's HTML page may be longer and is cut. */
#define LIMIT_S3_ERROR_BYTES ((size_t)64 << 10)

/* Requests of libs3 side by side: it has no pool, each is a connection of its own. */
#define LIMIT_LIBS3_PARALLEL 16u
#define LIBS3_PAGE_KEYS 1000

#define LIMIT_S3_HEADERS 16u
#define LIMIT_S3_QUERY 8u

/* ---- credentials ---- */

#define LIMIT_CREDENTIALS_KEY_BYTES 256u
#define LIMIT_CREDENTIALS_TOKEN_BYTES 8192u
#define LIMIT_CREDENTIALS_FILE_BYTES ((size_t)1 << 20)
#define LIMIT_CREDENTIALS_ANSWER_BYTES ((size_t)64 << 10)
#define LIMIT_CREDENTIALS_FETCH_NS (10 * NS_PER_S)  /* one provider, all its requests */
#define LIMIT_CREDENTIALS_CONNECT_MS 1000u          /* link-local answers at once or never */
#define LIMIT_CREDENTIALS_EARLY_NS (300 * NS_PER_S) /* refreshed so long before they expire */
#define LIMIT_CREDENTIALS_AGAIN_NS (10 * NS_PER_S)  /* between failed refreshes */

#endif
