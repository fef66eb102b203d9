/*
 * What can be said of one genome of a family: its text, its hash, whether it is feasible, and the
 * program it stands for. And of all of them: how many are feasible.
 *
 * A value array holds one number for each symbol: genes, givens, derived values, and for each label
 * of a choice 1 or 0. Derived values and requirements are evaluated in the order of the template.
 * Derived values are ints of the kernel, so one that does not fit an int makes a genome infeasible,
 * as does one that cannot be computed.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fitness/space.h"
#include "genome/family.h"

/* Text ----------------------------------------------------------------------------------------- */

static void value_print(struct buf *buf, const struct gene *gene, int at)
{
    assert(at >= 0 && at < gene->count);
    if (gene->labels != NULL)
        buf_puts(buf, gene->labels[at]);
    else
        buf_printf(buf, "%lld", (long long)gene->values[at]);
}

const char *gene_value_text(struct arena *arena, const struct gene *gene, int at)
{
    assert(at >= 0 && at < gene->count);
    return gene->labels != NULL ? gene->labels[at]
                                : arena_printf(arena, "%lld", (long long)gene->values[at]);
}

static void genome_print(struct buf *buf, const struct family *family, const struct genome *genome)
{
    buf_puts(buf, family->name);
    for (int i = 0; i < family->gene_count; i++) {
        buf_printf(buf, " %s=", family->genes[i].name);
        value_print(buf, &family->genes[i], genome->at[i]);
    }
}

char *genome_text(struct arena *arena, const struct family *family, const struct genome *genome)
{
    struct buf buf = {0};
    genome_print(&buf, family, genome);
    char *text = arena_text(arena, buf.data, buf.length);
    buf_free(&buf);
    return text;
}

struct hash genome_hash(const struct family *family, const struct genome *genome)
{
    struct buf buf = {0};
    struct hasher hasher;
    genome_print(&buf, family, genome);
    hash_begin(&hasher, "evo genome");
    hash_field(&hasher, "text", buf.data, buf.length);
    buf_free(&buf);
    return hash_end(&hasher);
}

bool family_find_gene(const struct family *family, const char *name, int *gene, struct err *err)
{
    struct buf list = {0};
    *gene = family_gene(family, name);
    if (*gene >= 0)
        return true;
    for (int i = 0; i < family->gene_count; i++)
        buf_printf(&list, " %s", family->genes[i].name);
    err_set(err, ERR_USER, "unknown gene '%.100s'", name);
    err_hint(err, "the genes of %s are%s (see 'evo genes %s')", family->name,
             list.length == 0 ? ": none" : list.data, family->name);
    buf_free(&list);
    return false;
}

bool gene_find_value(const struct gene *gene, const char *text, int *at, struct err *err)
{
    struct buf list = {0};
    int64_t number = 0;
    bool comparable = gene->labels != NULL || str_to_i64(text, &number);
    for (int i = 0; i < gene->count && comparable; i++) {
        if (gene->labels != NULL ? strcmp(gene->labels[i], text) == 0 : gene->values[i] == number) {
            *at = i;
            return true;
        }
    }
    for (int i = 0; i < gene->count; i++) {
        buf_puts(&list, " ");
        value_print(&list, gene, i);
    }
    err_set(err, ERR_USER, "gene '%s' has no value '%.100s'", gene->name, text);
    err_hint(err, "the values of %s are%s", gene->name, list.data);
    buf_free(&list);
    return false;
}

/* The next blank-separated piece of the text; false at its end. */
static bool next_piece(const char **text, struct buf *piece)
{
    static const char blanks[] = " \t\n";
    size_t length;
    *text += strspn(*text, blanks);
    length = strcspn(*text, blanks);
    buf_clear(piece);
    buf_add(piece, *text, length);
    *text += length;
    return length > 0;
}

bool genome_parse(const struct family *family, const char *text, struct genome *genome,
                  struct err *err)
{
    struct genome parsed = *genome;
    bool named[GENES_MAX] = {false};
    struct buf piece = {0};
    bool ok = true;
    while (ok && next_piece(&text, &piece)) {
        char *equals = strchr(piece.data, '=');
        int gene, at;
        if (equals == NULL) {
            ok = err_set(err, ERR_USER, "expected GENE=value, not '%.100s'", piece.data);
            break;
        }
        *equals = '\0';
        ok = family_find_gene(family, piece.data, &gene, err) &&
             gene_find_value(&family->genes[gene], equals + 1, &at, err);
        if (ok && named[gene])
            ok = err_set(err, ERR_USER, "gene '%s' is named twice", piece.data);
        if (ok) {
            named[gene] = true;
            parsed.at[gene] = (uint8_t)at;
        }
    }
    buf_free(&piece);
    if (ok)
        *genome = parsed;
    return ok;
}

