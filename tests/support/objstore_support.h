/* What tests of stores share: a scratch directory, and the S3 server that the environment names. */
#ifndef TESTS_SUPPORT_OBJSTORE_SUPPORT_H
#define TESTS_SUPPORT_OBJSTORE_SUPPORT_H

#include "objstore/objstore.h"

/* A fresh directory under TMPDIR or /tmp; the path in out. Aborts when it cannot be made. */
void scratch_dir_make(char out[256]);
void scratch_dir_remove(const char *path); /* with all that is in it */

/* From S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY, S3_BUCKET ("rubato-test"), S3_REGION. False when
 * S3_ENDPOINT is not set. */
bool objstore_s3_opts_from_env(struct objstore_s3_opts *opts);
/* Creates opts' bucket; one that we own already is fine. */
int objstore_s3_make_bucket(const struct objstore_s3_opts *opts, struct err *err);

#endif
