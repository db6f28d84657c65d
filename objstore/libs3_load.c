/* Finds libs3's functions in its shared object. */
#include "objstore/libs3_load.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libs3.so.2"

/* A function's address as the pointer that POSIX says it is. */
static bool find(void *library, const char *name, void *function)
{
    void *at = dlsym(library, name);
    memcpy(function, &at, sizeof at);
    return at;
}

int libs3_load(struct libs3 *out, struct err *err)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(err, ERR_UNSUPPORTED,
                       "storage.trace.s3.signature_v2 needs %s (Debian: libs3-2): %s", LIBRARY,
                       dlerror());
    const struct {
        const char *name;
        void *function;
    } wanted[] = {{"S3_initialize", &out->initialize},
                  {"S3_status_is_retryable", &out->status_is_retryable},
                  {"S3_get_status_name", &out->get_status_name},
                  {"S3_create_request_context", &out->create_request_context},
                  {"S3_destroy_request_context", &out->destroy_request_context},
                  {"S3_runonce_request_context", &out->runonce_request_context},
                  {"S3_get_object", &out->get_object},
                  {"S3_head_object", &out->head_object},
                  {"S3_put_object", &out->put_object},
                  {"S3_delete_object", &out->delete_object},
                  {"S3_list_bucket", &out->list_bucket}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!find(library, wanted[i].name, wanted[i].function))
            return err_set(err, ERR_UNSUPPORTED, "%s lacks %s", LIBRARY, wanted[i].name);
    }
    S3Status status = out->initialize("rubato", S3_INIT_ALL, NULL);
    if (status != S3StatusOK)
        return err_set(err, ERR_UNSUPPORTED, "%s does not start: %s", LIBRARY,
                       out->get_status_name(status));
    return 0;
}
