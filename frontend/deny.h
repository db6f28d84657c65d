/* query_frontend.url_deny_list: questions that an operator has found to be too much. */
#ifndef FRONTEND_DENY_H
#define FRONTEND_DENY_H

#include "base/config.h"

struct deny_list;

/* ERR_INVALID names the pattern that is none. */
int deny_list_new(const struct config_strings *patterns, struct deny_list **out, struct err *err);
void deny_list_free(struct deny_list *d); /* NULL is fine */
/* ERR_INVALID in Tempo's words when a pattern matches anywhere in path and query. Any thread. */
int deny_list_check(struct deny_list *d, struct slice path, struct slice query, struct err *err);

#endif