/* Feasibility ---------------------------------------------------------------------------------- */

static bool has_labels(const struct family *family, int gene)
{
    return family->space == NULL && family->genes[gene].kind == GENE_CHOICE;
}

/* Where the value array says that the choice fell on this value. */
static int label_slot(const struct family *family, int gene, int at)
{
    return family->gene_slots[gene] + 1 + family->declared[gene][at];
}

static void set_gene(const struct family *family, int64_t *values, int gene, int at)
{
    assert(at < family->genes[gene].count);
    if (family->genes[gene].kind == GENE_CHOICE)
        values[family->gene_slots[gene]] = family->declared[gene][at];
    else
        values[family->gene_slots[gene]] = family->genes[gene].values[at];
    if (has_labels(family, gene))
        values[label_slot(family, gene, at)] = 1;
}

static void set_givens(const struct family *family, int64_t *values, const struct givens *givens)
{
    memset(values, 0, (size_t)family->symbols->count * sizeof *values);
    for (int i = 0; i < GIVEN_COUNT; i++)
        if (family->given_slots[i] >= 0)
            values[family->given_slots[i]] = givens->values[i];
}

static bool let_eval(const struct let *let, int64_t *values, struct err *err)
{
    int64_t value;
    if (!expr_eval(let->expr, values, &value, err))
        return false;
    if (value < INT32_MIN || value > INT32_MAX)
        return err == NULL ? false
                           : err_set(err, ERR_USER, "%lld does not fit an int", (long long)value);
    values[let->slot] = value;
    return true;
}

static bool refuse_value(struct refusal *refusal, const char *name, const struct expr *expr,
                         const int64_t *values, const struct err *why)
{
    struct arena *arena = arena_new();
    refusal->require = NULL;
    snprintf(refusal->text, sizeof refusal->text, "%s cannot be computed: %s in %s (%s)", name,
             why->what, expr_filled(arena, expr, values), expr_text(expr));
    arena_free(arena);
    return false;
}

/* "doc: 270336 <= 232448 is false (SMEM_BYTES <= DEVICE_SMEM_MAX; SMEM_BYTES = 4 * 64 * 1056)" */
static bool refuse_require(struct refusal *refusal, const struct family *family,
                           const struct requirement *require, const int64_t *values)
{
    struct arena *arena = arena_new();
    struct buf text = {0};
    refusal->require = require;
    buf_printf(&text, "%s: %s is false (%s", require->doc,
               expr_filled(arena, require->expr, values), expr_text(require->expr));
    for (int i = 0; i < family->let_count; i++) {
        const struct let *let = &family->lets[i];
        if (expr_reads(require->expr, let->slot))
            buf_printf(&text, "; %s = %s", let->name, expr_filled(arena, let->expr, values));
    }
    buf_puts(&text, ")");
    snprintf(refusal->text, sizeof refusal->text, "%s", text.data);
    buf_free(&text);
    arena_free(arena);
    return false;
}

static bool let_holds(const struct let *let, int64_t *values, struct refusal *refusal)
{
    struct err err;
    if (let_eval(let, values, refusal == NULL ? NULL : &err))
        return true;
    return refusal == NULL ? false : refuse_value(refusal, let->name, let->expr, values, &err);
}

static bool require_holds(const struct family *family, const struct requirement *require,
                          const int64_t *values, struct refusal *refusal)
{
    struct err err;
    int64_t value;
    if (!expr_eval(require->expr, values, &value, refusal == NULL ? NULL : &err))
        return refusal == NULL ? false
                               : refuse_value(refusal, require->doc, require->expr, values, &err);
    if (value == 0)
        return refusal == NULL ? false : refuse_require(refusal, family, require, values);
    return true;
}

static bool numerics_holds(const struct family *family, const int64_t *values,
                           struct refusal *refusal)
{
    struct err err;
    int64_t value;
    if (family->numerics == NULL)
        return true;
    bool computed = expr_eval(family->numerics, values, &value, refusal == NULL ? NULL : &err);
    if (computed && (value == 0 || value == 1))
        return true;
    if (refusal == NULL)
        return false;
    if (computed)
        err_set(&err, ERR_USER, "%lld is neither 0 nor 1", (long long)value);
    return refuse_value(refusal, "EVO_NUMERICS", family->numerics, values, &err);
}

