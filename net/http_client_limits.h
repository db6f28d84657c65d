/* What bounds the HTTP client, and why each number is what it is. */
#ifndef NET_HTTP_CLIENT_LIMITS_H
#define NET_HTTP_CLIENT_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* Connections when the caller names no number: enough to hide an object store's 20 to 50 ms for a
 * query that reads some hundred ranges. Further calls wait. */
#define LIMIT_HTTP_CONNECTIONS 64u
#define LIMIT_HTTP_CONNECTIONS_LARGEST 4096u

#define LIMIT_HTTP_DEADLINE_MS 60000 /* a call without a deadline */
#define LIMIT_HTTP_CONNECT_MS 5000L
#define LIMIT_HTTP_STALL_MS 20000u
#define LIMIT_HTTP_POLL_MS 1000 /* longest sleep of the loop */

/* Head of an answer. S3 allows 8 KiB of metadata; past this the call fails with ERR_LIMIT. */
#define LIMIT_HTTP_HEAD_BYTES ((size_t)64 << 10)
/* At most so much memory is taken on the word of a Content-Length. */
#define LIMIT_HTTP_RESERVE_BYTES (16 << 20)

/* Bodies from here on wait for 100 Continue, but not longer than LIMIT_HTTP_EXPECT_MS. */
#define LIMIT_HTTP_EXPECT_BYTES ((size_t)1 << 20)
#define LIMIT_HTTP_EXPECT_MS 500L

/* Servers drop idle connections after some 20 s, and a frozen sandbox does not notice: a connection
 * idle for longer is not used again. A limited lifetime spreads load over a store's front ends. */
#define LIMIT_HTTP_IDLE_S 15L
#define LIMIT_HTTP_LIFETIME_S 60L
static_assert(LIMIT_HTTP_IDLE_S < LIMIT_HTTP_LIFETIME_S, "idle ends first");

#define LIMIT_HTTP_BUFFER_BYTES (128L << 10)

#define LIMIT_HTTP_URL_SHOWN 160 /* bytes of a URL in an error text */

#endif
