/* Metrics: a chart and a table of series, or a value each. */
#include "rubato/query_show.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "rubato/query_chart.h"
#include "rubato/query_table.h"

/* Points of a series that are told apart; a range of more is drawn in so many parts. */
#define LIMIT_POINTS 20000
#define LIMIT_NAME_BYTES ((size_t)1 << 16)

/* Everything on one grid of time. */
struct grid {
    int64_t first_ms, last_ms, step_ms;
    uint32_t points;
};

struct series {
    struct slice name;
    double *values; /* per point of the grid; NaN: none */
    double least, most, sum, last;
    uint32_t count;
    bool drawn;
};

/* ---- reading ---- */

static double sample_value(const cJSON *sample)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(sample, "value");
    double d;
    if (!v)
        return 0;
    if (cJSON_IsString(v))
        return parse_f64(slice_cstr(v->valuestring), &d) ? d : NAN;
    return cJSON_IsNumber(v) ? v->valuedouble : NAN;
}

/* Milliseconds that leave room to compute with. */
static int64_t sample_ms(const cJSON *sample)
{
    uint64_t ms = json_count(sample, "timestampMs");
    return ms < INT64_MAX / 4 ? (int64_t)ms : 0;
}

static const cJSON *samples_of(const cJSON *series)
{
    return cJSON_GetObjectItemCaseSensitive(series, "samples");
}

static void find_grid(const cJSON *all, struct grid *g)
{
    const cJSON *s, *sample;
    *g = (struct grid){.first_ms = INT64_MAX, .step_ms = INT64_MAX};
    cJSON_ArrayForEach(s, all)
    {
        int64_t before = INT64_MAX;
        cJSON_ArrayForEach(sample, samples_of(s))
        {
            int64_t ms = sample_ms(sample);
            if (ms > before && ms - before < g->step_ms)
                g->step_ms = ms - before;
            g->first_ms = ms < g->first_ms ? ms : g->first_ms;
            g->last_ms = ms > g->last_ms ? ms : g->last_ms;
            before = ms;
        }
    }
    if (g->first_ms > g->last_ms)
        return; /* no points */
    int64_t range = g->last_ms - g->first_ms;
    if (g->step_ms > range)
        g->step_ms = range ? range : 1;
    if (range / g->step_ms >= LIMIT_POINTS)
        g->step_ms = range / LIMIT_POINTS + 1;
    g->points = (uint32_t)(range / g->step_ms) + 1;
}

/* {span.a="x", p=0.9}, or the function's name where there are no labels. */
static int series_name(const cJSON *series, struct arena *a, struct slice *out)
{
    const cJSON *labels = cJSON_GetObjectItemCaseSensitive(series, "labels"), *l;
    const cJSON *first = labels ? labels->child : NULL;
    const char *sep = "";
    struct buf b;
    buf_init(&b, LIMIT_NAME_BYTES);
    int rc = 0;
    if (first && !first->next && slice_eq(json_text(first, "key"), SLICE("__name__"))) {
        rc = json_any_value(cJSON_GetObjectItemCaseSensitive(first, "value"), false, &b);
    } else {
        rc = buf_str(&b, "{");
        cJSON_ArrayForEach(l, labels)
        {
            struct slice key = json_text(l, "key");
            rc = rc < 0 ? rc : buf_printf(&b, "%s%.*s=", sep, SLICE_ARGS(key));
            rc = rc < 0 ? rc
                        : json_any_value(cJSON_GetObjectItemCaseSensitive(l, "value"), true, &b);
            sep = ", ";
        }
        rc = rc < 0 ? rc : buf_str(&b, "}");
    }
    if (rc == 0 && !arena_slice(a, buf_view(&b), out))
        rc = ERR_LIMIT;
    buf_clear(&b);
    return rc;
}

static int read_series(const cJSON *json, const struct grid *g, struct arena *a, struct series *out)
{
    const cJSON *sample;
    *out = (struct series){.least = INFINITY, .most = -INFINITY};
    out->values = arena_array(a, double, g->points);
    if (!out->values || series_name(json, a, &out->name) < 0)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < g->points; i++)
        out->values[i] = NAN;
    cJSON_ArrayForEach(sample, samples_of(json))
    {
        double v = sample_value(sample);
        out->values[(sample_ms(sample) - g->first_ms) / g->step_ms] = v;
        if (isnan(v))
            continue;
        out->least = fmin(out->least, v);
        out->most = fmax(out->most, v);
        out->sum += v;
        out->last = v;
        out->count++;
    }
    return 0;
}