/* Derived values and requirements in the order of the template. */
static bool checks_hold(const struct family *family, int64_t *values, struct refusal *refusal)
{
    int let = 0, require = 0;
    while (let < family->let_count || require < family->require_count) {
        bool is_let =
            let < family->let_count && (require == family->require_count ||
                                        family->lets[let].line <= family->requires[require].line);
        if (is_let ? !let_holds(&family->lets[let++], values, refusal)
                   : !require_holds(family, &family->requires[require++], values, refusal))
            return false;
    }
    return numerics_holds(family, values, refusal);
}

static bool recorded(const struct family *family, const struct genome *genome,
                     struct refusal *refusal)
{
    uint8_t at[SPACE_PARAMS_MAX] = {0};
    for (int i = 0; i < family->gene_count; i++)
        at[i] = family->declared[i][genome->at[i]];
    if (space_find(family->space, at) != NULL)
        return true;
    if (refusal != NULL) {
        refusal->require = NULL;
        snprintf(refusal->text, sizeof refusal->text, "the recording '%s' does not hold it",
                 family->space->name);
    }
    return false;
}

bool family_feasible(const struct family *family, const struct genome *genome,
                     const struct givens *givens, int64_t *values, struct refusal *refusal)
{
    set_givens(family, values, givens);
    for (int i = 0; i < family->gene_count; i++)
        set_gene(family, values, i, genome->at[i]);
    return family->space != NULL ? recorded(family, genome, refusal)
                                 : checks_hold(family, values, refusal);
}

int family_numerics(const struct family *family, const int64_t *values)
{
    int64_t value = 0;
    if (family->numerics != NULL && !expr_eval(family->numerics, values, &value, NULL))
        assert(!"a feasible genome has numerics");
    return value != 0;
}

/* Counting ------------------------------------------------------------------------------------- */

/*
 * Genes are fixed one after another, and each check is made as soon as every gene it reads (through
 * derived values too) is fixed: when it fails, all genomes that begin so are infeasible at once.
 * When no checks remain, all that begin so are feasible. The order of genes is chosen so that
 * checks come early: always those of the check with the fewest combinations still open.
 */
struct check {
    const struct let *let; /* NULL: a requirement; both NULL: the numerics */
    const struct requirement *require;
    uint32_t genes;
};

enum { CHECKS_MAX = FAMILY_LETS_MAX + FAMILY_REQUIRES_MAX + 1 };

struct counting {
    const struct family *family;
    int64_t *values;
    struct check checks[CHECKS_MAX]; /* those of level n in [start[n], start[n + 1]) */
    int start[GENES_MAX + 2];
    int order[GENES_MAX + 1];     /* the gene that a level fixes; level 0 fixes none */
    int64_t below[GENES_MAX + 1]; /* genomes that begin alike at this level */
    int levels;
    int64_t limit, looked, feasible, total;
};

static int64_t times(int64_t a, int64_t b)
{
    return __builtin_mul_overflow(a, b, &a) ? INT64_MAX : a;
}

static void add(int64_t *sum, int64_t count)
{
    if (__builtin_add_overflow(*sum, count, sum))
        *sum = INT64_MAX;
}

/* The genes that an expression depends on, as bits. */
static uint32_t genes_read(const struct family *family, const struct expr *expr,
                           const uint32_t *let_genes, int let_count)
{
    uint32_t genes = 0;
    for (int i = 0; i < family->gene_count; i++) {
        int slot = family->gene_slots[i];
        bool reads = expr_reads(expr, slot);
        const char *prefix = family->symbols->names[slot]; /* "Name=", when it has labels */
        while (has_labels(family, i) && !reads && ++slot < family->symbols->count &&
               str_starts(family->symbols->names[slot], prefix))
            reads = expr_reads(expr, slot);
        genes |= (uint32_t)reads << i;
    }
    for (int i = 0; i < let_count; i++) /* those above */
        if (expr_reads(expr, family->lets[i].slot))
            genes |= let_genes[i];
    return genes;
}

