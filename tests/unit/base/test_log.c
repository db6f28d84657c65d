/* Log lines as they come out of the descriptor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

struct capture {
    int read_fd;
    struct log log;
    char line[20000];
};

static void capture_start(struct capture *c, enum log_level level, enum log_format format)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    *c = (struct capture){fds[0], {fds[1], level, format, "test"}, ""};
}

/* What was written since, without the time, which is checked for its shape. */
static const char *capture_line(struct capture *c)
{
    ssize_t n = read(c->read_fd, c->line, sizeof c->line - 1);
    c->line[n > 0 ? n : 0] = 0;
    if (n <= 0)
        return c->line;
    const char *lead = c->log.format == LOG_FORMAT_JSON ? "{\"ts\":\"" : "ts=";
    assert_memory_equal(c->line, lead, strlen(lead));
    const char *ts = c->line + strlen(lead);
    const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        if (shape[i] == 'd')
            assert_true(ts[i] >= '0' && ts[i] <= '9');
        else
            assert_int_equal(ts[i], shape[i]);
    }
    return ts + sizeof shape - 1;
}

static void capture_end(struct capture *c)
{
    close(c->read_fd);
    close(c->log.fd);
}

static void logfmt_quotes_what_needs_it(void **state)
{
    (void)state;
    struct capture c;
    capture_start(&c, LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    LOG_WARN(&c.log, "range get retried", KV_STR("key", "t1/b7"), KV_U64("attempt", 2),
             KV_I64("delta", -5), KV_BOOL("last", true), KV_F64("ratio", 0.5));
    assert_string_equal(capture_line(&c),
                        " level=warn room=test msg=\"range get retried\" key=t1/b7 attempt=2 "
                        "delta=-5 last=true ratio=0.5\n");
    LOG_ERROR(&c.log, "plain", KV_STR("empty", ""), KV_STR("eq", "a=b"), KV_STR("nl", "a\nb"),
              KV_STR("q", "say \"x\""), KV_SLICE("raw", SLICE("\xff\x00z")));
    assert_string_equal(capture_line(&c),
                        " level=error room=test msg=plain empty=\"\" eq=\"a=b\" nl=\"a\\nb\" "
                        "q=\"say \\\"x\\\"\" raw=\"\\xff\\x00z\"\n");
    capture_end(&c);
}

static void json_lines_are_json(void **state)
{
    (void)state;
    struct capture c;
    capture_start(&c, LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    LOG_INFO(&c.log, "a \"msg\"", KV_U64("n", 1), KV_F64("nan", NAN), KV_F64("x", -1.5),
             KV_SLICE("raw", SLICE("\xff")));
    assert_string_equal(capture_line(&c),
                        "\",\"level\":\"info\",\"room\":\"test\",\"msg\":\"a \\\"msg\\\"\","
                        "\"n\":1,\"nan\":\"NaN\",\"x\":-1.5,\"raw\":\"\\ufffd\"}\n");
    capture_end(&c);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    struct capture c;
    capture_start(&c, LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
    LOG_INFO(&c.log, "quiet");
    LOG_DEBUG(&c.log, "quieter");
    assert_string_equal(capture_line(&c), "");
    struct log room = log_room(&c.log, "other");
    LOG_WARN(&room, "loud");
    assert_string_equal(capture_line(&c), " level=warn room=other msg=loud\n");
    LOG_WARN((const struct log *)NULL, "nobody");
    capture_end(&c);
}

static void long_values_are_cut_and_a_full_line_says_so(void **state)
{
    (void)state;
    enum log_format formats[] = {LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON};
    char big[30000];
    memset(big, 1, sizeof big); /* each byte becomes \x01 or \u0001 */
    struct slice value = slice_of(big, sizeof big);
    for (size_t i = 0; i < 2; i++) {
        struct capture c;
        capture_start(&c, LOG_LEVEL_INFO, formats[i]);
        LOG_INFO(&c.log, "big", KV_SLICE("a", value), KV_SLICE("b", value), KV_SLICE("c", value),
                 KV_STR("last", "still here"));
        const char *line = capture_line(&c);
        size_t len = strlen(line);
        assert_true(len > 4000 && len < 8192);
        assert_int_equal(line[len - 1], '\n');
        assert_non_null(strstr(line, "still here"));
        assert_non_null(strstr(line, i == 0 ? " truncated=true\n" : ",\"truncated\":true}\n"));
        assert_string_equal(capture_line(&c), "");
        capture_end(&c);
    }
}

static void limit_lets_some_through_and_counts_the_rest(void **state)
{
    (void)state;
    struct log_limit l = {0};
    uint64_t suppressed = 9;
    for (int i = 0; i < 3; i++) {
        assert_true(log_limit_allow(&l, 1000, 100, 3, &suppressed));
        assert_int_equal(suppressed, 0);
    }
    for (int i = 0; i < 5; i++)
        assert_false(log_limit_allow(&l, 1099, 100, 3, &suppressed));
    assert_true(log_limit_allow(&l, 1100, 100, 3, &suppressed));
    assert_int_equal(suppressed, 5);
    assert_true(log_limit_allow(&l, 1150, 100, 3, &suppressed));
    assert_int_equal(suppressed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_quotes_what_needs_it),
        cmocka_unit_test(json_lines_are_json),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(long_values_are_cut_and_a_full_line_says_so),
        cmocka_unit_test(limit_lets_some_through_and_counts_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
