/* rubato query: asking a server, or a store with no server at all. This file takes the arguments,
 * writes the request and prints the answer, or what is wrong with the question. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "rubato/http_tool.h"
#include "rubato/query_asker.h"
#include "rubato/query_show.h"
#include "rubato/query_time.h"
#include "rubato/tools.h"

#define LIMIT_TARGET_BYTES ((size_t)4 << 20)
#define LIMIT_QUERY_ANSWER_BYTES ((size_t)512 << 20)
#define LIMIT_QUERY_OUT_BYTES ((size_t)1 << 30)
#define LIMIT_QUERY_ARENA_BYTES ((size_t)1 << 30)
#define DEFAULT_WIDTH 80
#define CHART_HEIGHT 16

struct command;

struct query_tool {
    const struct command *command;
    struct query_asker_opts asker;
    const char *since, *start, *end, *limit, *spss, *step, *scope;
    bool json, explain, help;
    char **rest; /* behind the command */
    int rest_count;
    struct query_range range;
    struct buf target; /* path and query of the request */
    struct buf answer, out;
    struct arena *arena;
};

struct command {
    const char *name;
    int rest_least, rest_most;
    const char *options; /* letters of those that not all take */
    int (*write)(struct query_tool *t);
    query_show_fn *show;
    bool query_first; /* the first argument is TraceQL, else the second */
    const char *help;
};

/* ---- requests ---- */

static int param(struct query_tool *t, const char *name, const char *value)
{
    return value ? tool_url_param(&t->target, name, slice_cstr(value)) : 0;
}

/* Whole seconds that hold the range. */
static int range_in_seconds(struct query_tool *t)
{
    const int64_t s = (int64_t)NS_PER_S;
    if (!t->range.given)
        return 0;
    int rc = buf_printf(&t->target, "%sstart=%lld",
                        memchr(t->target.ptr, '?', t->target.len) ? "&" : "?",
                        (long long)(t->range.start_ns / s));
    return rc < 0 ? rc
                  : buf_printf(&t->target, "&end=%lld",
                               (long long)(t->range.end_ns / s + (t->range.end_ns % s > 0)));
}

/* More than ten digits are nanoseconds; every time after 1970's first ten seconds has them. */
static int range_in_ns(struct query_tool *t)
{
    if (!t->range.given)
        return 0;
    return buf_printf(&t->target, "&start=%011lld&end=%011lld", (long long)t->range.start_ns,
                      (long long)t->range.end_ns);
}

static int path_segment(struct query_tool *t, const char *before, const char *text,
                        const char *after)
{
    int rc = buf_str(&t->target, before);
    rc = rc < 0 ? rc : tool_url_escape(&t->target, slice_cstr(text));
    return rc < 0 ? rc : buf_str(&t->target, after);
}

static int write_search(struct query_tool *t)
{
    int rc = buf_str(&t->target, "/api/search");
    rc = rc < 0 ? rc : param(t, "q", t->rest[0]);
    rc = rc < 0 ? rc : param(t, "limit", t->limit);
    rc = rc < 0 ? rc : param(t, "spss", t->spss);
    return rc < 0 ? rc : range_in_seconds(t);
}

static int write_range(struct query_tool *t)
{
    int rc = buf_str(&t->target, "/api/metrics/query_range");
    rc = rc < 0 ? rc : param(t, "q", t->rest[0]);
    rc = rc < 0 ? rc : param(t, "step", t->step);
    return rc < 0 ? rc : range_in_ns(t);
}

static int write_instant(struct query_tool *t)
{
    int rc = buf_str(&t->target, "/api/metrics/query");
    rc = rc < 0 ? rc : param(t, "q", t->rest[0]);
    return rc < 0 ? rc : range_in_ns(t);
}

static int write_tags(struct query_tool *t)
{
    int rc = buf_str(&t->target, "/api/v2/search/tags");
    rc = rc < 0 ? rc : param(t, "scope", t->scope);
    rc = rc < 0 ? rc : param(t, "q", t->rest_count > 0 ? t->rest[0] : NULL);
    rc = rc < 0 ? rc : param(t, "limit", t->limit);
    return rc < 0 ? rc : range_in_seconds(t);
}

static int write_values(struct query_tool *t)
{
    int rc = path_segment(t, "/api/v2/search/tag/", t->rest[0], "/values");
    rc = rc < 0 ? rc : param(t, "q", t->rest_count > 1 ? t->rest[1] : NULL);
    rc = rc < 0 ? rc : param(t, "limit", t->limit);
    return rc < 0 ? rc : range_in_seconds(t);
}

static int write_trace(struct query_tool *t)
{
    int rc = path_segment(t, "/api/v2/traces/", t->rest[0], "");
    return rc < 0 ? rc : range_in_seconds(t);
}

