/* meta.json and index: the two small JSON documents beside a block's data.
 *
 * Any Tempo since 2.0 may have written them: keys are matched as Go matches them (without case),
 * unknown ones are skipped, null is absent. Written is exactly what Tempo 2.7 writes, so that it
 * can go on using the bucket (docs/formats/block.md, 2 and 4). */
#include "block/block_meta_priv.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "base/text.h"

/* Largest meta.json. Tempo's have 300 to 1,000 bytes. Hit: ERR_CORRUPT. */
#define LIMIT_META_BYTES ((size_t)1 << 20)
/* Largest index: 32,767 row groups, the most that Parquet can number, take 900 KB. Hit:
 * ERR_CORRUPT.
 */
#define LIMIT_INDEX_BYTES ((size_t)2 << 20)
/* Nesting of either document; cJSON recurses. What is known nests three deep. Hit: ERR_CORRUPT. */
#define LIMIT_META_DEPTH 16
/* Entries of dedicatedColumns; vParquet5 has room for 75. Hit: ERR_CORRUPT. */
#define LIMIT_META_DEDICATED 1024

/* Largest whole number a JSON number (a double) holds exactly. */
#define JSON_INT_MAX 9007199254740992.0

static bool depth_within(struct slice json, unsigned depth_max)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        uint8_t c = json.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > depth_max)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

/* cJSON over checked bytes: an object, or a list. *out is to be deleted. */
static int parse_document(struct slice json, const char *what, size_t bytes_max, bool list,
                          cJSON **out, struct err *err)
{
    if (json.len > bytes_max)
        return err_set(err, ERR_CORRUPT, "%s has %zu bytes, at most %zu are taken", what, json.len,
                       bytes_max);
    if (!depth_within(json, LIMIT_META_DEPTH))
        return err_set(err, ERR_CORRUPT, "%s nests deeper than %d", what, LIMIT_META_DEPTH);
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts((const char *)json.ptr, json.len, &end, false);
    if (!root) {
        size_t at = end && json.ptr ? (size_t)((const uint8_t *)end - json.ptr) : 0;
        return err_set(err, ERR_CORRUPT, "%s is not JSON: byte %zu of %zu", what, at, json.len);
    }
    for (; (size_t)((const uint8_t *)end - json.ptr) < json.len; end++) {
        if (*end != ' ' && *end != '\n' && *end != '\r' && *end != '\t') {
            cJSON_Delete(root);
            return err_set(err, ERR_CORRUPT, "%s: bytes after the document, at %zu of %zu", what,
                           (size_t)((const uint8_t *)end - json.ptr), json.len);
        }
    }
    if (list ? !cJSON_IsArray(root) : !cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return err_set(err, ERR_CORRUPT, "%s is not a JSON %s", what, list ? "list" : "object");
    }
    *out = root;
    return 0;
}

/* The member of that name, or NULL when absent or null. */
static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *m = cJSON_GetObjectItem(object, name);
    return m && !cJSON_IsNull(m) ? m : NULL;
}

static int get_number(const cJSON *object, const char *name, double max, uint64_t *out,
                      struct err *err)
{
    const cJSON *m = member(object, name);
    *out = 0;
    if (!m)
        return 0;
    if (!cJSON_IsNumber(m))
        return err_set(err, ERR_CORRUPT, "meta.json: %s is not a number", name);
    double v = m->valuedouble;
    if (!(v >= 0 && v <= max) || v != floor(v))
        return err_set(err, ERR_CORRUPT, "meta.json: %s is %g, wanted a whole number up to %.0f",
                       name, v, max);
    *out = (uint64_t)v;
    return 0;
}

static int get_u32(const cJSON *object, const char *name, uint32_t *out, struct err *err)
{
    uint64_t v;
    int rc = get_number(object, name, UINT32_MAX, &v, err);
    *out = (uint32_t)v;
    return rc;
}

/* The text of a string member, empty when absent: good while the document lives. */
static int get_text(const cJSON *object, const char *name, struct slice *out, struct err *err)
{
    const cJSON *m = member(object, name);
    *out = slice_of(NULL, 0);
    if (!m)
        return 0;
    if (!cJSON_IsString(m))
        return err_set(err, ERR_CORRUPT, "meta.json: %s is not a string", name);
    *out = slice_cstr(m->valuestring);
    return 0;
}

