/* Times on the command line. */
#include "rubato/query_time.h"

#include "base/clock.h"
#include "base/text.h"

#define DEFAULT_SINCE_NS (3600 * (int64_t)NS_PER_S)

bool query_time_parse(struct slice text, int64_t now_ns, int64_t *out_ns)
{
    int64_t by = 0;
    if (!slice_starts(text, SLICE("now")))
        return parse_timestamp(text, out_ns);
    text = slice_from(text, 3);
    bool back = slice_starts(text, SLICE("-"));
    if (text.len &&
        ((!back && text.ptr[0] != '+') || !parse_prometheus_duration(slice_from(text, 1), &by)))
        return false;
    if (back ? __builtin_sub_overflow(now_ns, by, out_ns)
             : __builtin_add_overflow(now_ns, by, out_ns))
        return false;
    return *out_ns >= 0;
}

static int no_time(struct err *err, const char *option, const char *text)
{
    return err_set(err, ERR_INVALID,
                   "--%s %.100s is no time: wanted RFC 3339, unix seconds or now-1h", option, text);
}

int query_range_parse(const char *since, const char *start, const char *end, int64_t now_ns,
                      struct query_range *out, struct err *err)
{
    int64_t back = DEFAULT_SINCE_NS;
    *out = (struct query_range){.given = since || start || end, .end_ns = now_ns};
    if (!out->given)
        return 0;
    if (since && start)
        return err_set(err, ERR_INVALID, "--since and --start exclude each other");
    if (since && !parse_prometheus_duration(slice_cstr(since), &back))
        return err_set(err, ERR_INVALID, "--since %.100s is no duration: wanted 30m, 1h30m, 2d",
                       since);
    if (end && !query_time_parse(slice_cstr(end), now_ns, &out->end_ns))
        return no_time(err, "end", end);
    out->start_ns = out->end_ns > back ? out->end_ns - back : 0;
    if (start && !query_time_parse(slice_cstr(start), now_ns, &out->start_ns))
        return no_time(err, "start", start);
    if (out->start_ns >= out->end_ns)
        return err_set(err, ERR_INVALID, "the start is not before the end%s",
                       end ? "" : ", which is now");
    return 0;
}
