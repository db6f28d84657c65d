/* Between http1.c (connections) and http1_parse.c (requests). */
#ifndef NET_HTTP1_PRIV_H
#define NET_HTTP1_PRIV_H

#include "net/net_server_priv.h"

/* A new request begins. */
void http1_parse_begin(struct net_conn *conn);
/* Bytes taken: all, or up to the end of the request (complete) or to what is no request (the
 * parser's errno). */
size_t http1_parse(struct net_conn *conn, struct slice bytes);

#endif