static int get_time(const cJSON *object, const char *name, uint64_t *out, struct err *err)
{
    struct slice text;
    *out = 0;
    int rc = get_text(object, name, &text, err);
    if (rc < 0 || text.len == 0)
        return rc;
    char shown[64];
    if (!time_parse_rfc3339(text, out))
        return err_set(err, ERR_CORRUPT, "meta.json: %s is \"%s\", not an RFC 3339 time", name,
                       text_escape(text, 40, shown, sizeof shown));
    return 0;
}

int block_version_parse(struct slice text, enum block_version *out, struct err *err)
{
    static const struct {
        const char *name;
        enum block_version version;
    } versions[] = {
        {"vParquet3", BLOCK_VPARQUET3},
        {"vParquet4", BLOCK_VPARQUET4},
        {"vParquet5", BLOCK_VPARQUET5},
    };
    if (text.len == 0)
        return err_set(err, ERR_CORRUPT, "meta.json has no format");
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (slice_eq(text, slice_cstr(versions[i].name))) {
            *out = versions[i].version;
            return 0;
        }
    }
    char shown[64];
    return err_set(err, ERR_UNSUPPORTED,
                   "block format \"%s\" is not read here: vParquet3, vParquet4 and vParquet5 are",
                   text_escape(text, 40, shown, sizeof shown));
}

static int get_version(const cJSON *root, enum block_version *out, struct err *err)
{
    struct slice text;
    int rc = get_text(root, "format", &text, err);
    return rc < 0 ? rc : block_version_parse(text, out, err);
}

/* One entry of dedicatedColumns. *known is false for a scope or type of a later version, which no
 * column of ours can hold. */
static int parse_dedicated(const cJSON *entry, struct arena *a, struct block_dedicated *out,
                           bool *known, struct err *err)
{
    if (!cJSON_IsObject(entry))
        return err_set(err, ERR_CORRUPT, "meta.json: an entry of dedicatedColumns is no object");
    struct slice scope, type, name;
    int rc = get_text(entry, "s", &scope, err);
    rc = rc < 0 ? rc : get_text(entry, "t", &type, err);
    rc = rc < 0 ? rc : get_text(entry, "n", &name, err);
    if (rc < 0)
        return rc;

    *out = (struct block_dedicated){.scope = BLOCK_SCOPE_SPAN, .type = BLOCK_DEDICATED_STRING};
    *known = true;
    if (slice_eq(scope, SLICE("resource")))
        out->scope = BLOCK_SCOPE_RESOURCE;
    else if (slice_eq(scope, SLICE("event")))
        out->scope = BLOCK_SCOPE_EVENT;
    else if (scope.len != 0 && !slice_eq(scope, SLICE("span")))
        *known = false;
    if (slice_eq(type, SLICE("int")))
        out->type = BLOCK_DEDICATED_INT;
    else if (type.len != 0 && !slice_eq(type, SLICE("string")))
        *known = false;

    const cJSON *option;
    cJSON_ArrayForEach(option, member(entry, "o"))
    {
        if (!cJSON_IsString(option))
            continue;
        out->is_array |= strcmp(option->valuestring, "array") == 0;
        out->is_blob |= strcmp(option->valuestring, "blob") == 0;
    }
    if (!arena_slice(a, name, &out->name))
        return arena_err(a, err, "the name of a dedicated column");
    return 0;
}

static int read_dedicated(const cJSON *list, struct arena *a, const struct block_dedicated **out,
                          size_t *out_count, struct err *err)
{
    int count = cJSON_GetArraySize(list);
    if (count > LIMIT_META_DEDICATED)
        return err_set(err, ERR_CORRUPT, "meta.json: %d dedicatedColumns, at most %d are taken",
                       count, LIMIT_META_DEDICATED);
    struct block_dedicated *dedicated = arena_array(a, struct block_dedicated, (size_t)count);
    if (!dedicated)
        return arena_err(a, err, "the list of dedicated columns");
    size_t n = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, list)
    {
        bool known = false;
        int rc = parse_dedicated(entry, a, &dedicated[n], &known, err);
        if (rc < 0)
            return rc;
        n += known;
    }
    *out = dedicated;
    *out_count = n;
    return 0;
}

static int get_dedicated(const cJSON *root, struct arena *a, struct block_meta *out,
                         struct err *err)
{
    const cJSON *list = member(root, "dedicatedColumns");
    if (!list)
        return 0;
    if (!cJSON_IsArray(list))
        return err_set(err, ERR_CORRUPT, "meta.json: dedicatedColumns is not a list");
    return read_dedicated(list, a, &out->dedicated, &out->dedicated_count, err);
}

