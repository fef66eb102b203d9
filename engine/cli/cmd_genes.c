#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "genome/render.h"

static const char *domain_text(struct arena *arena, const struct gene *gene)
{
    struct buf text = {0};
    const char *domain;

    for (int i = 0; i < gene->count; i++) {
        buf_printf(&text, "%s%s", i > 0 ? " " : "", gene_value_text(arena, gene, i));
    }
    domain = arena_dup(arena, text.data != NULL ? text.data : "");
    buf_free(&text);
    return domain;
}

static void heading(const char *text)
{
    printf("\n%s%s%s\n", style_on(stdout, STYLE_BOLD), text, style_off(stdout));
}

static void print_genes(struct arena *arena, const struct family *family)
{
    static const char *const heads[] = {"gene", "values", "what it is"};
    struct table *table = table_new(arena, "lll", heads);

    for (int i = 0; i < family->gene_count; i++) {
        const struct gene *gene = &family->genes[i];
        const char *cells[] = {gene->name, domain_text(arena, gene), gene->doc};

        table_row(table, STYLE_PLAIN, cells);
    }
    table_print(table, stdout);
}

static void print_lets(struct arena *arena, const struct family *family)
{
    static const char *const heads[] = {"constant", "derived as", "what it is"};
    struct table *table = table_new(arena, "lll", heads);

    for (int i = 0; i < family->let_count; i++) {
        const char *cells[] = {family->lets[i].name, expr_text(family->lets[i].expr),
                               family->lets[i].doc};

        table_row(table, STYLE_PLAIN, cells);
    }
    if (family->let_count > 0) {
        putchar('\n');
        table_print(table, stdout);
    }
}

static void print_conditions(struct arena *arena, const struct family *family)
{
    static const char *const heads[] = {"a genome requires", "because"};
    static const char *const shape_heads[] = {"a shape must have", "because"};
    struct table *genomes = table_new(arena, "ll", heads);
    struct table *shapes = table_new(arena, "ll", shape_heads);

    for (int i = 0; i < family->require_count; i++) {
        const char *cells[] = {expr_text(family->requires[i].expr), family->requires[i].doc};

        table_row(genomes, STYLE_PLAIN, cells);
    }
    for (int i = 0; i < family->program.supports_count; i++) {
        const char *cells[] = {family->program.supports[i].condition,
                               family->program.supports[i].doc};

        table_row(shapes, STYLE_PLAIN, cells);
    }
    if (family->require_count > 0) {
        putchar('\n');
        table_print(genomes, stdout);
    }
    if (family->program.supports_count > 0) {
        putchar('\n');
        table_print(shapes, stdout);
    }
}

static void print_launch(const struct family *family)
{
    heading("a call launches");
    for (int i = 0; i < family->program.kernel_count; i++) {
        const struct program_kernel *kernel = &family->program.kernels[i];

        printf("%s<<<(%s", kernel->name, kernel->grid[0]);
        for (int j = 1; j < 3 && kernel->grid[j] != NULL && kernel->grid[j][0] != '\0'; j++) {
            printf(", %s", kernel->grid[j]);
        }
        printf("), %s, %s>>>(", kernel->threads, kernel->smem);
        for (int j = 0; j < kernel->arg_count; j++) {
            printf("%s%s", j > 0 ? ", " : "", kernel->args[j]);
        }
        printf(")\n");
    }
}

static void print_maps(const struct family *family)
{
    const struct program *program = &family->program;

    if (program->map_count > 0) {
        heading("it copies tiles through");
    }
    for (int i = 0; i < program->map_count; i++) {
        const struct program_map *map = &program->maps[i];

        printf("%s of %s, boxes of (%s, %s), swizzle %s: %s\n", map->name,
               map_tensor_names[map->tensor], map->columns, map->rows, map->swizzle,
               family->map_docs[i]);
    }
}

static json_t *map_json(const struct family *family, int index)
{
    const struct program_map *map = &family->program.maps[index];

    return json_pack("{s:s, s:s, s:[s,s], s:s, s:o}", "name", map->name, "tensor",
                     map_tensor_names[map->tensor], "box", map->columns, map->rows, "swizzle",
                     map->swizzle, "doc", json_text(family->map_docs[index]));
}

static json_t *gene_json(struct arena *arena, const struct gene *gene)
{
    json_t *values = json_array();

    for (int i = 0; i < gene->count; i++) {
        json_array_append_new(values, gene->kind == GENE_NUMBER
                                          ? json_integer(gene->values[i])
                                          : json_text(gene_value_text(arena, gene, i)));
    }
    return json_pack("{s:o, s:o, s:o}", "name", json_text(gene->name), "doc", json_text(gene->doc),
                     "values", values);
}

static json_t *family_json(struct arena *arena, const struct family *family)
{
    json_t *genes = json_array(), *requires = json_array(), *supports = json_array();
    json_t *launch = json_array(), *maps = json_array();

    for (int i = 0; i < family->gene_count; i++) {
        json_array_append_new(genes, gene_json(arena, &family->genes[i]));
    }
    for (int i = 0; i < family->require_count; i++) {
        json_array_append_new(requires, json_pack("{s:o, s:o}", "condition",
                                                  json_text(expr_text(family->requires[i].expr)),
                                                  "doc", json_text(family->requires[i].doc)));
    }
    for (int i = 0; i < family->program.supports_count; i++) {
        json_array_append_new(supports,
                              json_pack("{s:o, s:o}", "condition",
                                        json_text(family->program.supports[i].condition), "doc",
                                        json_text(family->program.supports[i].doc)));
    }
    for (int i = 0; i < family->program.kernel_count; i++) {
        const struct program_kernel *kernel = &family->program.kernels[i];

        json_array_append_new(
            launch, json_pack("{s:o, s:o, s:o}", "kernel", json_text(kernel->name), "threads",
                              json_text(kernel->threads), "smem_bytes", json_text(kernel->smem)));
    }
    for (int i = 0; i < family->program.map_count; i++) {
        json_array_append_new(maps, map_json(family, i));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "family", json_text(family->name),
                     "title", json_text(family->title), "genes", genes, "requires", requires,
                     "supports", supports, "maps", maps, "launch", launch);
}

static bool genes(struct cli *cli, struct err *err)
{
    struct template_set *set = template_set_new(cli->arena);
    const char *own = cli_value(cli, "templates"), *folder = templates_folder(cli->arena, err);
    struct family *family;

    if (folder == NULL || (own != NULL && !template_set_load(set, own, err)) ||
        !template_set_load(set, folder, err) ||
        !template_set_family(set, cli->operands[0], &family, err)) {
        return false;
    }
    if (cli_has(cli, "json")) {
        return cli_json(family_json(cli->arena, family), err);
    }
    printf("%s%s%s: %s\n\n", style_on(stdout, STYLE_BOLD), family->name, style_off(stdout),
           family->title);
    print_genes(cli->arena, family);
    print_lets(cli->arena, family);
    print_conditions(cli->arena, family);
    print_maps(family);
    print_launch(family);
    if (family->numerics != NULL && strcmp(expr_text(family->numerics), "0") != 0) {
        printf("\nFP16 accumulation where %s, else FP32\n", expr_text(family->numerics));
    }
    return true;
}

int cmd_genes(int argc, char **argv) { return cli_run(argc, argv, genes); }
