#include "fitness/plan.h"

#include <string.h>

#include "base/expr.h"

/* CUDA's own limits, the same on every device evo knows. */
enum {
    GRID_X_MAX = 0x7fffffff,
    GRID_YZ_MAX = 65535,
    THREADS_MAX = 1024,
    SMEM_MAX = 1 << 20, /* above any device's; the device's own is the driver's to refuse */
};

static const char *const workspace_kinds[] = {"poison", "zero_call", "zero_once"};
const char *const map_tensor_names[MAP_TENSORS] = {
    [MAP_Q] = "Q", [MAP_K] = "K", [MAP_V] = "V", [MAP_O] = "O"};
static const char *const fixed_args[] = {"Q", "K", "V", "O", "LSE", "problem"};

/* A program's names, with the values of one problem on one device. */
struct scope {
    struct arena *arena;
    struct symbols *symbols;
    int64_t *values;
};

static struct scope scope_make(struct arena *arena, const struct program *program,
                               const struct problem *problem, int64_t sms)
{
    const int64_t variables[LAUNCH_VARIABLES] = {
        [LAUNCH_BATCH] = problem->batch,       [LAUNCH_HEADS] = problem->heads,
        [LAUNCH_KV_HEADS] = problem->kv_heads, [LAUNCH_Q_LEN] = problem->q_len,
        [LAUNCH_KV_LEN] = problem->kv_len,     [LAUNCH_SMS] = sms,
    };
    struct scope scope = {.arena = arena, .symbols = symbols_new(arena)};
    size_t room = (size_t)(program->constant_count + LAUNCH_VARIABLES);

    scope.values = arena_alloc(arena, room * sizeof *scope.values);
    for (int i = 0; i < program->constant_count; i++) {
        scope.values[symbols_add(scope.symbols, program->constants[i].name)] =
            program->constants[i].value;
    }
    for (int i = 0; i < LAUNCH_VARIABLES; i++) {
        scope.values[symbols_add(scope.symbols, launch_variable_names[i])] = variables[i];
    }
    return scope;
}

static bool scope_eval(const struct scope *scope, const char *text, int64_t *value,
                       struct err *err)
{
    struct expr *expr;

    return (expr_parse(scope->arena, text, strlen(text), scope->symbols, &expr, NULL, err) &&
            expr_eval(expr, scope->values, value, err)) ||
           err_in(err, "'%s'", text);
}

/* Evaluates and demands low <= value <= high. */
static bool scope_eval_in(const struct scope *scope, const char *what, const char *text,
                          int64_t low, int64_t high, int64_t *value, struct err *err)
{
    if (!scope_eval(scope, text, value, err)) {
        return err_in(err, "%s", what);
    }
    if (*value < low || *value > high) {
        return err_set(err, ERR_USER, "%s '%s' is %lld, which is not in %lld to %lld", what, text,
                       (long long)*value, (long long)low, (long long)high);
    }
    return true;
}

static bool resolve_arg(const struct program *program, const char *name,
                        struct plan_kernel *kernel, struct err *err)
{
    for (size_t i = 0; i < sizeof fixed_args / sizeof *fixed_args; i++) {
        if (strcmp(name, fixed_args[i]) == 0) {
            kernel->args[kernel->arg_count++].kind = (enum plan_arg)i;
            return true;
        }
    }
    for (int i = 0; i < program->workspace_count; i++) {
        if (strcmp(name, program->workspaces[i].name) == 0) {
            kernel->args[kernel->arg_count].kind = ARG_WORKSPACE;
            kernel->args[kernel->arg_count++].index = i;
            return true;
        }
    }
    for (int i = 0; i < program->map_count; i++) {
        if (strcmp(name, program->maps[i].name) == 0) {
            kernel->args[kernel->arg_count].kind = ARG_MAP;
            kernel->args[kernel->arg_count++].index = i;
            return true;
        }
    }
    return err_set(err, ERR_USER, "kernel argument '%s' is neither a workspace, nor a tensor map, "
                                  "nor one of Q K V O LSE problem", name);
}

