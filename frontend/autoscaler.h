/* How many worker processes there should be: the control law alone, without processes, threads or
 * time of its own, so that a test can run half an hour of it in a moment.
 *
 * It is told every AUTOSCALER_TICK_NS what there is and answers how many to start or stop. Demand
 * is jobs queued and running. Up: by the demand of the last half minute, or of this moment when
 * jobs wait, at once and at most doubling; more when the queue is old though nothing is starting.
 * Down: by the largest demand of the last minutes, slowly, and not soon after a step up. Zero:
 * after five minutes without a job. */
#ifndef FRONTEND_AUTOSCALER_H
#define FRONTEND_AUTOSCALER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define AUTOSCALER_TICK_NS (250 * NS_PER_MS)
#define AUTOSCALER_RING 120  /* ticks of demand: 30 s */
#define AUTOSCALER_PEAKS 300 /* seconds of which the largest demand is known */

struct autoscaler_opts {
    uint32_t min, max;      /* workers */
    uint32_t slots;         /* jobs at once in each */
    uint32_t peak_s;        /* W: down by the largest demand of so long; at most AUTOSCALER_PEAKS */
    uint32_t hold_s;        /* H: no step down so soon after all were needed */
    uint32_t stable_s;      /* S: fewer must have been enough for so long */
    uint32_t down_percent;  /* p: of the workers, at least one, … */
    uint32_t down_period_s; /* P: … each so long */
};

/* For processes of this machine: they start in milliseconds. */
extern const struct autoscaler_opts autoscaler_local;
/* For machines and containers. */
extern const struct autoscaler_opts autoscaler_remote;

struct autoscaler_sample {
    uint32_t queued, running; /* jobs */
    uint32_t workers;         /* ready and starting */
    uint32_t starting;
    uint64_t oldest_ns;  /* age of the oldest queued job */
    uint64_t service_ns; /* of a job, about */
};

enum autoscaler_reason {
    AUTOSCALER_STEADY,
    AUTOSCALER_DEMAND,  /* up: more than there is room for */
    AUTOSCALER_LATENCY, /* up: jobs wait too long */
    AUTOSCALER_BOUNDS,  /* min or max */
    AUTOSCALER_QUIET,   /* down */
    AUTOSCALER_IDLE,    /* the last one, after a long time without a job */
};
const char *autoscaler_reason_name(enum autoscaler_reason r);

struct autoscaler {
    struct autoscaler_opts opts;
    uint32_t ring[AUTOSCALER_RING];
    uint32_t ring_count, ring_next;
    uint32_t peaks[AUTOSCALER_PEAKS]; /* D95, a second each */
    uint32_t peak_count, peak_next;
    uint64_t peak_ns;   /* when the latest was written */
    uint64_t up_ns;     /* the last step up; 0: none */
    uint64_t tight_ns;  /* the last time that all workers were needed; 0: never */
    uint64_t down_ns;   /* the last step down; 0: none */
    uint64_t enough_ns; /* since when fewer would do; 0: they would not */
    uint64_t busy_ns;   /* the last time there was a job; or the start */
    double demand;      /* D75 of the last tick */
    uint32_t desired;
    enum autoscaler_reason reason;
};

void autoscaler_init(struct autoscaler *a, const struct autoscaler_opts *opts, uint64_t now_ns);
/* Positive: start so many; negative: stop so many, the longest idle first. */
int autoscaler_tick(struct autoscaler *a, const struct autoscaler_sample *s, uint64_t now_ns);

#endif
