/* The configuration engine on a small table of its own: types, lines, notes, flags, ${VAR}. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/config.h"
#include "base/random.h"

struct column {
    struct slice scope, name;
};

struct target {
    struct slice backend, bucket, secret, file;
    bool enabled, verify, grpc_present, http_present, zipkin_present;
    int64_t count, wait_ns;
    uint16_t port;
    uint64_t bytes;
    double ratio;
    struct slice grpc_endpoint;
    struct config_strings names;
    struct config_items columns;
};

static const struct config_key column_keys[] = {
    {.path = "scope",
     .type = CONFIG_STRING,
     .offset = offsetof(struct column, scope),
     .choices = "span|resource",
     .preset = "span"},
    {.path = "name", .type = CONFIG_STRING, .offset = offsetof(struct column, name)},
};
static const struct config_table column_table = {
    .keys = column_keys, .count = 2, .item_size = sizeof(struct column)};

static const struct config_key ring_keys[] = {
    {.path = "kvstore.store", .type = CONFIG_ANY, .mark = CONFIG_IGNORE, .preset = "memberlist"},
    {.path = "heartbeat_period", .type = CONFIG_ANY, .mark = CONFIG_IGNORE, .preset = "5s"},
};
static const struct config_table ring_table = {.keys = ring_keys, .count = 2};

#define AT(field) offsetof(struct target, field)
static const struct config_key keys[] = {
    {.flag = "config.file", .type = CONFIG_STRING, .offset = AT(file), .help = "The file."},
    {.flag = "config.verify", .type = CONFIG_BOOL, .offset = AT(verify), .help = "Check only."},
    {.flag = "memberlist.*", .type = CONFIG_ANY, .mark = CONFIG_IGNORE},
    {.flag = "danger", .type = CONFIG_BOOL, .mark = CONFIG_REJECT, .help = "not here"},
    {.path = "enabled",
     .type = CONFIG_BOOL,
     .offset = AT(enabled),
     .help = "On or off.",
     .flag = "enabled"},
    {.path = "on", .type = CONFIG_BOOL, .offset = AT(enabled), .instead = "enabled"},
    {.path = "server.port",
     .type = CONFIG_PORT,
     .offset = AT(port),
     .preset = "3200",
     .help = "The port.",
     .flag = "server.port"},
    {.path = "server.count", .type = CONFIG_INT, .offset = AT(count), .preset = "-3"},
    {.path = "server.bytes", .type = CONFIG_BYTES, .offset = AT(bytes), .preset = "16MiB"},
    {.path = "server.wait", .type = CONFIG_DURATION, .offset = AT(wait_ns), .preset = "30s"},
    {.path = "server.ratio", .type = CONFIG_FLOAT, .offset = AT(ratio), .preset = "0.01"},
    {.path = "server.workers", .type = CONFIG_ANY, .mark = CONFIG_IGNORE, .preset = "0"},
    {.path = "server.ring", .type = CONFIG_TABLE, .mark = CONFIG_IGNORE, .table = &ring_table},
    {.path = "receivers.grpc", .type = CONFIG_PRESENT, .offset = AT(grpc_present)},
    {.path = "receivers.grpc.endpoint",
     .type = CONFIG_STRING,
     .offset = AT(grpc_endpoint),
     .preset = "localhost:4317"},
    {.path = "receivers.http", .type = CONFIG_PRESENT, .offset = AT(http_present)},
    {.path = "receivers.zipkin",
     .type = CONFIG_PRESENT,
     .mark = CONFIG_IGNORE,
     .help = "this receiver is not served yet"},
    {.path = "storage.trace.backend",
     .type = CONFIG_STRING,
     .offset = AT(backend),
     .preset = "local",
     .choices = "local|s3",
     .help = "Where.",
     .flag = "storage.trace.backend"},
    {.path = "storage.trace.s3.bucket",
     .type = CONFIG_STRING,
     .offset = AT(bucket),
     .flag = "storage.trace.s3.bucket"},
    {.path = "storage.trace.s3.secret_key",
     .type = CONFIG_STRING,
     .offset = AT(secret),
     .flags = CONFIG_SECRET,
     .flag = "storage.trace.s3.secret_key"},
    {.path = "storage.trace.s3.signature_v2",
     .type = CONFIG_ANY,
     .mark = CONFIG_REJECT,
     .preset = "false",
     .help = "requests are signed with version 4"},
    {.path = "storage.trace.names", .type = CONFIG_STRINGS, .offset = AT(names)},
    {.path = "storage.trace.columns",
     .type = CONFIG_ITEMS,
     .offset = AT(columns),
     .table = &column_table},
};
static const struct config_table table = {.keys = keys, .count = sizeof keys / sizeof keys[0]};

struct fixture {
    struct target t;
    struct config *c;
    struct err err;
};

static struct fixture *start(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(config_new(&table, &f->t, &f->c, NULL), 0);
    return f;
}

static void end(struct fixture *f)
{
    config_free(f->c);
    free(f);
}

static int read_text(struct fixture *f, const char *text)
{
    return config_read_yaml(f->c, "tempo.yaml", slice_cstr(text), NULL, NULL, &f->err);
}

static void assert_note(struct fixture *f, size_t i, bool fault, const char *text)
{
    assert_true(i < config_note_count(f->c));
    assert_string_equal(config_note_at(f->c, i).text, text);
    assert_int_equal(config_note_at(f->c, i).fault, fault);
}

static void assert_slice(struct slice s, const char *want)
{
    assert_int_equal(s.len, strlen(want));
    assert_string_equal((const char *)s.ptr, want);
}

static void fields_start_with_their_defaults(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_slice(f->t.backend, "local");
    assert_slice(f->t.bucket, "");
    assert_int_equal(f->t.port, 3200);
    assert_int_equal(f->t.count, -3);
    assert_true(f->t.bytes == 16 << 20);
    assert_true(f->t.wait_ns == INT64_C(30000000000));
    assert_true(f->t.ratio == 0.01);
    assert_false(f->t.enabled);
    assert_int_equal(read_text(f, ""), 0);
    assert_int_equal(read_text(f, "# nothing\n"), 0);
    assert_int_equal(read_text(f, "server:\nstorage:\n  trace:\n"), 0);
    assert_int_equal(config_note_count(f->c), 0);
    assert_int_equal(f->t.port, 3200);
    assert_false(config_is_set(f->c, "server.port"));
    end(f);
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "enabled: yes\n"
                                  "server: {port: 80, count: -1_000, bytes: 5_000, wait: 1h30m}\n"
                                  "storage:\n"
                                  "  trace:\n"
                                  "    backend: s3\n"
                                  "    s3: {bucket: 123, secret_key: 'x y'}\n"
                                  "    names: [a, \"b\", 3]\n"
                                  "    columns:\n"
                                  "      - name: http.url\n"
                                  "      - {scope: resource, name: k8s}\n"),
                     0);
    assert_int_equal(config_note_count(f->c), 0);
    assert_true(f->t.enabled);
    assert_int_equal(f->t.port, 80);
    assert_int_equal(f->t.count, -1000);
    assert_true(f->t.bytes == 5000);
    assert_true(f->t.wait_ns == INT64_C(5400000000000));
    assert_slice(f->t.backend, "s3");
    assert_slice(f->t.bucket, "123");
    assert_slice(f->t.secret, "x y");
    assert_int_equal(f->t.names.count, 3);
    assert_slice(f->t.names.at[2], "3");
    assert_int_equal(f->t.columns.count, 2);
    const struct column *columns = f->t.columns.at;
    assert_slice(columns[0].scope, "span");
    assert_slice(columns[0].name, "http.url");
    assert_slice(columns[1].scope, "resource");
    assert_true(config_is_set(f->c, "server.port"));
    assert_false(config_is_set(f->c, "server.ratio"));
    end(f);
}

static void sizes_are_read_with_their_units(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t want;
    } good[] = {
        {"0", 0},           {"1048576", 1048576},  {"16MiB", 16 << 20},        {"16 MiB", 16 << 20},
        {"8Mi", 8 << 20},   {"4Ki", 4096},         {"2Gi", UINT64_C(2) << 30}, {"3kB", 3000},
        {"5e+06", 5000000}, {"1_000_000", 1000000}};
    const char *bad[] = {"-1",
                         "1.5",
                         "16 MiBB",
                         "x",
                         "_1",
                         "1_",
                         "99999999999999999999",
                         "18446744073709551615Ki",
                         "1e300",
                         "nan",
                         "0x10"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct fixture *f = start();
        char text[100];
        snprintf(text, sizeof text, "server: {bytes: %s}", good[i].text);
        if (read_text(f, text) != 0 || f->t.bytes != good[i].want)
            fail_msg("%s", good[i].text);
        end(f);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fixture *f = start();
        char text[100];
        snprintf(text, sizeof text, "server: {bytes: %s}", bad[i]);
        if (read_text(f, text) != ERR_INVALID || f->t.bytes != 16 << 20)
            fail_msg("%s was taken", bad[i]);
        end(f);
    }
}

static void all_faults_of_a_file_are_told_at_once_with_their_lines(void **state)
{
    (void)state;
    struct fixture *f = start();
    int rc = read_text(f, "enabled: maybe\n"
                          "server:\n"
                          "  port: 70000\n"
                          "  count: many\n"
                          "  wait: 5\n"
                          "  ratio: [1]\n"
                          "  bytes: {a: b}\n"
                          "storage:\n"
                          "  trace:\n"
                          "    backend: gcs\n"
                          "    names: one\n"
                          "    columns:\n"
                          "      - scope: event\n"
                          "    s3:\n"
                          "      secret_key: [hidden]\n"
                          "receivers: yes\n");
    assert_int_equal(rc, ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:1: enabled: expected true or false, found "
                                    "\"maybe\" (and 10 more)");
    const char *want[] = {
        "tempo.yaml:1: enabled: expected true or false, found \"maybe\"",
        "tempo.yaml:3: server.port: expected a port from 0 to 65535, found \"70000\"",
        "tempo.yaml:4: server.count: expected an integer, found \"many\"",
        "tempo.yaml:5: server.wait: expected a duration such as 10s or 1h30m, found \"5\"",
        "tempo.yaml:6: server.ratio: expected a number, found a list",
        "tempo.yaml:7: server.bytes: expected a size such as 1048576 or 16MiB, found a map",
        "tempo.yaml:10: storage.trace.backend: expected one of local, s3, found \"gcs\"",
        "tempo.yaml:11: storage.trace.names: expected a list of strings, found \"one\"",
        "tempo.yaml:13: storage.trace.columns.scope: expected one of span, resource, found "
        "\"event\"",
        "tempo.yaml:15: storage.trace.s3.secret_key: expected a string, found a list",
        "tempo.yaml:16: receivers: expected a map, found \"yes\"",
    };
    assert_int_equal(config_note_count(f->c), sizeof want / sizeof want[0]);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_note(f, i, true, want[i]);
    end(f);
}

static void unknown_keys_are_warnings_with_a_suggestion(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "enabeld: true\n"
                                  "storage:\n"
                                  "  trace:\n"
                                  "    s3:\n"
                                  "      bukcet: x\n"
                                  "    zzz: 1\n"
                                  "server.port: 80\n"
                                  "sever: {port: 1}\n"
                                  "server: {ring: {hartbeat_period: 1s}}\n"),
                     0);
    const char *want[] = {
        "tempo.yaml:1: unknown key \"enabeld\"; did you mean \"enabled\"?",
        "tempo.yaml:5: unknown key \"storage.trace.s3.bukcet\"; did you mean \"bucket\"?",
        "tempo.yaml:6: unknown key \"storage.trace.zzz\"",
        "tempo.yaml:7: unknown key \"server.port\"",
        "tempo.yaml:8: unknown key \"sever\"; did you mean \"server\"?",
        "tempo.yaml:9: unknown key \"server.ring.hartbeat_period\"; did you mean "
        "\"heartbeat_period\"?",
    };
    assert_int_equal(config_note_count(f->c), sizeof want / sizeof want[0]);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_note(f, i, false, want[i]);
    assert_int_equal(f->t.port, 3200);
    end(f);
}

static void ignored_keys_warn_only_when_they_differ_from_the_default(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "server:\n"
                                  "  workers: 0\n"
                                  "  ring:\n"
                                  "    heartbeat_period: 5000ms\n"
                                  "    kvstore: {store: memberlist}\n"),
                     0);
    assert_int_equal(config_note_count(f->c), 0);
    assert_int_equal(read_text(f, "server:\n"
                                  "  workers: 4\n"
                                  "  ring:\n"
                                  "    heartbeat_period: 6s\n"
                                  "    kvstore: {store: consul}\n"),
                     0);
    assert_int_equal(config_note_count(f->c), 3);
    assert_note(f, 0, false, "tempo.yaml:2: \"server.workers\" has no effect here and is ignored");
    assert_note(f, 1, false,
                "tempo.yaml:4: \"server.ring.heartbeat_period\" has no effect here and is ignored");
    assert_note(f, 2, false,
                "tempo.yaml:5: \"server.ring.kvstore.store\" has no effect here and is ignored");
    end(f);
}

static void a_rejected_key_is_a_fault_unless_it_says_the_default(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "storage: {trace: {s3: {signature_v2: false}}}"), 0);
    assert_int_equal(config_note_count(f->c), 0);
    assert_int_equal(read_text(f, "storage: {trace: {s3: {signature_v2: true}}}"), ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:1: \"storage.trace.s3.signature_v2\" cannot be "
                                    "honoured here: requests are signed with version 4");
    end(f);
}

static void a_present_key_counts_with_and_without_a_body(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "receivers:\n  grpc:\n"), 0);
    assert_true(f->t.grpc_present);
    assert_false(f->t.http_present);
    assert_slice(f->t.grpc_endpoint, "localhost:4317");
    assert_int_equal(read_text(f, "receivers: {grpc: {endpoint: \"0.0.0.0:1\"}, http: {}}"), 0);
    assert_true(f->t.http_present);
    assert_slice(f->t.grpc_endpoint, "0.0.0.0:1");
    assert_int_equal(config_note_count(f->c), 0);
    assert_int_equal(read_text(f, "receivers:\n  zipkin:\n"), 0);
    assert_note(f, 0, false,
                "tempo.yaml:2: \"receivers.zipkin\" has no effect here and is "
                "ignored: this receiver is not served yet");
    assert_int_equal(read_text(f, "receivers: {grpc: 4317}"), ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:1: receivers.grpc: expected a map, found \"4317\"");
    end(f);
}

static void duplicate_keys_are_a_fault(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "enabled: true\nserver:\n  port: 1\n  wait: 1s\n  port: 2\n"),
                     ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:5: key \"port\" is set twice, first at line 3");
    end(f);
}

static void a_deprecated_name_works_warns_and_excludes_the_new_one(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "on: true\n"), 0);
    assert_true(f->t.enabled);
    assert_true(config_is_set(f->c, "enabled"));
    assert_note(f, 0, false, "tempo.yaml:1: \"on\" is deprecated: use \"enabled\"");
    end(f);
    f = start();
    assert_int_equal(read_text(f, "on: true\nenabled: false\n"), ERR_INVALID);
    assert_string_equal(f->err.msg,
                        "tempo.yaml:2: \"enabled\" and \"on\" (line 1) are one setting: keep one");
    end(f);
}

static void broken_yaml_is_told_with_its_line(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "enabled: true\nserver: [1\nfoo: }\n"), ERR_INVALID);
    assert_memory_equal(f->err.msg, "tempo.yaml:", 11);
    end(f);
    f = start();
    assert_int_equal(read_text(f, "- a\n- b\n"), ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:1: the file: expected a map, found a list");
    end(f);
    f = start();
    assert_int_equal(read_text(f, "enabled: true\n---\nenabled: false\n"), ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:3: expected one YAML document, found a second");
    end(f);
    f = start();
    assert_int_equal(read_text(f, "? {a: b}\n: c\n"), ERR_INVALID);
    assert_string_equal(f->err.msg, "tempo.yaml:1: expected a name, found a map");
    end(f);
}

static void aliases_cannot_multiply_and_depth_is_bounded(void **state)
{
    (void)state;
    struct fixture *f = start();
    char text[4096] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++) {
            n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s*a%d", j ? "," : "", i - 1);
        }
        n = strlen(text);
        snprintf(text + n, sizeof text - n, "]\n");
    }
    assert_int_equal(read_text(f, text), ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "more than 400000 values"));
    end(f);

    f = start();
    assert_int_equal(read_text(f, "a: &a [*a]\n"), ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "nested deeper than 32 levels"));
    end(f);

    f = start();
    char deep[400];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "a: ", 3);
    memset(deep + 200, ']', 197);
    deep[397] = 0;
    assert_int_equal(read_text(f, deep), ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "nested deeper than 32 levels"));
    end(f);

    f = start();
    size_t big = (4 << 20) + 1;
    char *spaces = malloc(big);
    memset(spaces, ' ', big);
    assert_int_equal(config_read_yaml(f->c, "f", slice_of(spaces, big), NULL, NULL, NULL),
                     ERR_LIMIT);
    free(spaces);
    end(f);
}

static void hostile_bytes_end_in_notes_only(void **state)
{
    (void)state;
    static const char good[] =
        "enabled: true\nserver: {port: 80, wait: 1s, ring: {kvstore: {store: x}}}\n"
        "receivers:\n  grpc:\n    endpoint: \"a:1\"\nstorage:\n  trace:\n    backend: s3\n"
        "    names: [a, b]\n    columns:\n    - {scope: span, name: &n x}\n    - {name: *n}\n";
    struct rng rng = {11};
    for (size_t n = 0; n < sizeof good; n++) {
        struct fixture *f = start();
        config_read_yaml(f->c, "f", slice_of(good, n), NULL, NULL, NULL);
        end(f);
    }
    for (int round = 0; round < 4000; round++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        for (int i = 0; i < 3; i++)
            text[rng_below(&rng, sizeof good - 1)] = (char)rng_next(&rng);
        struct fixture *f = start();
        int rc = config_read_yaml(f->c, "f", slice_of(text, sizeof good - 1), NULL, NULL, NULL);
        assert_true(rc == 0 || rc == ERR_INVALID);
        end(f);
    }
}

static void many_notes_are_bounded_and_keep_the_fault(void **state)
{
    (void)state;
    struct fixture *f = start();
    char text[20000] = "";
    size_t n = 0;
    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "unknown%d: 1\n", i);
    snprintf(text + n, sizeof text - n, "enabled: 7\n");
    assert_int_equal(read_text(f, text), ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "enabled: expected true or false, found \"7\""));
    size_t count = config_note_count(f->c);
    assert_true(count > 50 && count <= 201);
    assert_string_equal(config_note_at(f->c, count - 1).text, "further notes are not shown");
    end(f);
}

static const char *environment(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "BUCKET") == 0  ? "prod"
           : strcmp(name, "EMPTY") == 0 ? ""
           : strcmp(name, "_x1") == 0   ? "under"
                                        : NULL;
}

static void variables_are_expanded_by_tempos_rules(void **state)
{
    (void)state;
    const char *pairs[][2] = {
        {"a ${BUCKET} b", "a prod b"},
        {"${MISSING}", ""},
        {"${EMPTY}", ""},
        {"${MISSING:-d e}${EMPTY:-d}${BUCKET:-d}", "d edprod"},
        {"${MISSING:=d}${MISSING=d}${_x1}", "ddunder"},
        {"$BUCKET $ $", "$BUCKET $ $"},
        {"$${BUCKET} $$ $$$$", "${BUCKET} $ $$"},
        {"${BUCKET}${BUCKET}", "prodprod"},
        {"${MISSING:-}", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct buf b;
        buf_init(&b, 1000);
        struct err err;
        assert_int_equal(config_expand_env(slice_cstr(pairs[i][0]), environment, NULL, &b, &err),
                         0);
        assert_int_equal(buf_u8(&b, 0), 0);
        assert_string_equal((const char *)b.ptr, pairs[i][1]);
        buf_clear(&b);
    }
}

static void forms_that_are_not_known_are_refused_with_their_line(void **state)
{
    (void)state;
    const char *bad[] = {"${#V}", "${V^^}", "${V/a/b}",   "${V:1:2}", "${V-d}",
                         "${}",   "${1V}",  "${V:-${W}}", "${ V}",    "${V"};
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err;
        char text[100];
        snprintf(text, sizeof text, "a: b\nc: %s\n", bad[i]);
        assert_int_equal(config_expand_env(slice_cstr(text), environment, NULL, &b, &err),
                         ERR_INVALID);
        assert_memory_equal(err.msg, "line 2: ", 8);
    }
    buf_clear(&b);
    struct fixture *f = start();
    assert_int_equal(
        config_read_yaml(f->c, "t.yaml", SLICE("\na: ${V^^}"), environment, NULL, &f->err),
        ERR_INVALID);
    assert_memory_equal(f->err.msg, "t.yaml: line 2: cannot expand \"${V^^}\"", 38);
    end(f);
}

static void expansion_is_bounded(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    struct err err;
    assert_int_equal(
        config_expand_env(SLICE("${BUCKET}${BUCKET}${BUCKET}"), environment, NULL, &b, &err),
        ERR_LIMIT);
    buf_clear(&b);
}

static void a_file_is_read_with_expansion(void **state)
{
    (void)state;
    char path[] = "/tmp/rubato-test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char text[] = "storage: {trace: {s3: {bucket: \"${BUCKET}\"}}}\nserver: {port: x}\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    struct fixture *f = start();
    assert_int_equal(config_read_file(f->c, path, environment, NULL, &f->err), ERR_INVALID);
    assert_slice(f->t.bucket, "prod");
    assert_memory_equal(f->err.msg, path + 5, strlen(path + 5));
    assert_int_equal(config_read_file(f->c, path, NULL, NULL, NULL), ERR_INVALID);
    assert_slice(f->t.bucket, "${BUCKET}");
    unlink(path);
    assert_int_equal(config_read_file(f->c, path, NULL, NULL, &f->err), ERR_NOTFOUND);
    assert_non_null(strstr(f->err.msg, path));
    assert_int_equal(config_read_file(f->c, "/", NULL, NULL, &f->err), ERR_IO);
    end(f);
}

static int parse(struct fixture *f, const char *a, const char *b)
{
    char first[200], second[200];
    snprintf(first, sizeof first, "%s", a);
    snprintf(second, sizeof second, "%s", b ? b : "");
    char name[] = "prog";
    char *argv[] = {name, first, b ? second : NULL, NULL};
    return config_parse_flags(f->c, b ? 3 : 2, argv, &f->err);
}

static void flags_take_both_forms_and_win_over_the_file(void **state)
{
    (void)state;
    struct fixture *f = start();
    char *argv[] = {(char[]){"prog"},
                    (char[]){"-server.port=81"},
                    (char[]){"--storage.trace.backend"},
                    (char[]){"s3"},
                    (char[]){"-enabled"},
                    (char[]){"-config.verify"},
                    (char[]){"false"},
                    (char[]){"-storage.trace.s3.bucket="},
                    NULL};
    assert_int_equal(config_parse_flags(f->c, 8, argv, &f->err), 0);
    assert_int_equal(f->t.port, 81);
    assert_slice(f->t.backend, "s3");
    assert_true(f->t.enabled);
    assert_false(f->t.verify);
    assert_int_equal(read_text(f, "server: {port: 90, wait: 1s}\nenabled: false\n"), 0);
    assert_int_equal(f->t.port, 90);
    assert_int_equal(config_apply_flags(f->c, &f->err), 0);
    assert_int_equal(f->t.port, 81);
    assert_true(f->t.enabled);
    assert_true(f->t.wait_ns == INT64_C(1000000000));
    assert_true(config_is_set(f->c, "storage.trace.backend"));
    end(f);
}

static void bad_flags_are_told(void **state)
{
    (void)state;
    const char *cases[][3] = {
        {"-nope", NULL, "flag provided but not defined: -nope"},
        {"--nope=1", NULL, "flag provided but not defined: -nope"},
        {"-", NULL, "unexpected argument \"-\""},
        {"--", NULL, "flag provided but not defined: -"},
        {"word", NULL, "unexpected argument \"word\""},
        {"-server.port", NULL, "flag needs an argument: -server.port"},
        {"-server.port", "x", "flag -server.port: expected a port from 0 to 65535, found \"x\""},
        {"-enabled=maybe", NULL, "flag -enabled: expected true or false, found \"maybe\""},
        {"-danger", NULL, "flag -danger cannot be honoured here: not here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture *f = start();
        assert_int_equal(parse(f, cases[i][0], cases[i][1]), ERR_INVALID);
        assert_string_equal(f->err.msg, cases[i][2]);
        end(f);
    }
    struct fixture *f = start();
    assert_int_equal(parse(f, "-memberlist.join", "x"), 0);
    assert_note(f, 0, false, "flag -memberlist.* has no effect here and is ignored");
    assert_int_equal(parse(f, "-danger=false", NULL), 0);
    end(f);
}

static char *text_of(struct buf *b)
{
    assert_int_equal(buf_u8(b, 0), 0);
    return (char *)b->ptr;
}

static void the_live_configuration_reads_back_and_hides_secrets(void **state)
{
    (void)state;
    struct fixture *f = start();
    assert_int_equal(read_text(f, "receivers: {grpc: }\nserver: {wait: 90s}\nstorage: {trace: {"
                                  "s3: {bucket: \"a: b\", secret_key: hush}, names: [x],"
                                  "columns: [{name: 'true'}]}}"),
                     0);
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(config_write(f->c, CONFIG_WRITE_ALL, &b), 0);
    const char *want = "enabled: false\n"
                       "server:\n"
                       "    port: 3200\n"
                       "    count: -3\n"
                       "    bytes: 16777216\n"
                       "    wait: 1m30s\n"
                       "    ratio: 0.01\n"
                       "receivers:\n"
                       "    grpc:\n"
                       "        endpoint: \"localhost:4317\"\n"
                       "storage:\n"
                       "    trace:\n"
                       "        backend: local\n"
                       "        s3:\n"
                       "            bucket: \"a: b\"\n"
                       "            secret_key: <secret>\n"
                       "        names: [x]\n"
                       "        columns: [{scope: span, name: \"true\"}]\n";
    assert_string_equal(text_of(&b), want);
    struct fixture *again = start();
    assert_int_equal(read_text(again, want), 0);
    assert_int_equal(config_note_count(again->c), 0);
    assert_true(again->t.grpc_present && !again->t.http_present);
    assert_slice(again->t.bucket, "a: b");
    end(again);

    buf_reset(&b);
    assert_int_equal(config_write(f->c, CONFIG_WRITE_DIFF, &b), 0);
    assert_string_equal(text_of(&b), "server:\n"
                                     "    wait: 1m30s\n"
                                     "receivers:\n"
                                     "    grpc:\n"
                                     "storage:\n"
                                     "    trace:\n"
                                     "        s3:\n"
                                     "            bucket: \"a: b\"\n"
                                     "            secret_key: <secret>\n"
                                     "        names: [x]\n"
                                     "        columns: [{scope: span, name: \"true\"}]\n");
    buf_reset(&b);
    assert_int_equal(config_write(f->c, CONFIG_WRITE_DEFAULTS, &b), 0);
    assert_non_null(strstr(text_of(&b), "    wait: 30s\n"));
    assert_null(strstr((char *)b.ptr, "secret>"));
    assert_null(strstr((char *)b.ptr, "receivers"));
    buf_clear(&b);
    end(f);
}

static void the_help_lists_flags_and_keys(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(config_usage(f->c, "prog", &b), 0);
    const char *text = text_of(&b);
    assert_memory_equal(text, "Usage: prog [flags]\n", 20);
    assert_non_null(strstr(text, "  -server.port port\n        The port. (default 3200)\n"));
    assert_non_null(strstr(text, "  -storage.trace.backend string\n        Where. One of local, "
                                 "s3. (default local)\n"));
    assert_non_null(strstr(text, "\n  server.wait duration\n"));
    assert_null(strstr(text, "memberlist"));
    buf_clear(&b);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_start_with_their_defaults),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(sizes_are_read_with_their_units),
        cmocka_unit_test(all_faults_of_a_file_are_told_at_once_with_their_lines),
        cmocka_unit_test(unknown_keys_are_warnings_with_a_suggestion),
        cmocka_unit_test(ignored_keys_warn_only_when_they_differ_from_the_default),
        cmocka_unit_test(a_rejected_key_is_a_fault_unless_it_says_the_default),
        cmocka_unit_test(a_present_key_counts_with_and_without_a_body),
        cmocka_unit_test(duplicate_keys_are_a_fault),
        cmocka_unit_test(a_deprecated_name_works_warns_and_excludes_the_new_one),
        cmocka_unit_test(broken_yaml_is_told_with_its_line),
        cmocka_unit_test(aliases_cannot_multiply_and_depth_is_bounded),
        cmocka_unit_test(hostile_bytes_end_in_notes_only),
        cmocka_unit_test(many_notes_are_bounded_and_keep_the_fault),
        cmocka_unit_test(variables_are_expanded_by_tempos_rules),
        cmocka_unit_test(forms_that_are_not_known_are_refused_with_their_line),
        cmocka_unit_test(expansion_is_bounded),
        cmocka_unit_test(a_file_is_read_with_expansion),
        cmocka_unit_test(flags_take_both_forms_and_win_over_the_file),
        cmocka_unit_test(bad_flags_are_told),
        cmocka_unit_test(the_live_configuration_reads_back_and_hides_secrets),
        cmocka_unit_test(the_help_lists_flags_and_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