static bool resolve_kernel(const struct scope *scope, const struct program *program,
                           const struct program_kernel *from, struct plan_kernel *kernel,
                           struct err *err)
{
    static const char *const axes[] = {"grid x", "grid y", "grid z"};
    int64_t value;

    kernel->name = arena_dup(scope->arena, from->name);
    for (int i = 0; i < 3; i++) {
        if (!scope_eval_in(scope, axes[i], from->grid[i], 0, i == 0 ? GRID_X_MAX : GRID_YZ_MAX,
                           &value, err)) {
            return false;
        }
        kernel->grid[i] = (uint32_t)value;
    }
    if (!scope_eval_in(scope, "threads", from->threads, 1, THREADS_MAX, &value, err)) {
        return false;
    }
    kernel->threads = (uint32_t)value;
    if (!scope_eval_in(scope, "shared memory", from->smem, 0, SMEM_MAX, &value, err)) {
        return false;
    }
    kernel->smem_bytes = (uint32_t)value;
    for (int i = 0; i < from->arg_count; i++) {
        if (!resolve_arg(program, from->args[i], kernel, err)) {
            return false;
        }
    }
    return true;
}

/* What the hardware takes; the strides of a problem are multiples of its head_dim. */
static bool resolve_map(const struct scope *scope, const struct program_map *from,
                        const struct problem *problem, struct plan_map *map, bool *supported,
                        struct err *err)
{
    int64_t columns, rows, swizzle, bytes = problem->head_dim * ELEMENT_BYTES;

    if (bytes % MAP_ALIGN_BYTES != 0) {
        *supported = false;
        return err_set(err, ERR_USER,
                       "a row of %s has %lld * %d = %lld bytes, and the hardware wants a multiple "
                       "of %d",
                       map_tensor_names[from->tensor], (long long)problem->head_dim, ELEMENT_BYTES,
                       (long long)bytes, MAP_ALIGN_BYTES);
    }
    if (!scope_eval_in(scope, "columns of the box", from->columns, 1, MAP_BOX_MAX, &columns, err) ||
        !scope_eval_in(scope, "rows of the box", from->rows, 1, MAP_BOX_MAX, &rows, err) ||
        !scope_eval_in(scope, "swizzle", from->swizzle, 0, 128, &swizzle, err)) {
        return false;
    }
    if (swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128) {
        return err_set(err, ERR_USER, "swizzle '%s' is %lld bytes, not 0, 32, 64 or 128",
                       from->swizzle, (long long)swizzle);
    }
    bytes = columns * ELEMENT_BYTES;
    if (bytes % MAP_ALIGN_BYTES != 0 || (swizzle > 0 && bytes > swizzle)) {
        return err_set(err, ERR_USER,
                       "a row of the box has %lld * %d = %lld bytes ('%s'), %s %lld",
                       (long long)columns, ELEMENT_BYTES, (long long)bytes, from->columns,
                       bytes % MAP_ALIGN_BYTES != 0 ? "no multiple of" : "more than its swizzle's",
                       (long long)(bytes % MAP_ALIGN_BYTES != 0 ? MAP_ALIGN_BYTES : swizzle));
    }
    *map = (struct plan_map){from->tensor, (uint32_t)columns, (uint32_t)rows, (uint32_t)swizzle,
                             problem->dtype == DTYPE_BF16};
    return true;
}

static bool check_supports(const struct scope *scope, const struct program *program,
                           bool *supported, struct err *err)
{
    *supported = true;
    for (int i = 0; i < program->supports_count; i++) {
        const struct program_supports *supports = &program->supports[i];
        int64_t holds;

        if (!scope_eval(scope, supports->condition, &holds, err)) {
            return err_in(err, "supported shapes");
        }
        if (!holds) {
            *supported = false;
            return err_set(err, ERR_USER, "the program does not support this shape: %s (%s)",
                           supports->doc, supports->condition);
        }
    }
    return true;
}

bool plan_resolve(struct arena *arena, const struct program *program,
                  const struct problem *problem, int64_t sms, struct plan *plan, bool *supported,
                  struct err *err)
{
    struct scope scope = scope_make(arena, program, problem, sms);

