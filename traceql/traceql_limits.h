/* Limits of the query language. Hit: the query is refused (HTTP 400) with the number in the text.
 */
#ifndef TRACEQL_TRACEQL_LIMITS_H
#define TRACEQL_TRACEQL_LIMITS_H

/* Longest query, as in Tempo (max_query_expression_size_bytes' default). */
#define TRACEQL_LIMIT_QUERY_BYTES ((size_t)128 << 10)

/* Parentheses, unary operators and right operands inside one another. Each costs three frames of
 * the parser, less than 1 KiB together, so the deepest query needs less than 256 KiB of stack. */
#define TRACEQL_LIMIT_NESTING 256

/* Depth of the tree. `a || b || c` leans to the left and is as deep as it is long, so this is also
 * the longest chain. Later passes recurse once a level in frames of less than 256 bytes. */
#define TRACEQL_LIMIT_DEPTH 1024

/* Conditions (attribute, operator, literal) of one query; they are compared pair by pair. */
#define TRACEQL_LIMIT_CONDITIONS 4096

/* Groups inside one another in a regular expression: below PCRE2's own limit of 250. */
#define TRACEQL_LIMIT_REGEX_NESTING 200
/* Largest {n,m}, alone or multiplied by those around it: RE2's limit. */
#define TRACEQL_LIMIT_REGEX_REPEAT 1000
/* Named groups whose names are checked for repeats. */
#define TRACEQL_LIMIT_REGEX_NAMES 64
/* Steps of the backtracking matcher for one value; past it the value is matched without
 * backtracking, slower but in time proportional to its length. */
#define TRACEQL_LIMIT_REGEX_STEPS 100000
/* Work that the other matcher may do for one value: the square of the states that the pattern may
 * need, times the bytes of the value. About a second. */
#define TRACEQL_LIMIT_REGEX_WORK 1e9
/* KiB of heap that one match may take. */
#define TRACEQL_LIMIT_REGEX_HEAP_KIB 4096

/* Fields that one operand may look in, one after the other: span, resource, event, link, scope and
 * an intrinsic of each under the same name. */
#define TRACEQL_LIMIT_LOOKUPS 12

#endif
