/* Times, steps and limits of a metrics request. They are read more freely than a search's: seconds
 * with a fraction, nanoseconds and RFC 3339 are times too, and a step may be left out. */
#include <math.h>

#include "base/text.h"
#include "frontend/metrics_priv.h"

#define NS 1000000000

static int bad(struct err *err, const char *name, struct slice text)
{
    char shown[128];
    return err_set(err, ERR_INVALID,
                   "could not parse '%s' parameter: cannot parse \"%s\" to a valid %s", name,
                   text_escape(text, 60, shown, sizeof shown),
                   slice_eq(slice_cstr(name), SLICE("since")) ? "duration" : "timestamp");
}

static int time_param(struct query *q, const char *name, int64_t fallback, int64_t *out,
                      struct err *err)
{
    struct slice text;
    *out = fallback;
    if (!query_param(q, name, &text) || parse_timestamp(text, out))
        return 0;
    return bad(err, name, text);
}

static int time_range(struct query *q, struct metrics_params *p, struct err *err)
{
    struct slice text;
    int64_t now = (int64_t)clock_unix_ns(q->frontend->opts.app->clock);
    int64_t since = INT64_C(3600) * NS;
    if (query_param(q, "since", &text) && !parse_prometheus_duration(text, &since))
        return bad(err, "since", text);
    int rc = time_param(q, "end", now, &p->end_ns, err);
    if (rc < 0)
        return rc;
    int64_t first = (p->end_ns < now ? p->end_ns : now) - since;
    return time_param(q, "start", first > 0 ? first : 0, &p->start_ns, err);
}

int64_t metrics_default_step(int64_t range_ns)
{
    static const int64_t grains[] = {INT64_C(3600) * NS, INT64_C(300) * NS, INT64_C(60) * NS,
                                     INT64_C(15) * NS,   INT64_C(5) * NS,   NS};
    const int64_t fine = 50000000;
    int64_t base = range_ns / 240;
    if (range_ns < INT64_C(60) * NS)
        return base < fine ? fine : base / fine * fine;
    for (size_t i = 0; i < sizeof grains / sizeof grains[0]; i++) {
        if (base > grains[i])
            return base / grains[i] * grains[i];
    }
    return NS;
}

static int step_param(struct query *q, struct metrics_params *p, struct err *err)
{
    struct slice text;
    double seconds;
    char shown[128];
    if (!query_param(q, "step", &text)) {
        p->step_ns = metrics_default_step(p->end_ns - p->start_ns);
        return 0;
    }
    text_escape(text, 60, shown, sizeof shown);
    if (parse_f64(text, &seconds)) {
        if (!(fabs(seconds) < 9.2e9))
            return err_set(err, ERR_INVALID,
                           "cannot parse \"%s\" to a valid duration. It overflows int64", shown);
        p->step_ns = (int64_t)(seconds * NS);
    } else if (!parse_duration(text, &p->step_ns)) {
        return err_set(err, ERR_INVALID, "cannot parse \"%s\" to a valid duration", shown);
    }
    if (p->step_ns == 0)
        return err_set(err, ERR_INVALID, "step required");
    if (p->step_ns < 0)
        return err_set(err, ERR_INVALID,
                       "zero or negative query resolution step widths are not accepted. Try a "
                       "positive integer");
    return 0;
}

/* From the times to intervals: the first one ends at or before the start. */
static int range_grid(struct metrics_params *p, int64_t intervals_max, struct err *err)
{
    int64_t step = p->step_ns, range = p->end_ns - p->start_ns;
    if (intervals_max > 0 && range / step > intervals_max) {
        char is[40], least[40];
        format_duration(step, is);
        format_duration(range / intervals_max, least);
        return err_set(err, ERR_INVALID,
                       "step of %s is too small, minimum step for given range is %s", is, least);
    }
    int64_t after = p->start_ns - p->start_ns % step, last = p->end_ns - p->end_ns % step;
    if (__builtin_sub_overflow(after, step, &after) ||
        (p->end_ns % step && __builtin_add_overflow(last, step, &last)))
        return err_set(err, ERR_INVALID, "step too large for the range");
    uint64_t count = ((uint64_t)last - (uint64_t)after) / (uint64_t)step;
    if (count > LIMIT_METRICS_INTERVALS)
        return err_set(err, ERR_LIMIT, "%llu intervals, at most %u are possible",
                       (unsigned long long)count, LIMIT_METRICS_INTERVALS);
    p->grid = (struct traceql_metrics_grid){
        .after_ns = after, .step_ns = step, .intervals = (uint32_t)count};
    return 0;
}

static int check_range(const struct query *q, const struct metrics_params *p, struct err *err)
{
    int64_t max = q->limits.metrics_duration_ns;
    if (p->end_ns < p->start_ns || (p->instant && p->end_ns == p->start_ns))
        return err_set(err, ERR_INVALID, "end must be greater than start");
    if (max > 0 && p->end_ns - p->start_ns > max) {
        char most[40];
        format_duration(max, most);
        return err_set(err, ERR_INVALID,
                       "metrics query time range exceeds the maximum allowed duration of %s", most);
    }
    return 0;
}

static int count_param(struct query *q, const char *name, uint32_t most, uint32_t *out)
{
    struct slice text;
    uint64_t v = 0;
    if (query_param(q, name, &text) && !parse_u64(text, &v))
        v = 0;
    *out = v == 0 || (most && v > most) ? most : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
    return 0;
}

int metrics_params(struct query *q, bool instant, struct metrics_params *p, struct err *err)
{
    const struct app_config *cfg = &q->frontend->opts.app->cfg;
    int64_t exemplars = cfg->query_frontend.metrics.max_exemplars;
    int64_t series = cfg->query_frontend.metrics.max_response_series;
    *p = (struct metrics_params){.instant = instant};
    if (!query_param(q, "q", &p->text) && !query_param(q, "query", &p->text))
        p->text = SLICE("");
    int rc = query_check_text(q, p->text, err);
    if (rc < 0)
        return rc;
    exemplars = exemplars < 0 ? 0 : exemplars > LIMIT_EXEMPLARS ? LIMIT_EXEMPLARS : exemplars;
    count_param(q, "maxSeries", series > 0 && series <= UINT32_MAX ? (uint32_t)series : 0,
                &p->series_max);
    if (!instant && exemplars)
        count_param(q, "exemplars", (uint32_t)exemplars, &p->exemplars);
    p->exemplars_max = instant ? 0 : (uint32_t)exemplars;
    rc = time_range(q, p, err);
    if (rc == 0)
        rc = check_range(q, p, err);
    if (rc < 0)
        return rc;
    if (!instant) {
        rc = step_param(q, p, err);
        return rc < 0 ? rc : range_grid(p, cfg->query_frontend.metrics.max_intervals, err);
    }
    p->step_ns = p->end_ns - p->start_ns;
    p->grid = (struct traceql_metrics_grid){
        .after_ns = p->start_ns, .step_ns = p->step_ns, .intervals = 1};
    return 0;
}