    memset(plan, 0, sizeof *plan);
    if (!check_supports(&scope, program, supported, err)) {
        return false;
    }
    for (int i = 0; i < program->workspace_count; i++) {
        if (!scope_eval_in(&scope, "workspace bytes", program->workspaces[i].bytes, 0,
                           PLAN_WORKSPACE_BYTES_MAX, &plan->workspaces[i].bytes, err)) {
            return err_in(err, "workspace '%s'", program->workspaces[i].name);
        }
        plan->workspaces[i].kind = program->workspaces[i].kind;
        plan->workspace_count++;
    }
    for (int i = 0; i < program->map_count; i++) {
        if (!resolve_map(&scope, &program->maps[i], problem, &plan->maps[i], supported, err)) {
            return err_in(err, "tensor map '%s'", program->maps[i].name);
        }
        plan->map_count++;
    }
    for (int i = 0; i < program->kernel_count; i++) {
        struct plan_kernel *kernel = &plan->kernels[plan->kernel_count];

        *kernel = (struct plan_kernel){0};
        if (!resolve_kernel(&scope, program, &program->kernels[i], kernel, err)) {
            return err_in(err, "launch of '%s'", program->kernels[i].name);
        }
        plan->kernel_count += kernel->grid[0] > 0 && kernel->grid[1] > 0 && kernel->grid[2] > 0;
    }
    return plan->kernel_count > 0 ||
           err_set(err, ERR_USER, "no launch has a block in its grid");
}

size_t program_arg_bytes(const struct program *program, const char *name)
{
    if (strcmp(name, "problem") == 0) {
        return sizeof(struct problem_args);
    }
    for (int i = 0; i < program->map_count; i++) {
        if (strcmp(name, program->maps[i].name) == 0) {
            return MAP_BYTES;
        }
    }
    return sizeof(uint64_t); /* a pointer */
}

struct map_layout map_layout(const struct plan_map *map, const struct problem_args *problem)
{
    bool of_queries = map->tensor == MAP_Q || map->tensor == MAP_O;
    const int64_t *const strides[] = {
        [MAP_Q] = problem->q, [MAP_K] = problem->k, [MAP_V] = problem->v, [MAP_O] = problem->o};
    struct map_layout layout = {
        .sizes = {(uint64_t)problem->head_dim,
                  (uint64_t)(of_queries ? problem->q_len : problem->kv_len),
                  (uint64_t)(of_queries ? problem->heads : problem->kv_heads),
                  (uint64_t)problem->batch},
        .box = {map->columns, map->rows, 1, 1},
    };

    for (int i = 0; i < MAP_RANK - 1; i++) { /* kept outermost first: batch, head, row */
        layout.strides[i] = (uint64_t)strides[map->tensor][MAP_RANK - 2 - i] * ELEMENT_BYTES;
    }
    return layout;
}

int plan_operations(const struct plan *plan)
{
    int count = plan->kernel_count;

    for (int i = 0; i < plan->workspace_count; i++) {
        count += plan->workspaces[i].kind == WORKSPACE_ZERO_CALL && plan->workspaces[i].bytes > 0;
    }
    return count;
}

struct hash plan_hash(const struct plan *plan)
{
    struct hasher hasher;

    hash_begin(&hasher, "evo plan 1");
    for (int i = 0; i < plan->workspace_count; i++) {
        hash_i64(&hasher, "workspace", plan->workspaces[i].bytes);
        hash_i64(&hasher, "kind", plan->workspaces[i].kind);
    }
    for (int i = 0; i < plan->map_count; i++) {
        const struct plan_map *map = &plan->maps[i];

        hash_i64(&hasher, "map", map->tensor);
        hash_i64(&hasher, "columns", map->columns);
        hash_i64(&hasher, "rows", map->rows);
        hash_i64(&hasher, "swizzle", map->swizzle);
        hash_i64(&hasher, "bf16", map->bf16);
    }
    for (int i = 0; i < plan->kernel_count; i++) {
        const struct plan_kernel *kernel = &plan->kernels[i];

        hash_text(&hasher, "kernel", kernel->name);
        for (int axis = 0; axis < 3; axis++) {
            hash_i64(&hasher, "grid", kernel->grid[axis]);
        }
        hash_i64(&hasher, "threads", kernel->threads);
        hash_i64(&hasher, "smem", kernel->smem_bytes);
        for (int arg = 0; arg < kernel->arg_count; arg++) {
            hash_i64(&hasher, "arg", kernel->args[arg].kind);
            hash_i64(&hasher, "index", kernel->args[arg].index);
        }
    }
    return hash_end(&hasher);
}

