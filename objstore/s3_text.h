/* Small texts of S3 and HTTP: URI encoding, dates, ETags, ranges. Pure functions. */
#ifndef OBJSTORE_S3_TEXT_H
#define OBJSTORE_S3_TEXT_H

#include "base/buf.h"
#include "base/slice.h"

/* RFC 3986: all but letters, digits and -._~ as %XX; '/' stays when keep_slash. */
int s3_uri_encode(struct buf *b, struct slice s, bool keep_slash);
/* %XX, and '+' as a space, in place; returns the new length. A '%' without two hex digits stays. */
size_t s3_uri_decode(uint8_t *s, size_t len);

/* "20150830T123600Z"; the first 8 chars are the date. */
void s3_time_amz(uint64_t unix_s, char out[17]);
/* "Sun, 06 Nov 1994 08:49:37 GMT", as Date and Last-Modified have it. */
bool s3_time_parse_http(struct slice s, uint64_t *unix_s);

/* Without quotes and weak mark, NUL-terminated; empty when it does not fit. */
void s3_etag_copy(struct slice header, char *out, size_t out_size);

/* "bytes 0-9/100": [from, to) of total. "bytes STAR/100" with a star (416) gives from = to = 0 and
 * *no_range. */
bool s3_content_range_parse(struct slice s, uint64_t *from, uint64_t *to, uint64_t *total,
                            bool *no_range);

#endif