/* Every check with the genes it depends on, in the order of the template. */
static int list_checks(const struct family *family, struct check *checks)
{
    uint32_t let_genes[FAMILY_LETS_MAX];
    int count = 0, let = 0, require = 0;
    while (let < family->let_count || require < family->require_count) {
        struct check *check = &checks[count++];
        *check = (struct check){0};
        if (let < family->let_count && (require == family->require_count ||
                                        family->lets[let].line <= family->requires[require].line)) {
            check->let = &family->lets[let];
            check->genes = let_genes[let] = genes_read(family, check->let->expr, let_genes, let);
            let++;
        } else {
            check->require = &family->requires[require++];
            check->genes = genes_read(family, check->require->expr, let_genes, let);
        }
    }
    if (family->numerics != NULL)
        checks[count++] =
            (struct check){.genes = genes_read(family, family->numerics, let_genes, let)};
    return count;
}

/* How many ways there are to fix those of `genes` that are not `fixed`. */
static int64_t ways(const struct family *family, uint32_t genes, uint32_t fixed)
{
    int64_t product = 1;
    for (int i = 0; i < family->gene_count; i++)
        if ((genes & ~fixed) >> i & 1)
            product = times(product, family->genes[i].count);
    return product;
}

/* The genes of the check that is cheapest to complete; 0: all are complete. */
static uint32_t next_genes(const struct family *family, const struct check *checks, int count,
                           uint32_t fixed)
{
    uint32_t best = 0;
    for (int i = 0; i < count; i++) {
        uint32_t genes = checks[i].genes & ~fixed;
        if (genes != 0 && (best == 0 || ways(family, genes, 0) < ways(family, best, 0)))
            best = genes;
    }
    return best;
}

/* Chooses the order of genes and sorts the checks by the level that completes them. */
static void plan_count(struct counting *counting)
{
    const struct family *family = counting->family;
    struct check checks[CHECKS_MAX];
    int count = list_checks(family, checks), taken = 0;
    uint32_t fixed[GENES_MAX + 1] = {0}, genes; /* after each level */
    while ((genes = next_genes(family, checks, count, fixed[counting->levels])) != 0) {
        for (int i = 0; i < family->gene_count; i++) {
            if ((genes >> i & 1) == 0)
                continue;
            fixed[counting->levels + 1] = fixed[counting->levels] | (uint32_t)1 << i;
            counting->order[++counting->levels] = i;
        }
    }
    for (int level = 0; level <= counting->levels; level++) {
        counting->start[level] = taken;
        counting->below[level] = ways(family, UINT32_MAX, fixed[level]);
        for (int i = 0; i < count; i++) {
            bool before = level > 0 && (checks[i].genes & ~fixed[level - 1]) == 0;
            if (!before && (checks[i].genes & ~fixed[level]) == 0)
                counting->checks[taken++] = checks[i];
        }
    }
    counting->start[counting->levels + 1] = taken;
}

static bool level_holds(struct counting *counting, int level)
{
    const struct family *family = counting->family;
    for (int i = counting->start[level]; i < counting->start[level + 1]; i++) {
        const struct check *check = &counting->checks[i];
        bool holds = check->let != NULL ? let_holds(check->let, counting->values, NULL)
                     : check->require != NULL
                         ? require_holds(family, check->require, counting->values, NULL)
                         : numerics_holds(family, counting->values, NULL);
        if (!holds)
            return false;
    }
    return true;
}

/* Counts the genomes that begin as the values of the levels up to this one say. */
static bool count_level(struct counting *counting, int level)
{
    if (counting->looked++ >= counting->limit)
        return false;
    bool holds = level_holds(counting, level);
    if (!holds || level == counting->levels) {
        add(&counting->total, counting->below[level]);
        if (holds)
            add(&counting->feasible, counting->below[level]);
        return true;
    }
    const struct family *family = counting->family;
    int gene = counting->order[level + 1];
    bool whole = true;
    for (int at = 0; at < family->genes[gene].count && whole; at++) {
        set_gene(family, counting->values, gene, at);
        whole = count_level(counting, level + 1);
        if (has_labels(family, gene))
            counting->values[label_slot(family, gene, at)] = 0;
    }
    return whole;
}

/* A recording is counted by its rows: those whose values are all kept. */
static bool count_rows(const struct family *family, int64_t limit, int64_t *feasible)
{
    bool kept[GENES_MAX][GENE_VALUES_MAX] = {{false}};
    for (int i = 0; i < family->gene_count; i++)
        for (int j = 0; j < family->genes[i].count; j++)
            kept[i][family->declared[i][j]] = true;
    for (int64_t row = 0; row < family->space->row_count; row++) {
        if (row == limit)
            return false;
        bool all = true;
        for (int i = 0; i < family->gene_count && all; i++)
            all = kept[i][family->space->rows[row].at[i]];
        *feasible += all;
    }
    return true;
}

