/* Filters: each is a small stack machine whose values are truth vectors, a byte a span. Conditions
 * have decided before which values are visible and which spans are looked at (visible.c). */
#include <assert.h>

#include "traceql/truth.h"

static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "the evaluation of a batch");
}

/* The expression, for each span that is looked at. */
static int step_row(struct traceql_view *v, const struct step *s, const uint8_t *active,
                    uint8_t *out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    for (uint32_t i = 0; i < spans; i++) {
        struct seen seen;
        if (!active[i])
            continue;
        int rc = row_eval(v, s->expr, i, &seen, err);
        if (rc < 0)
            return rc;
        bool is_bool = !seen.array && seen.scalar.type == TRACEQL_BOOL;
        out[i] = is_bool ? (uint8_t)seen.scalar.b : TRUTH_OTHER;
    }
    return 0;
}

/* `!` of anything but a bool fails the query, when it happens to a span that is looked at. */
static int step_not(struct traceql_view *v, const struct step *s, const uint8_t *active,
                    uint8_t *truth, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    for (uint32_t i = 0; i < spans; i++) {
        if (active[i] && truth[i] > TRUTH_TRUE) {
            struct seen operand;
            int rc = row_eval(v, s->expr->rhs, i, &operand, err);
            return rc < 0 ? rc : row_type_error(s->expr, &operand, err);
        }
    }
    for (uint32_t i = 0; i < spans; i++)
        truth[i] = truth[i] == TRUTH_FALSE;
    return 0;
}

static void step_and(uint8_t *restrict l, const uint8_t *restrict r, uint32_t spans)
{
    for (uint32_t i = 0; i < spans; i++)
        l[i] = l[i] & r[i] & 1; /* TRUTH_OTHER has no bit 0 */
}

static void step_or(uint8_t *restrict l, const uint8_t *restrict r, uint32_t spans)
{
    for (uint32_t i = 0; i < spans; i++)
        l[i] = (uint8_t)(((l[i] | r[i]) & 1) & (l[i] != TRUTH_OTHER) & (r[i] != TRUTH_OTHER));
}

/* A truth vector of the stack. They are kept for the next filter. */
static uint8_t *stack_at(struct traceql_view *v, uint32_t at)
{
    if (!v->stack[at])
        v->stack[at] = arena_alloc(v->arena, v->batch->counts[TRACEQL_LEVEL_SPAN]);
    return v->stack[at];
}

static int run_step(struct traceql_view *v, const struct step *s, const uint8_t *active,
                    uint32_t top, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    if (s->kind < STEP_AND) {
        if (!stack_at(v, top))
            return arena_full(v, err);
        memset(v->stack[top], s->kind == STEP_CONST && s->b, spans);
    }
    switch (s->kind) {
    case STEP_CONST:
        return 0;
    case STEP_COMPARE:
        return truth_compare(v, s, v->stack[top], err);
    case STEP_ATTR:
        return truth_attr(v, s, v->stack[top], err);
    case STEP_ABSENT:
        truth_absent(v, s, v->stack[top]);
        return 0;
    case STEP_ROW:
        return step_row(v, s, active, v->stack[top], err);
    case STEP_AND:
        step_and(v->stack[top - 2], v->stack[top - 1], spans);
        return 0;
    case STEP_OR:
        step_or(v->stack[top - 2], v->stack[top - 1], spans);
        return 0;
    case STEP_NOT:
        return step_not(v, s, active, v->stack[top - 1], err);
    }
    return 0;
}

int filter_run(struct traceql_view *v, const struct program *p, const uint8_t *active,
               const uint8_t **out, struct err *err)
{
    uint32_t top = 0;
    for (uint32_t i = 0; i < p->step_count; i++) {
        const struct step *s = &p->steps[i];
        int rc = run_step(v, s, active, top, err);
        if (rc < 0)
            return rc;
        top += s->kind < STEP_AND;
        top -= s->kind == STEP_AND || s->kind == STEP_OR;
    }
    assert(top == 1);
    *out = v->stack[0];
    return 0;
}
