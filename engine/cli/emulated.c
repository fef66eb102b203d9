#include "cli/emulated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/text.h"

enum { LINES_SHOWN = 10, SOURCE_SHOWN = 88 };

/* ---- findings ------------------------------------------------------------------------------ */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Follows `#line 12 "file"`: returns whether the line is one. */
static bool read_line_directive(struct arena *arena, const char *line, const char **file,
                                int *number)
{
    const char *quote;
    char *end;
    long next;

    if (!str_starts(line, "#line ")) {
        return false;
    }
    next = strtol(line + 6, &end, 10);
    *number = (int)next - 1;
    quote = end + strspn(end, " ");
    if (*quote == '"') {
        *file = base_of(arena_text(arena, quote + 1, strcspn(quote + 1, "\"\n")));
    }
    return true;
}

/* The text of a place, without what stands around it; "" when the source does not have it. */
static const char *line_of(struct arena *arena, const struct emulated_source *source,
                           const struct finding_place *place)
{
    const char *file = base_of(source->name);
    int number = 0;

    for (const char *at = source->text; *at != '\0';) {
        size_t length = strcspn(at, "\n");

        number++;
        if (!read_line_directive(arena, at, &file, &number) && number == place->line &&
            strcmp(file, place->file) == 0) {
            size_t blank = strspn(at, " \t");
            return blank < length ? arena_text(arena, at + blank, length - blank) : "";
        }
        at += length + (at[length] == '\n');
    }
    return "";
}

/* "  racy.cu:345    w = *(const word<N> *)from;", and who called it from where. */
static void print_chain(struct arena *arena, const struct emulated_source *source,
                        const struct finding_chain *at)
{
    for (int i = 0; i < at->count; i++) {
        const struct finding_place *place = &at->places[i];
        const char *where = arena_printf(arena, "%s:%d", place->file, place->line);
        const char *line = line_of(arena, source, place);

        printf("  %s%-*s %.*s\n", i > 0 ? "from " : "", i > 0 ? 22 : 27, where, SOURCE_SHOWN, line);
    }
}

static void print_finding(struct arena *arena, const struct emulated_source *source,
                          const struct finding_told *finding)
{
    printf("%s%s%s\n", style_on(stdout, STYLE_BAD), finding->text, style_off(stdout));
    print_chain(arena, source, &finding->at);
    if (finding->other.count > 0) {
        printf("  and\n");
        print_chain(arena, source, &finding->other);
    }
    if (finding->alike > 0) {
        printf("  and %s more at these lines\n", text_count(arena, finding->alike));
    }
}

void emulated_print_findings(struct arena *arena, const struct emulated_source *source,
                             const struct finding_told *findings, int count, int64_t total)
{
    for (int i = 0; i < count; i++) {
        print_finding(arena, source, &findings[i]);
    }
    if (count > 0) {
        printf("\n%d different finding%s, made %s times\n", count, count == 1 ? "" : "s",
               text_count(arena, total));
    }
}

/* ---- profiles ------------------------------------------------------------------------------ */

static const char *share_text(struct arena *arena, uint64_t part, uint64_t whole)
{
    return text_share(arena, (double)part, (double)whole);
}

static void print_classes(struct arena *arena, const struct kernel_profile *kernel)
{
    static const char *const heads[] = {"class", "warp ops", "share", "lanes active"};
    struct table *table = table_new(arena, "lrrr", heads);
    const struct profile_totals *totals = &kernel->totals;

    for (int i = 0; i < PROFILE_CLASSES && class_names[i] != NULL; i++) {
        const char *cells[] = {
            class_names[i],
            text_count(arena, (int64_t)totals->class_ops[i]),
            share_text(arena, totals->class_ops[i], totals->ops),
            arena_printf(arena, "%.1f",
                         totals->class_ops[i] > 0
                             ? (double)totals->class_lanes[i] / (double)totals->class_ops[i]
                             : 0),
        };

        if (totals->class_ops[i] > 0) {
            table_row(table, STYLE_PLAIN, cells);
        }
    }
    table_print(table, stdout);
}

static void print_memory(struct arena *arena, const struct profile_totals *totals)
{
    printf("shared   %s wavefronts in %s accesses, %s of them bank conflicts\n",
           text_count(arena, (int64_t)totals->shared_wavefronts),
           text_count(arena, (int64_t)totals->shared_accesses),
           share_text(arena, totals->shared_wavefronts - totals->shared_ideal,
                      totals->shared_wavefronts));
    printf("global   %s sectors in %s accesses, %s of their bytes asked for; %s from beyond L1\n",
           text_count(arena, (int64_t)totals->global_sectors),
           text_count(arena, (int64_t)totals->global_accesses),
           share_text(arena, totals->global_bytes, totals->global_sectors * 32),
           text_count(arena, (int64_t)totals->busy[PIPE_L2]));
}