bool family_count(const struct family *family, const struct givens *givens, int64_t limit,
                  int64_t *feasible, int64_t *total)
{
    if (family->space != NULL) {
        *feasible = 0;
        *total = ways(family, UINT32_MAX, 0);
        return count_rows(family, limit, feasible);
    }
    struct counting counting = {.family = family, .limit = limit};
    counting.values = xcalloc((size_t)family->symbols->count, sizeof *counting.values);
    set_givens(family, counting.values, givens);
    plan_count(&counting);
    bool whole = count_level(&counting, 0);
    free(counting.values);
    *feasible = counting.feasible;
    *total = counting.total;
    return whole;
}

/* The program ---------------------------------------------------------------------------------- */

/* The text with every EVO_IS(...) replaced by what it is for these values. */
static const char *settle(struct arena *arena, const struct family *family, const char *text,
                          const int64_t *values)
{
    static const char word[] = "EVO_IS";
    struct buf out = {0};
    const char *is;
    while ((is = strstr(text, word)) != NULL) {
        char key[2 * FAMILY_NAME_MAX + 2];
        size_t length = 0;
        buf_add(&out, text, (size_t)(is - text));
        /* the parser has seen "EVO_IS ( Name , label )": the key is what is not a sign or a blank
         */
        for (text = is + sizeof word - 1; *text != ')'; text++)
            if (strchr(" (", *text) == NULL && length < sizeof key)
                key[length++] = *text == ',' ? '=' : *text;
        text++;
        int slot = symbols_find(family->symbols, key, length);
        assert(slot >= 0);
        buf_puts(&out, values[slot] != 0 ? "1" : "0");
    }
    buf_puts(&out, text);
    const char *settled = arena_text(arena, out.data, out.length);
    buf_free(&out);
    return settled;
}

static void settle_texts(struct arena *arena, const struct family *family, const int64_t *values,
                         struct program *program)
{
    for (int i = 0; i < program->kernel_count; i++) {
        struct program_kernel *kernel = &program->kernels[i];
        for (int j = 0; j < 3; j++)
            kernel->grid[j] = settle(arena, family, kernel->grid[j], values);
        kernel->threads = settle(arena, family, kernel->threads, values);
        kernel->smem = settle(arena, family, kernel->smem, values);
    }
    for (int i = 0; i < program->workspace_count; i++)
        program->workspaces[i].bytes = settle(arena, family, program->workspaces[i].bytes, values);
    for (int i = 0; i < program->map_count; i++) {
        struct program_map *map = &program->maps[i];
        map->columns = settle(arena, family, map->columns, values);
        map->rows = settle(arena, family, map->rows, values);
        map->swizzle = settle(arena, family, map->swizzle, values);
    }
    for (int i = 0; i < program->supports_count; i++)
        program->supports[i].condition =
            settle(arena, family, program->supports[i].condition, values);
}

bool family_program(struct arena *arena, const struct family *family, const int64_t *values,
                    struct program *program, struct err *err)
{
    struct program_constant constants[GENES_MAX + GIVEN_COUNT + FAMILY_LETS_MAX];
    int count = 0;
    *program = family->program;
    if (family->numerics != NULL) {
        int64_t numerics;
        if (!expr_eval(family->numerics, values, &numerics, err))
            return err_in(err, "family '%s': EVO_NUMERICS", family->name);
        program->numerics = numerics != 0;
    }
    for (int i = 0; i < family->gene_count; i++)
        constants[count++] =
            (struct program_constant){family->genes[i].name, values[family->gene_slots[i]]};
    for (int i = 0; i < GIVEN_COUNT; i++)
        if (family->given_slots[i] >= 0)
            constants[count++] =
                (struct program_constant){given_names[i], values[family->given_slots[i]]};
    for (int i = 0; i < family->let_count; i++)
        constants[count++] =
            (struct program_constant){family->lets[i].name, values[family->lets[i].slot]};
    program->constants = arena_copy(arena, constants, (size_t)count * sizeof constants[0]);
    program->constant_count = count;
    settle_texts(arena, family, values, program);
    return true;
}