/*
 * ---- as lines of a message ----
 * Parts are separated by a bar between blanks. Expressions have '||' but never a lone bar, so only
 * a doc text could hold one; it stands last on its line, where no further split is looked for.
 */
static const char SEPARATOR[] = " | ";

void program_put(struct message *message, const struct program *program)
{
    struct arena *arena = arena_new();

    message_put_i64(message, "numerics", program->numerics);
    for (int i = 0; i < program->constant_count; i++) {
        message_put(message, "define", "%s %lld", program->constants[i].name,
                    (long long)program->constants[i].value);
    }
    for (int i = 0; i < program->supports_count; i++) {
        message_put(message, "supports", "%s%s%s", program->supports[i].condition, SEPARATOR,
                    program->supports[i].doc);
    }
    for (int i = 0; i < program->workspace_count; i++) {
        message_put(message, "workspace", "%s%s%s%s%s", program->workspaces[i].name, SEPARATOR,
                    workspace_kinds[program->workspaces[i].kind], SEPARATOR,
                    program->workspaces[i].bytes);
    }
    for (int i = 0; i < program->map_count; i++) {
        const struct program_map *map = &program->maps[i];

        message_put(message, "map", "%s%s%s%s%s%s%s%s%s", map->name, SEPARATOR,
                    map_tensor_names[map->tensor], SEPARATOR, map->columns, SEPARATOR, map->rows,
                    SEPARATOR, map->swizzle);
    }
    for (int i = 0; i < program->kernel_count; i++) {
        const struct program_kernel *kernel = &program->kernels[i];
        const char *args = "";

        for (int arg = 0; arg < kernel->arg_count; arg++) {
            args = arena_printf(arena, "%s%s%s", args, arg ? " " : "", kernel->args[arg]);
        }
        message_put(message, "kernel", "%s%s%s%s%s%s%s%s%s%s%s%s%s", kernel->name, SEPARATOR,
                    kernel->grid[0], SEPARATOR, kernel->grid[1], SEPARATOR, kernel->grid[2],
                    SEPARATOR, kernel->threads, SEPARATOR, kernel->smem, SEPARATOR, args);
    }
    arena_free(arena);
}

/* Splits a copy of `line` into `count` parts; the last takes what is left. */
static bool split(struct arena *arena, const char *line, const char **parts, int count)
{
    char *at = arena_dup(arena, line);

    for (int i = 0; i < count; i++) {
        char *end = i < count - 1 ? strstr(at, SEPARATOR) : NULL;

        parts[i] = at;
        if (i == count - 1) {
            break;
        }
        if (end == NULL) {
            return false;
        }
        *end = '\0';
        at = end + strlen(SEPARATOR);
    }
    return true;
}

static bool bad_line(const char *key, const char *line, struct err *err)
{
    return err_set(err, ERR_USER, "malformed program: '%s %.200s'", key, line);
}

static bool get_kernel(struct arena *arena, const char *line, struct program_kernel *kernel,
                       struct err *err)
{
    const char *parts[7];
    char *args, *save = NULL;

    if (!split(arena, line, parts, 7) || *parts[0] == '\0') {
        return bad_line("kernel", line, err);
    }
    kernel->name = parts[0];
    for (int i = 0; i < 3; i++) {
        kernel->grid[i] = parts[1 + i];
    }
    kernel->threads = parts[4];
    kernel->smem = parts[5];
    args = arena_dup(arena, parts[6]);
    for (char *arg = strtok_r(args, " ", &save); arg; arg = strtok_r(NULL, " ", &save)) {
        if (kernel->arg_count == PROGRAM_ARGS_MAX) {
            return bad_line("kernel", line, err);
        }
        kernel->args[kernel->arg_count++] = arg;
    }
    return true;
}