static void print_time(struct arena *arena, const struct kernel_profile *kernel)
{
    static const char *const heads[] = {"pipe", "busy"};
    const struct model_time *time = &kernel->time;
    struct table *table = table_new(arena, "lr", heads);

    for (int i = 0; i < PIPES; i++) {
        const char *cells[] = {pipe_names[i], text_us(arena, time->busy_us[i])};

        if (time->busy_us[i] > 0) {
            table_row(table, STYLE_PLAIN, cells);
        }
    }
    printf("modelled %s%s%s, bound by %s; %d blocks a multiprocessor (%.0f %% of its warps), %.2f "
           "waves, a block alone %s\n",
           style_on(stdout, STYLE_BOLD), text_us(arena, time->us), style_off(stdout), time->bound,
           time->resident, time->occupancy, time->waves, text_us(arena, time->length_us));
    table_print(table, stdout);
}

static void print_lines(struct arena *arena, const struct kernel_profile *kernel)
{
    static const char *const heads[] = {"line", "issue slots", "shared wavefronts", "L2 sectors"};
    struct table *table = table_new(arena, "lrrr", heads);

    for (int i = 0; i < kernel->line_count && i < LINES_SHOWN; i++) {
        const struct profile_line *line = &kernel->lines[i];
        const char *base = strrchr(line->file, '/');
        const char *cells[] = {
            arena_printf(arena, "%s:%d", base != NULL ? base + 1 : line->file, line->line),
            text_count(arena, (int64_t)line->ops),
            text_count(arena, (int64_t)line->shared_wavefronts),
            text_count(arena, (int64_t)line->l2_sectors),
        };

        table_row(table, STYLE_PLAIN, cells);
    }
    table_print(table, stdout);
}

void emulated_print_kernel(struct arena *arena, const struct kernel_profile *kernel)
{
    printf("\n%s%s%s: %lld of %lld blocks profiled, %d registers, %s of shared memory\n",
           style_on(stdout, STYLE_BOLD), kernel->name, style_off(stdout),
           (long long)kernel->totals.blocks, (long long)kernel->blocks, kernel->launch.registers,
           text_bytes(arena, kernel->launch.smem_bytes));
    print_time(arena, kernel);
    print_memory(arena, &kernel->totals);
    print_classes(arena, kernel);
    print_lines(arena, kernel);
}

/* ---- as JSON ------------------------------------------------------------------------------- */

json_t *emulated_kernel_json(const struct kernel_profile *kernel)
{
    const struct profile_totals *totals = &kernel->totals;
    const struct model_time *time = &kernel->time;
    json_t *classes = json_object(), *busy = json_object(), *lines = json_array();

    for (int i = 0; i < PROFILE_CLASSES && class_names[i] != NULL; i++) {
        json_object_set_new(classes, class_names[i],
                            json_integer((json_int_t)totals->class_ops[i]));
    }
    for (int i = 0; i < PIPES; i++) {
        json_object_set_new(busy, pipe_names[i], json_number(time->busy_us[i]));
    }
    for (int i = 0; i < kernel->line_count; i++) {
        const struct profile_line *line = &kernel->lines[i];

        json_array_append_new(lines,
                              json_pack("{s:o, s:i, s:I, s:I, s:I}", "file", json_text(line->file),
                                        "line", line->line, "slots", (json_int_t)line->ops,
                                        "shared_wavefronts", (json_int_t)line->shared_wavefronts,
                                        "l2_sectors", (json_int_t)line->l2_sectors));
    }
    return json_pack(
        "{s:o, s:I, s:I, s:i, s:I, s:f, s:s, s:i, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:o, "
        "s:o, s:o}",
        "name", json_text(kernel->name), "blocks", (json_int_t)kernel->blocks, "sampled_blocks",
        (json_int_t)totals->blocks, "registers", kernel->launch.registers, "smem_bytes",
        (json_int_t)kernel->launch.smem_bytes, "modelled_us", time->us, "bound", time->bound,
        "resident", time->resident, "occupancy", time->occupancy, "waves", time->waves, "block_us",
        time->length_us, "warp_ops", (json_int_t)totals->ops, "lane_ops",
        (json_int_t)totals->lane_ops, "shared_wavefronts", (json_int_t)totals->shared_wavefronts,
        "shared_ideal", (json_int_t)totals->shared_ideal, "global_sectors",
        (json_int_t)totals->global_sectors, "tensor_flops", (json_int_t)totals->tensor_flops,
        "classes", classes, "busy_us", busy, "lines", lines);
}

static json_t *chain_json(const struct finding_chain *chain)
{
    json_t *places = json_array();

    for (int i = 0; i < chain->count; i++) {
        json_array_append_new(places,
                              json_pack("{s:o, s:i}", "file", json_text(chain->places[i].file),
                                        "line", chain->places[i].line));
    }
    return places;
}

static json_t *finding_json(const struct finding_told *finding)
{
    return json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:I}", "kind", finding->kind, "text",
                     json_text(finding->text), "opcode", finding->opcode, "at",
                     chain_json(&finding->at), "other_opcode", finding->other_opcode, "other",
                     chain_json(&finding->other), "alike", (json_int_t)finding->alike);
}

json_t *emulated_findings_json(const struct finding_told *findings, int count)
{
    json_t *all = json_array();

    for (int i = 0; i < count; i++) {
        json_array_append_new(all, finding_json(&findings[i]));
    }
    return all;
}
