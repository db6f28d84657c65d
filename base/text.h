/* Text forms of bytes, ids, times and numbers. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

void hex_encode(struct slice in, char *out);             /* 2 * in.len chars, lower case, no NUL */
bool hex_decode(struct slice in, uint8_t *out);          /* in.len even, either case */
int buf_hex(struct buf *b, struct slice in);
int buf_base64(struct buf *b, struct slice in);          /* standard, padded */
/* Standard or URL alphabet, padding optional. False: not base64. Appends to b. */
bool buf_base64_decode(struct buf *b, struct slice in);

/* 36 chars and a NUL. */
void uuid_format(const uint8_t id[16], char out[37]);
bool uuid_parse(struct slice in, uint8_t id[16]);

/* RFC 3339 with as many fraction digits as needed (0 to 9), in UTC. out holds 36. */
void time_format_rfc3339(uint64_t unix_ns, char out[36]);
/* Any zone offset, fraction optional. Times before 1970 give 0 and true ("0001-01-01T00:00:00Z"). */
bool time_parse_rfc3339(struct slice in, uint64_t *unix_ns);

/* Decimal digits only. */
bool parse_u64(struct slice in, uint64_t *out);
bool parse_i64(struct slice in, int64_t *out);   /* optional leading '-' or '+' */
bool parse_f64(struct slice in, double *out);    /* strtod's grammar, whole slice */
/* Go duration: "1h30m", "1.5s", "250ms", "0", "-5s". Nanoseconds. */
bool parse_duration(struct slice in, int64_t *ns);
/* Prometheus' durations: "1w", "1d12h", "90s", units from large to small, more than nothing. */
bool parse_prometheus_duration(struct slice in, int64_t *ns);
/* A point in time as Tempo's metrics API takes it: seconds, seconds with a fraction (to the
 * millisecond), nanoseconds (more than 10 digits), RFC 3339. */
bool parse_timestamp(struct slice in, int64_t *unix_ns);
/* Go's spelling: "1h30m0s", "1.5s", "200ms", "1.5µs", "0s". out holds 40. */
void format_duration(int64_t ns, char out[40]);
/* Shortest digits that read back; Go's JSON form (exponent below 1e-6 and from 1e21, "1e-7",
 * "1e+21"). NaN and infinities as NaN, Infinity, -Infinity without quotes. out holds 40. */
void format_f64_json(double v, char out[40]);

/* JSON string with quotes; < > & U+2028 U+2029 and controls escaped as Go does; bad UTF-8 becomes
 * U+FFFD. */
int buf_json_string(struct buf *b, struct slice s);
/* Length of the longest prefix of s that is valid UTF-8 and at most max bytes. */
size_t utf8_prefix(struct slice s, size_t max);
bool utf8_valid(struct slice s);

/* For logs and messages: foreign bytes escaped (\xHH, \n, \") and cut to max source bytes with "…".
 * Always NUL-terminated; returns out. */
char *text_escape(struct slice s, size_t max, char *out, size_t out_size);

#endif