/* ---- showing ---- */

static int larger_first(const void *a, const void *b)
{
    const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;
    double p = x->count ? x->sum / x->count : -INFINITY;
    double q = y->count ? y->sum / y->count : -INFINITY;
    return p != q ? (p < q) - (p > q) : (x > y) - (x < y);
}

/* The series that are drawn, in the order of the answer: all, or the largest ones. */
static uint32_t choose(struct series *all, uint32_t count, const double **values,
                       struct series **order)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        order[i] = &all[i];
    if (count > CHART_SERIES_MAX)
        qsort(order, count, sizeof *order, larger_first);
    for (uint32_t i = 0; i < count && i < CHART_SERIES_MAX; i++)
        order[i]->drawn = true;
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].drawn)
            values[n++] = all[i].values;
    }
    return n;
}

static void number_cell(struct table *t, double v, bool there)
{
    char text[24];
    chart_number(v, text);
    table_cell(t, there ? slice_cstr(text) : SLICE("-"));
}

/* The legend is in the table: mark or colour of a series that is drawn. */
static int print_table(const struct series *all, uint32_t count, const struct query_screen *screen,
                       struct arena *a, struct buf *out)
{
    static const char *const heads[] = {"", "SERIES", "MIN", "AVG", "MAX", "LAST"};
    struct table t;
    uint32_t drawn = 0;
    table_init(&t, a, heads, 6, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5);
    for (uint32_t i = 0; i < count; i++) {
        const struct series *s = &all[i];
        const char mark = s->drawn ? chart_mark(drawn) : ' ';
        table_cell(&t, s->drawn && screen->colour ? SLICE("●") : slice_of(&mark, 1));
        table_cell(&t, s->name);
        number_cell(&t, s->least, s->count > 0);
        number_cell(&t, s->count ? s->sum / s->count : 0, s->count > 0);
        number_cell(&t, s->most, s->count > 0);
        number_cell(&t, s->last, s->count > 0);
        if (s->drawn)
            table_tone(&t, chart_tone(drawn++));
    }
    int rc = table_print(&t, screen->colour, out);
    table_clear(&t);
    if (rc == 0 && drawn < count)
        rc = buf_printf(out, "%u series, the %u largest are drawn\n", count, drawn);
    return rc;
}

int query_show_range(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                     struct buf *out, struct err *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(answer, "series"), *json;
    uint32_t count = 0;
    struct grid g;
    const double *values[CHART_SERIES_MAX];
    int n = cJSON_GetArraySize(list);
    find_grid(list, &g);
    if (n == 0)
        return buf_str(out, "no series\n");
    struct series *all = arena_array(a, struct series, (size_t)n);
    struct series **order = arena_alloc_array(a, (size_t)n, sizeof *order);
    int rc = all && order ? 0 : ERR_LIMIT;
    cJSON_ArrayForEach(json, list)
    {
        rc = rc < 0 ? rc : read_series(json, &g, a, &all[count]);
        count += rc == 0;
    }
    if (rc == 0) {
        const struct chart chart = {.series = values,
                                    .count = choose(all, count, values, order),
                                    .points = g.points,
                                    .start_ms = g.first_ms,
                                    .step_ms = g.step_ms,
                                    .width = screen->width,
                                    .height = screen->height,
                                    .colour = screen->colour};
        rc = chart_print(&chart, a, out);
        rc = rc < 0 ? rc : print_table(all, count, screen, a, out);
    }
    return rc < 0 ? err_set(err, rc, "the answer is too large to be shown; try --json") : 0;
}

int query_show_instant(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                       struct buf *out, struct err *err)
{
    static const char *const heads[] = {"SERIES", "VALUE"};
    const cJSON *s;
    struct table t;
    int rc = 0;
    table_init(&t, a, heads, 2, 1 << 1);
    cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(answer, "series"))
    {
        struct slice name = SLICE("");
        char text[40];
        rc = rc < 0 ? rc : series_name(s, a, &name);
        format_f64_json(sample_value(s), text);
        table_cell(&t, name);
        table_cell(&t, slice_cstr(text));
    }
    if (rc == 0)
        rc = table_rows(&t) ? table_print(&t, screen->colour, out) : buf_str(out, "no series\n");
    table_clear(&t);
    return rc < 0 ? err_set(err, rc, "the answer is too large to be shown; try --json") : 0;
}
