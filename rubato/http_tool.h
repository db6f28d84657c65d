/* HTTP for the tools: one blocking exchange. */
#ifndef RUBATO_HTTP_TOOL_H
#define RUBATO_HTTP_TOOL_H

#include "net/http_client.h"

/* POSTs a protobuf body; 0 when the answer is 2xx. */
int tool_post(struct http_client *c, const char *url, const char *const *headers,
              struct slice body, struct err *err);
/* GETs; the body is appended to out. Any status but 200 is an error that shows the body. */
int tool_get(struct http_client *c, const char *url, const char *const *headers, struct buf *out,
             struct err *err);
/* name=value percent-encoded, behind what is there. */
int tool_url_param(struct buf *url, const char *name, struct slice value);
/* Percent-encoded, as part of a path too. */
int tool_url_escape(struct buf *url, struct slice text);

#endif