int block_dedicated_parse(struct slice json, struct arena *a, const struct block_dedicated **out,
                          size_t *count, struct err *err)
{
    cJSON *list;
    int rc = parse_document(json, "dedicated columns", LIMIT_META_BYTES, true, &list, err);
    if (rc < 0)
        return rc;
    rc = read_dedicated(list, a, out, count, err);
    cJSON_Delete(list);
    return rc;
}

static int get_names(const cJSON *root, struct arena *a, struct block_meta *out, struct err *err)
{
    struct slice id, tenant;
    int rc = get_text(root, "blockID", &id, err);
    rc = rc < 0 ? rc : get_text(root, "tenantID", &tenant, err);
    if (rc < 0)
        return rc;
    char shown[64];
    if (!uuid_parse(id, out->id))
        return err_set(err, ERR_CORRUPT, "meta.json: blockID is \"%s\", not a UUID",
                       text_escape(id, 40, shown, sizeof shown));
    if (!arena_slice(a, tenant, &out->tenant))
        return arena_err(a, err, "the tenant of a block");
    return 0;
}

static int get_fields(const cJSON *root, struct arena *a, struct block_meta *out, struct err *err)
{
    uint64_t objects = 0;
    int rc = get_version(root, &out->version, err);
    rc = rc < 0 ? rc : get_names(root, a, out, err);
    rc = rc < 0 ? rc : get_time(root, "startTime", &out->start_unix_ns, err);
    rc = rc < 0 ? rc : get_time(root, "endTime", &out->end_unix_ns, err);
    rc = rc < 0 ? rc : get_number(root, "totalObjects", JSON_INT_MAX, &objects, err);
    rc = rc < 0 ? rc : get_number(root, "size", JSON_INT_MAX, &out->size, err);
    rc = rc < 0 ? rc : get_u32(root, "compactionLevel", &out->compaction_level, err);
    rc = rc < 0 ? rc : get_u32(root, "totalRecords", &out->total_records, err);
    rc = rc < 0 ? rc : get_u32(root, "bloomShards", &out->bloom_shards, err);
    rc = rc < 0 ? rc : get_u32(root, "footerSize", &out->footer_size, err);
    rc = rc < 0 ? rc : get_u32(root, "replicationFactor", &out->replication_factor, err);
    rc = rc < 0 ? rc : get_dedicated(root, a, out, err);
    out->total_objects = (int64_t)objects;
    return rc;
}

int block_meta_parse(struct slice json, struct arena *a, struct block_meta *out, struct err *err)
{
    cJSON *root;
    int rc = parse_document(json, "meta.json", LIMIT_META_BYTES, false, &root, err);
    if (rc < 0)
        return rc;
    *out = (struct block_meta){.version = BLOCK_VPARQUET4};
    rc = get_fields(root, a, out, err);
    cJSON_Delete(root);
    return rc;
}

/* Whole seconds as Tempo 2.7 writes them; 0 is Go's zero time. */
static int write_time(struct buf *out, const char *key, uint64_t unix_s)
{
    char text[36] = "0001-01-01T00:00:00Z";
    if (unix_s)
        time_format_rfc3339(unix_s * NS_PER_S, text);
    return buf_printf(out, ",\"%s\":\"%s\"", key, text);
}

uint64_t block_meta_end_s(uint64_t ns)
{
    uint64_t s = ns / NS_PER_S;
    return ns % NS_PER_S && s < UINT64_MAX / NS_PER_S ? s + 1 : s;
}

static int write_dedicated(const struct block_dedicated *d, struct buf *out)
{
    int rc = buf_str(out, d->scope == BLOCK_SCOPE_RESOURCE ? "{\"s\":\"resource\",\"n\":"
                          : d->scope == BLOCK_SCOPE_EVENT  ? "{\"s\":\"event\",\"n\":"
                                                           : "{\"n\":");
    rc = rc < 0 ? rc : buf_json_string(out, d->name);
    if (rc == 0 && d->type == BLOCK_DEDICATED_INT)
        rc = buf_str(out, ",\"t\":\"int\"");
    if (rc == 0 && (d->is_array || d->is_blob))
        rc = buf_str(out, d->is_array && d->is_blob ? ",\"o\":[\"array\",\"blob\"]"
                          : d->is_array             ? ",\"o\":[\"array\"]"
                                                    : ",\"o\":[\"blob\"]");
    return rc < 0 ? rc : buf_str(out, "}");
}

