/* The write path: receive OTLP, check it, store it as segments, acknowledge; turn segments into
 * blocks. docs/architecture.md draws it. */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include "app/app.h"
#include "catalog/catalog.h"

struct ingest;

struct ingest_opts {
    struct app *app; /* configuration, server, store, log, metrics, clock */
    struct catalog *catalog;
    bool build; /* also turn segments into blocks */
};

int ingest_new(const struct ingest_opts *opts, struct ingest **out, struct err *err);
/* Binds the configured receivers and starts the threads. */
int ingest_start(struct ingest *in, struct err *err);
/* Stores and acknowledges what was received, stops the threads. Receivers must have been drained
 * (net_server_drain): what still comes is answered UNAVAILABLE. */
void ingest_stop(struct ingest *in);
void ingest_free(struct ingest *in); /* NULL is fine */

/* Waits until no segment waits for a build, building at once whatever the window says. For tools
 * and tests. ERR_TIMEOUT. */
int ingest_build_all(struct ingest *in, uint64_t deadline_mono_ns, struct err *err);

#endif