/* ---- commands ---- */

static const struct command commands[] = {
    {"search", 1, 1, "lpx", write_search, query_show_search, true,
     "usage: rubato query search [OPTION]… QUERY\n"
     "\n"
     "Finds traces: id, root, start, duration and how many spans match.\n"
     "\n"
     "  --limit N      at most N traces (20)\n"
     "  --spss N       spans of each spanset in --json (3)\n"
     "  --explain      what the query read and skipped\n"
     "\n"
     "  rubato query search '{ status = error }'\n"
     "  rubato query search --since 1h --limit 50 '{ duration > 2s } | count() > 3'\n"
     "  rubato query search --store s3://traces --since 1d '{ .http.status_code >= 500 }'\n"},
    {"range", 1, 1, "Sx", write_range, query_show_range, true,
     "usage: rubato query range [OPTION]… QUERY\n"
     "\n"
     "Counts and measures spans over time: a chart, and a table of the series.\n"
     "Without a range: the last hour.\n"
     "\n"
     "  --step D       time between two points, 30s (by the range)\n"
     "  --explain      what the query read and skipped\n"
     "\n"
     "  rubato query range --since 6h '{ status = error } | rate() by (resource.service.name)'\n"
     "  rubato query range --step 1m '{} | quantile_over_time(duration, .5, .99)'\n"},
    {"instant", 1, 1, "x", write_instant, query_show_instant, true,
     "usage: rubato query instant [OPTION]… QUERY\n"
     "\n"
     "Counts and measures spans in the whole range: one value a series.\n"
     "Without a range: the last hour.\n"
     "\n"
     "  --explain      what the query read and skipped\n"
     "\n"
     "  rubato query instant --since 1d '{} | count_over_time() by (name) | topk(10)'\n"},
    {"tags", 0, 1, "lc", write_tags, query_show_tags, true,
     "usage: rubato query tags [OPTION]… [QUERY]\n"
     "\n"
     "Lists names of attributes, as TraceQL writes them; with QUERY those of spans that match.\n"
     "Without a range: those of recent data.\n"
     "\n"
     "  --scope S      of resource, span, event, link, instrumentation or intrinsic alone\n"
     "  --limit N      at most N of each scope\n"
     "\n"
     "  rubato query tags --scope resource\n"
     "  rubato query tags '{ resource.service.name = \"checkout\" }'\n"},
    {"values", 1, 2, "l", write_values, query_show_values, false,
     "usage: rubato query values [OPTION]… TAG [QUERY]\n"
     "\n"
     "Lists values of an attribute or intrinsic; with QUERY those of spans that match.\n"
     "Without a range: those of recent data.\n"
     "\n"
     "  --limit N      at most N\n"
     "\n"
     "  rubato query values resource.service.name\n"
     "  rubato query values name '{ status = error }'\n"},
    {"trace", 1, 1, "", write_trace, query_show_trace, true,
     "usage: rubato query trace [OPTION]… ID\n"
     "\n"
     "Shows a trace as a tree of spans: service, kind, start, duration, status.\n"
     "\n"
     "  rubato query trace 5b8efff798038103d269b633813fc60c\n"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char common_help[] =
    "\n"
    "Whom to ask:\n"
    "  --addr URL     a server (http://localhost:3200)\n"
    "  --store STORE  no server: a directory, file:///path or s3://bucket/prefix, which is only "
    "read\n"
    "  --tenant T     whose data (with --addr: none is named; with --store: single-tenant)\n"
    "  --endpoint URL, --region R, --access-key K, --secret-key K\n"
    "                 of the S3 store (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,\n"
    "                 AWS_SECRET_ACCESS_KEY, and what else AWS' tools look for)\n"
    "\n"
    "Which time:\n"
    "  --since D      back from the end: 30m, 6h, 2d\n"
    "  --start T, --end T\n"
    "                 RFC 3339, unix seconds, now or now-1h; the end is now, the start an hour\n"
    "                 before, when one is left out\n"
    "\n"
    "  --json         the API's answer as it is\n"
    "\n"
    "Exit status: 0 answered, 1 not answered (refused, failed, no such trace), 2 usage.\n";

static int usage(const struct command *c, FILE *to)
{
    if (c)
        fputs(c->help, to);
    else
        fputs("usage: rubato query [OPTION]… COMMAND …\n"
              "\n"
              "  search QUERY         traces\n"
              "  range QUERY          numbers over time, as a chart\n"
              "  instant QUERY        numbers\n"
              "  tags [QUERY]         names of attributes\n"
              "  values TAG [QUERY]   values of one\n"
              "  trace ID             a trace as a tree\n"
              "\n"
              "rubato query COMMAND --help tells more.\n",
              to);
    fputs(common_help, to);
    return to == stdout ? 0 : 2;
}

static int bad_usage(const struct query_tool *t, const char *text)
{
    const char *command = t->command ? t->command->name : "";
    fprintf(stderr, "rubato query%s%s: %s\nrubato query%s%s --help tells more.\n",
            *command ? " " : "", command, text, *command ? " " : "", command);
    return 2;
}

/* ---- arguments ---- */

static bool take_option(struct query_tool *t, int letter, const char *value)
{
    switch (letter) {
    case 'h':
        return t->help = true;
    case 'j':
        return t->json = true;
    case 'x':
        return t->explain = true;
    default:
        break;
    }
    const char **texts[128] = {['A'] = &t->asker.addr,
                               ['D'] = &t->asker.store,
                               ['T'] = &t->asker.tenant,
                               ['e'] = &t->asker.store_opts.endpoint,
                               ['r'] = &t->asker.store_opts.region,
                               ['a'] = &t->asker.store_opts.access_key,
                               ['k'] = &t->asker.store_opts.secret_key,
                               ['B'] = &t->since,
                               ['F'] = &t->start,
                               ['E'] = &t->end,
                               ['l'] = &t->limit,
                               ['p'] = &t->spss,
                               ['S'] = &t->step,
                               ['c'] = &t->scope};
    if (letter < 0 || letter > 127 || !texts[letter])
        return false;
    *texts[letter] = value;
    return true;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* Of those that not all commands take. */
static const char *option_text(char letter)
{
    switch (letter) {
    case 'l':
        return "--limit means nothing here";
    case 'p':
        return "--spss means nothing here";
    case 'S':
        return "--step means nothing here";
    case 'c':
        return "--scope means nothing here";
    default:
        return "--explain means nothing here";
    }
}

/* What no command could make sense of. */
static int check_args(struct query_tool *t, const char *given)
{
    static const char some[] = "lpSxc"; /* letters that not all commands take */
    struct err err = {0};
    if (t->rest_count < t->command->rest_least || t->rest_count > t->command->rest_most)
        return bad_usage(t, t->rest_count < t->command->rest_least ? "an argument is missing"
                                                                   : "too many arguments");
    for (; *given; given++) {
        if (strchr(some, *given) && !strchr(t->command->options, *given))
            return bad_usage(t, option_text(*given));
    }
    if (t->asker.addr && t->asker.store)
        return bad_usage(t, "--addr and --store exclude each other");
    for (const char *p = t->asker.tenant; p && *p; p++) {
        if ((unsigned char)*p <= ' ')
            return bad_usage(t, "--tenant is no name");
    }
    if (query_range_parse(t->since, t->start, t->end, (int64_t)clock_unix_ns(&clock_system),
                          &t->range, &err) < 0)
        return bad_usage(t, err.msg);
    return 0;
}

/* 0, or the exit status; -1: it has been said all that was asked for. */
static int take_args(int argc, char **argv, struct query_tool *t)
{
    static const struct option options[] = {
        {"addr", required_argument, NULL, 'A'},
        {"store", required_argument, NULL, 'D'},
        {"tenant", required_argument, NULL, 'T'},
        {"endpoint", required_argument, NULL, 'e'},
        {"region", required_argument, NULL, 'r'},
        {"access-key", required_argument, NULL, 'a'},
        {"secret-key", required_argument, NULL, 'k'},
        {"since", required_argument, NULL, 'B'},
        {"start", required_argument, NULL, 'F'},
        {"end", required_argument, NULL, 'E'},
        {"limit", required_argument, NULL, 'l'},
        {"spss", required_argument, NULL, 'p'},
        {"step", required_argument, NULL, 'S'},
        {"scope", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"explain", no_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    char given[64] = "";
    size_t n = 0;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (!take_option(t, o, optarg)) /* getopt has said which it does not know */
            return usage(NULL, stderr);
        if (n + 1 < sizeof given)
            given[n++] = (char)o;
    }
    if (optind < argc && !(t->command = find_command(argv[optind]))) {
        fprintf(stderr, "rubato query: unknown command %s\n", argv[optind]);
        return usage(NULL, stderr);
    }
    if (t->help || !t->command)
        return usage(t->command, t->help ? stdout : stderr) == 0 ? -1 : 2;
    t->rest = argv + optind + 1;
    t->rest_count = argc - optind - 1;
    return check_args(t, given);
}

/* ---- answers ---- */

static struct query_screen find_screen(void)
{
    struct query_screen s = {.width = DEFAULT_WIDTH, .height = CHART_HEIGHT};
    const char *columns = getenv("COLUMNS"), *no_colour = getenv("NO_COLOR");
    struct winsize w;
    uint64_t n;
    bool terminal = isatty(STDOUT_FILENO) == 1;
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
        s.width = w.ws_col;
    else if (columns && parse_u64(slice_cstr(columns), &n) && n && n < 10000)
        s.width = (unsigned)n;
    s.colour = terminal && !(no_colour && *no_colour);
    return s;
}

static int show_explain(const struct query_tool *t, const cJSON *doc, struct buf *out)
{
    const cJSON *explain = cJSON_GetObjectItemCaseSensitive(doc, "explain");
    if (!t->explain)
        return 0;
    if (!explain)
        return buf_str(out, "\nno explanation came with the answer\n");
    int rc = buf_str(out, "\nexplain\n");
    return rc < 0 ? rc : query_show_tree(explain, out);
}

static int show_answer(struct query_tool *t, struct err *err)
{
    const struct query_screen screen = find_screen();
    if (t->json) {
        int rc = buf_slice(&t->out, buf_view(&t->answer));
        rc = rc < 0 ? rc : buf_u8(&t->out, '\n');
        return rc < 0 ? err_set(err, rc, "no memory for the output") : 0;
    }
    cJSON *doc = cJSON_ParseWithLength((const char *)t->answer.ptr, t->answer.len);
    if (!cJSON_IsObject(doc)) {
        cJSON_Delete(doc);
        return err_set(err, ERR_CORRUPT, "the answer is not JSON of Tempo's API");
    }
    int rc = t->command->show(doc, &screen, t->arena, &t->out, err);
    if (rc == 0 && show_explain(t, doc, &t->out) < 0)
        rc = err_set(err, ERR_LIMIT, "the explanation is too large to be shown; try --json");
    struct slice message = json_text(doc, "message");
    if (rc == 0 && message.len)
        fprintf(stderr, "rubato query %s: note: %.*s\n", t->command->name, SLICE_ARGS(message));
    cJSON_Delete(doc);
    if (rc < 0)
        buf_reset(&t->out);
    return rc;
}

/* The text of a refusal, and where in the query it points. */
static int refused(struct query_tool *t, int status, struct err *err)
{
    struct slice text = buf_view(&t->answer);
    int at = t->command->query_first ? 0 : 1;
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
        text.len--;
    char shown[400];
    text_escape(text, 350, shown, sizeof shown);
    if (status == 400 && t->rest_count > at)
        query_show_caret(slice_cstr(t->rest[at]), text, &t->out);
    if (text.len && status < 500)
        return err_set(err, ERR_INVALID, "%s", shown);
    return err_set(err, ERR_UNAVAILABLE, "answered with status %d%s%s", status,
                   text.len ? ": " : "", shown);
}

static int run(struct query_tool *t, struct err *err)
{
    struct query_asker *asker = NULL;
    int status = 0;
    int rc = t->command->write(t);
    rc = rc < 0 || !t->explain ? rc : param(t, "explain", "true");
    if (rc < 0)
        return err_set(err, rc, "the question is too long");
    rc = query_asker_new(&t->asker, &asker, err);
    if (rc == 0)
        rc = query_ask(asker, buf_view(&t->target), &status, &t->answer, err);
    query_asker_free(asker);
    if (rc < 0)
        return rc;
    return status == 200 ? show_answer(t, err) : refused(t, status, err);
}

int tool_query(int argc, char **argv)
{
    struct query_tool t = {0};
    struct err err = {0};
    int rc = take_args(argc, argv, &t);
    if (rc != 0)
        return rc < 0 ? 0 : rc;
    if (!t.asker.store && !t.asker.addr)
        t.asker.addr = "http://localhost:3200";
    t.asker.program = "rubato query";
    t.asker.progress = isatty(STDERR_FILENO) == 1;
    buf_init(&t.target, LIMIT_TARGET_BYTES);
    buf_init(&t.answer, LIMIT_QUERY_ANSWER_BYTES);
    buf_init(&t.out, LIMIT_QUERY_OUT_BYTES);
    t.arena = arena_new(LIMIT_QUERY_ARENA_BYTES);
    rc = t.arena ? run(&t, &err) : err_set(&err, ERR_NOMEM, "no memory");
    if (rc < 0)
        fprintf(stderr, "rubato query %s: %s\n", t.command->name, err.msg);
    FILE *to = rc < 0 ? stderr : stdout; /* a caret belongs to its error */
    if (t.out.len && (fwrite(t.out.ptr, 1, t.out.len, to) != t.out.len || fflush(to) != 0)) {
        fprintf(stderr, "rubato query %s: cannot write the output: %m\n", t.command->name);
        rc = ERR_IO;
    }
    arena_free(t.arena);
    buf_clear(&t.target);
    buf_clear(&t.answer);
    buf_clear(&t.out);
    return rc < 0 ? 1 : 0;
}
