/* A store that wraps another and fails by script: for tests of what is built on objstore.
 *
 * A step applies to the nth call of its operation (or to all of them). put and upload_finish count
 * as PUT, upload_write as POST, each get of a batch as GET. */
#ifndef TESTS_SUPPORT_SCRIPTED_STORE_H
#define TESTS_SUPPORT_SCRIPTED_STORE_H

#include "objstore/objstore.h"
#include "objstore/objstore_priv.h"

enum scripted_action {
    SCRIPTED_FAIL,        /* rc without doing anything */
    SCRIPTED_LOSE_ANSWER, /* done, but answered with rc */
    SCRIPTED_CUT_BODY,    /* GET: as if the object were only cut_at bytes of what was asked for */
    SCRIPTED_DELAY,       /* done after delay_ms */
    SCRIPTED_CALL,        /* calls before(before_ctx), then does it: a race made certain */
    SCRIPTED_TEAR,        /* LIST: calls before(before_ctx) after cut_at items, then goes on */
};

struct scripted_step {
    enum objstore_op op;
    unsigned nth;             /* from 1; 0: every one */
    const char *key_contains; /* NULL: any key. Calls with other keys are not counted */
    enum scripted_action action;
    int rc;
    size_t cut_at;
    uint32_t delay_ms;
    void (*before)(void *ctx);
    void *before_ctx;
};

/* steps are the caller's and stay as they are while the store lives; inner is the caller's too. */
int scripted_store_new(struct objstore *inner, const struct scripted_step *steps, size_t count,
                       const struct objstore_env *env, struct objstore **out, struct err *err);
/* From now on so many writes (put, upload_finish, delete) are done, and after that nothing works: a
 * process that dies between two of them. */
void scripted_store_die_after(struct objstore *s, unsigned writes);
/* How many calls of that operation there were. */
unsigned scripted_store_calls(struct objstore *s, enum objstore_op op);

#endif