static bool get_workspace(struct arena *arena, const char *line,
                          struct program_workspace *workspace, struct err *err)
{
    const char *parts[3];

    if (split(arena, line, parts, 3)) {
        for (int i = 0; i < 3; i++) {
            if (strcmp(parts[1], workspace_kinds[i]) == 0) {
                *workspace = (struct program_workspace){parts[0], parts[2],
                                                        (enum workspace_kind)i};
                return true;
            }
        }
    }
    return bad_line("workspace", line, err);
}

static bool get_map(struct arena *arena, const char *line, struct program_map *map,
                    struct err *err)
{
    const char *parts[5];

    if (split(arena, line, parts, 5)) {
        for (int i = 0; i < MAP_TENSORS; i++) {
            if (strcmp(parts[1], map_tensor_names[i]) == 0) {
                *map = (struct program_map){parts[0], (enum map_tensor)i, parts[2], parts[3],
                                            parts[4]};
                return true;
            }
        }
    }
    return bad_line("map", line, err);
}

static bool get_constants(struct arena *arena, const struct message *message,
                          struct program *program, struct err *err)
{
    struct program_constant *constants;
    const char *line;
    size_t at = 0;
    int count = 0;

    while (message_each(message, "define", &at) != NULL) {
        count++;
    }
    constants = arena_alloc(arena, (size_t)count * sizeof *constants);
    at = 0;
    while ((line = message_each(message, "define", &at)) != NULL) {
        char *name = arena_dup(arena, line);
        char *blank = strchr(name, ' ');
        struct program_constant *constant = &constants[program->constant_count];

        if (blank == NULL || !str_to_i64(blank + 1, &constant->value)) {
            return bad_line("define", line, err);
        }
        *blank = '\0';
        constant->name = name;
        program->constant_count++;
    }
    program->constants = constants;
    return true;
}

bool program_get(struct arena *arena, const struct message *message, struct program *program,
                 struct err *err)
{
    const char *line;
    int64_t numerics;
    size_t at;

    memset(program, 0, sizeof *program);
    if (!message_get_i64(message, "numerics", &numerics, err) ||
        !get_constants(arena, message, program, err)) {
        return false;
    }
    if (numerics < 0 || numerics > 1) {
        return err_set(err, ERR_USER, "malformed program: numerics %lld", (long long)numerics);
    }
    program->numerics = (int)numerics;
    for (at = 0; (line = message_each(message, "supports", &at)) != NULL;) {
        const char *parts[2];

        if (program->supports_count == PROGRAM_SUPPORTS_MAX || !split(arena, line, parts, 2)) {
            return bad_line("supports", line, err);
        }
        program->supports[program->supports_count++] =
            (struct program_supports){parts[0], parts[1]};
    }
    for (at = 0; (line = message_each(message, "workspace", &at)) != NULL;) {
        if (program->workspace_count == PROGRAM_WORKSPACES_MAX) {
            return bad_line("workspace", line, err);
        }
        if (!get_workspace(arena, line, &program->workspaces[program->workspace_count++], err)) {
            return false;
        }
    }
    for (at = 0; (line = message_each(message, "map", &at)) != NULL;) {
        if (program->map_count == PROGRAM_MAPS_MAX) {
            return bad_line("map", line, err);
        }
        if (!get_map(arena, line, &program->maps[program->map_count++], err)) {
            return false;
        }
    }
    for (at = 0; (line = message_each(message, "kernel", &at)) != NULL;) {
        if (program->kernel_count == PROGRAM_KERNELS_MAX) {
            return bad_line("kernel", line, err);
        }
        if (!get_kernel(arena, line, &program->kernels[program->kernel_count++], err)) {
            return false;
        }
    }
    if (program->kernel_count == 0) {
        return err_set(err, ERR_USER, "malformed program: it launches no kernel");
    }
    return true;
}