int block_dedicated_write(const struct block_dedicated *list, size_t count, struct buf *out)
{
    int rc = buf_str(out, "[");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : write_dedicated(&list[i], out);
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

static int write_fields(const struct block_meta *m, struct buf *out)
{
    char id[37];
    uuid_format(m->id, id);
    int rc = buf_printf(
        out, "{\"format\":\"vParquet%d\",\"blockID\":\"%s\",\"tenantID\":", (int)m->version, id);
    rc = rc < 0 ? rc : buf_json_string(out, m->tenant);
    rc = rc < 0 ? rc : write_time(out, "startTime", m->start_unix_ns / NS_PER_S);
    rc = rc < 0 ? rc : write_time(out, "endTime", block_meta_end_s(m->end_unix_ns));
    rc = rc < 0 ? rc : buf_printf(out, ",\"totalObjects\":%" PRId64, m->total_objects);
    if (rc == 0 && m->size)
        rc = buf_printf(out, ",\"size\":%" PRIu64, m->size);
    rc = rc < 0 ? rc
                : buf_printf(
                      out,
                      ",\"compactionLevel\":%" PRIu32 ",\"encoding\":\"none\",\"indexPageSize\":0"
                      ",\"totalRecords\":%" PRIu32 ",\"dataEncoding\":\"\",\"bloomShards\":%" PRIu32
                      ",\"footerSize\":%" PRIu32,
                      m->compaction_level, m->total_records, m->bloom_shards, m->footer_size);
    if (rc == 0 && m->dedicated_count) {
        rc = buf_str(out, ",\"dedicatedColumns\":");
        rc = rc < 0 ? rc : block_dedicated_write(m->dedicated, m->dedicated_count, out);
    }
    if (rc == 0 && m->replication_factor)
        rc = buf_printf(out, ",\"replicationFactor\":%" PRIu32, m->replication_factor);
    return rc < 0 ? rc : buf_str(out, "}");
}

int block_meta_write(const struct block_meta *m, struct buf *out, struct err *err)
{
    int rc = write_fields(m, out);
    if (rc < 0)
        return err_set(err, rc, "meta.json does not fit: %zu of %zu bytes are in use", out->len,
                       out->max);
    return 0;
}

int block_index_write(const uint8_t (*last_ids)[16], size_t count, struct buf *out)
{
    int rc = buf_str(out, "{\"rowGroups\":[");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = buf_str(out, i ? ",\"" : "\"");
        rc = rc < 0 ? rc : buf_base64(out, slice_of(last_ids[i], sizeof last_ids[i]));
        rc = rc < 0 ? rc : buf_u8(out, '"');
    }
    return rc < 0 ? rc : buf_str(out, "]}");
}

static int parse_index_id(const cJSON *item, size_t number, struct buf *scratch, uint8_t out[16],
                          struct err *err)
{
    buf_reset(scratch);
    if (!cJSON_IsString(item) || !buf_base64_decode(scratch, slice_cstr(item->valuestring)) ||
        scratch->len != 16)
        return err_set(err, ERR_CORRUPT, "index: entry %zu is not the base64 of a 16-byte trace id",
                       number);
    memcpy(out, scratch->ptr, 16);
    return 0;
}

int block_index_parse(struct slice json, struct arena *a, uint8_t (**last_ids)[16], size_t *count,
                      struct err *err)
{
    struct buf scratch;
    buf_init(&scratch, 64);
    cJSON *root;
    int rc = parse_document(json, "index", LIMIT_INDEX_BYTES, false, &root, err);
    if (rc < 0)
        return rc;
    const cJSON *list = member(root, "rowGroups");
    if (list && !cJSON_IsArray(list)) {
        rc = err_set(err, ERR_CORRUPT, "index: rowGroups is not a list");
        goto out;
    }
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 0;
    uint8_t(*ids)[16] = arena_alloc_array(a, n, sizeof *ids);
    if (!ids) {
        rc = arena_err(a, err, "the index of a block");
        goto out;
    }
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        rc = parse_index_id(item, i, &scratch, ids[i], err);
        if (rc < 0)
            goto out;
        i++;
    }
    *last_ids = ids;
    *count = n;
out:
    buf_clear(&scratch);
    cJSON_Delete(root);
    return rc;
}
