/* AnyValue as protobuf JSON, the form in which vParquet stores values it has no column for. */
#ifndef BLOCK_VALUE_JSON_H
#define BLOCK_VALUE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json_pull.h"
#include "block/span.h"

/* {"stringValue":"x"}, {"kvlistValue":{"values":[…]}}, {} …; as Go's protobuf JSON writes it. */
int value_json_write(const struct span_batch *b, const struct value *v, struct buf *out);
/* [{"key":"k","value":{…}},…] */
int attrs_json_write(const struct span_batch *b, struct range attrs, struct buf *out);
/* Any valid protobuf JSON of an AnyValue, nested at most depth_max deep. List elements are appended
 * to b; strings live in the arena. */
int value_json_parse(struct slice json, unsigned depth_max, struct arena *a, struct span_batch *b,
                     struct value *out, struct err *err);

/* An array or object level of an AnyValue takes this many levels of JSON at most:
 * {"kvlistValue":{"values":[{"key":…,"value":… */
#define VALUE_JSON_LEVELS 4

/* The same from the middle of a text: an array of KeyValues, whose values may nest depth_max deep.
 * *out is replaced, elements are appended to b. Strings without escapes point into the text. */
int attrs_json_read(struct json_pull *j, unsigned depth_max, struct span_batch *b,
                    struct range *out);

#endif
