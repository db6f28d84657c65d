/* One connection between a frontend and one slot of a worker: frames on a stream socket, the same
 * to a child process and to another machine. The frontend owns the conversation: a job is asked,
 * then there is one result. While the job runs the worker says that it is alive, and may be told
 * that nobody waits any more.
 *
 *   frontend -> worker   LINK_JOB, LINK_CANCEL
 *   worker -> frontend   LINK_ALIVE (ready, and once a second while a job runs), LINK_RESULT,
 *                        LINK_LEAVING (no more jobs here)
 *
 * A frame: the payload's length, 32 bits, little-endian; its type, 8 bits; the job's number, 32
 * bits; the payload. A link is used by one thread at a time. */
#ifndef QUERY_JOB_LINK_H
#define QUERY_JOB_LINK_H

#include "base/buf.h"
#include "base/clock.h"
#include "query/query.h"

#define LINK_HEAD_BYTES 9

/* How often a worker says that it is alive while a job runs. */
#define LINK_ALIVE_NS NS_PER_S
/* How often a side that waits looks at flags and clocks: how late a cancel may be. */
#define LINK_TICK_NS (20 * NS_PER_MS)
/* A frame that has begun to be sent: its peer must take some of it within this time. */
#define LINK_STALL_NS (20 * NS_PER_S)
/* After a cancel, or its deadline, a job may take so long to end. */
#define LINK_GRACE_NS (10 * NS_PER_S)

enum link_type {
    LINK_JOB = 1,
    LINK_CANCEL,
    LINK_ALIVE,
    LINK_RESULT,
    LINK_LEAVING,
};

struct link_frame {
    enum link_type type;
    uint32_t number;      /* of the job */
    struct slice payload; /* good until the next link_poll */
};

struct job_link {
    int fd; /* -1: closed */
    const struct clock *clock;
    /* What has arrived of the next frame. */
    uint8_t head[LINK_HEAD_BYTES];
    size_t head_bytes;
    struct buf body;
    size_t body_want;
};

/* Takes fd; payloads of received frames are at most payload_max. */
void job_link_init(struct job_link *l, int fd, size_t payload_max, const struct clock *clock);
void job_link_clear(struct job_link *l); /* closes */

/* Sends a frame whole. ERR_IO: the connection is broken. ERR_TIMEOUT: the peer takes nothing. After
 * either, clear the link. */
int job_link_send(struct job_link *l, enum link_type type, uint32_t number, struct slice payload,
                  struct err *err);
/* The next frame: 0; 1 when it is not whole until then; ERR_IO (closed too), ERR_CORRUPT,
 * ERR_LIMIT, ERR_NOMEM, after which clear the link. */
int job_link_poll(struct job_link *l, uint64_t until_mono_ns, struct link_frame *out,
                  struct err *err);
/* Moves the last frame's payload out: the caller frees it. */
void job_link_take(struct job_link *l, uint8_t **payload, size_t *len);

/* How a call of job_link_call ended. */
enum link_end {
    LINK_END_RESULT, /* *result has it */
    LINK_END_LOST,   /* the worker is gone, silent, or does not stop: err tells */
};

struct link_call {
    uint32_t number;
    struct slice job;
    uint64_t deadline_mono_ns;
    const struct query_source *source; /* tells when it is cancelled; may be NULL */
    uint64_t silence_ns;               /* a worker that says nothing for so long is gone */
};

/* Asks and waits. After LINK_END_RESULT the payload is the last frame's (job_link_take). *leaving:
 * the worker takes no further job on this link. */
enum link_end job_link_call(struct job_link *l, const struct link_call *call, bool *leaving,
                            struct err *err);

#endif
