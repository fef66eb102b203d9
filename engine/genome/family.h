/*
 * family -- one template, as its .cu file declares it.
 *
 * A template is CUDA C++ in which a few words are macros (templates/include/evo.cuh) that the
 * compiler and this parser read alike; docs/TEMPLATES.md is the author's guide. Words stand at file
 * scope below #include "evo.cuh", launches last; declarations may stand between them:
 *
 *     EVO_GIVEN(NAME, "doc")                    a constant of the problem or device (enum given)
 *     EVO_GENE(NAME, domain, "doc")             range(lo, hi, step) pow2(lo, hi) set(a, b, …) flag
 *     EVO_CHOICE(Name, (label, …), "doc")       one of several C++ types
 *     EVO_LET(NAME, expr, "doc")                a derived constant
 *     EVO_REQUIRE(expr, "doc")                  must hold, or the genome is infeasible
 *     EVO_SUPPORTS(expr, "doc")                 must hold for a shape, or the family refuses it
 *     EVO_NUMERICS(expr)                        0: FP32 accumulation, 1: FP16 (a class of its own)
 *     EVO_WORKSPACE(name, bytes, kind, "doc")   scratch memory: poison, zero_call, zero_once
 *     EVO_TENSOR_MAP(name, tensor, (columns, rows), swizzle, "doc")
 *                                               of Q, K, V or O, for the hardware's copies of tiles
 *     EVO_LAUNCH(kernel, (x[, y[, z]]), threads, smem_bytes, (arg, …))
 *                                               repeated: several kernels in a row make one call
 *
 * Expressions are base/expr; a name must be declared above its use. EVO_IS(Name, label) is 1 when
 * the choice fell on the label. Launch variables (problem.h) may appear in EVO_SUPPORTS,
 * EVO_WORKSPACE and EVO_LAUNCH only. Arguments: Q K V O LSE problem, or the name of a workspace or
 * of a tensor map.
 *
 * A family may also have no source at all: a recorded search space (fitness/space.h) whose genomes
 * are feasible exactly when the recording holds them.
 *
 * Everything is parsed once into the caller's arena and then read only. Errors are located:
 * "templates/x.cu:12:9: ...".
 */
#ifndef EVO_GENOME_FAMILY_H
#define EVO_GENOME_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/expr.h"
#include "base/hash.h"
#include "fitness/plan.h"
#include "genome/gene.h"

enum {
    FAMILY_BYTES_MAX = 256 * 1024, /* of a template's text */
    FAMILY_LETS_MAX = 64,
    FAMILY_REQUIRES_MAX = 64, /* those that tensor maps bring along included */
    FAMILY_LABELS_MAX = 32, /* of a template's choice: each has a slot in every value array */
    FAMILY_NAME_MAX = 63,   /* bytes of a gene's, label's or kernel's name */
    FAMILY_SYMBOLS_MAX = 512, /* names a template may declare, labels of choices included */
};

/* What a problem and a device fix for every genome. */
enum given {
    GIVEN_HEAD_DIM, /* HEAD_DIM: columns of Q, K and V */
    GIVEN_CAUSAL,   /* CAUSAL: 1 when query i sees keys up to its own (bottom right aligned) */
    GIVEN_BF16,     /* BF16: 1 for bfloat16 inputs and output, 0 for half */
    GIVEN_LSE,      /* LSE: 1 when the log-sum-exp of each row is asked for */
    GIVEN_DEVICE_SMEM_MAX, /* DEVICE_SMEM_MAX: bytes of shared memory a block may ask for */
    GIVEN_DEVICE_ARCH,     /* DEVICE_ARCH: compute capability times ten: 80, 90, 120 */
    GIVEN_COUNT,
};

extern const char *const given_names[GIVEN_COUNT];

struct givens {
    int64_t values[GIVEN_COUNT];
};

struct let {
    const char *name, *doc;
    struct expr *expr;
    int slot, line;
};

struct requirement {
    struct expr *expr;
    const char *doc;
    int line;
};

struct space;

struct family {
    const char *name;  /* attention_tiled */
    const char *title; /* the first sentence of the head comment */
    const char *path;  /* for messages */
    const char *text;  /* the template as written; NULL for a recorded space */
    size_t text_bytes;
    const struct space *space; /* the recording that stands in for a source, or NULL */

    struct gene genes[GENES_MAX];
    int gene_count;
    struct let lets[FAMILY_LETS_MAX];
    int let_count;
    struct requirement requires[FAMILY_REQUIRES_MAX];
    int require_count;
    struct expr *numerics; /* NULL: 0 */
    struct program program; /* launches and what they take, supported shapes; no constants */
    const char *map_docs[PROGRAM_MAPS_MAX];

    struct symbols *symbols; /* genes, givens, choice labels, lets: the slots of a value array */
    int gene_slots[GENES_MAX];    /* of a choice: its index; its labels' slots follow at once */
    int given_slots[GIVEN_COUNT]; /* -1: the template does not name it */
    const uint8_t *declared[GENES_MAX]; /* where each value stood before any family_restrict */
};

/* Parses a template's text. `name` is the file's name without .cu. */
bool family_parse(struct arena *arena, const char *name, const char *path, const char *text,
                  size_t length, struct family **family, struct err *err);
/* A family over a recorded space. */
bool family_of_space(struct arena *arena, const struct space *space, struct family **family,
                     struct err *err);
/*
 * A copy of `family` in which a gene keeps only the named values (numbers as decimal, labels of a
 * choice). ERR_USER when the gene or a value is unknown, listing what there is.
 */
bool family_restrict(struct arena *arena, const struct family *family, const char *gene,
                     const char *const *values, int count, struct family **out, struct err *err);

int family_gene(const struct family *family, const char *name); /* index, or -1 */
/* What a text names; ERR_USER lists what there is. */
bool family_find_gene(const struct family *family, const char *name, int *gene, struct err *err);
bool gene_find_value(const struct gene *gene, const char *text, int *at, struct err *err);

/* Why a genome is infeasible; `require` is NULL when a derived value could not be computed. */
struct refusal {
    const struct requirement *require;
    /* "K and V must fit: 65536 <= 49152 is false (SMEM <= SMEM_MAX; SMEM = 2 * 128 * 64 * 4)" */
    char text[512];
};

/*
 * Fills the value of every symbol (values has room for family->symbols->count) and checks every
 * requirement. False: infeasible; refusal, when not NULL, says why. Without refusal it does not
 * allocate and takes well under a microsecond.
 */
bool family_feasible(const struct family *family, const struct genome *genome,
                     const struct givens *givens, int64_t *values, struct refusal *refusal);
/* 0: FP32 accumulation, 1: FP16; values as family_feasible filled them. */
int family_numerics(const struct family *family, const int64_t *values);

/*
 * Counts feasible genomes: *feasible of *total. Genomes that share a verdict are counted together;
 * after looking at `limit` genomes or beginnings of genomes it gives up and returns false, the
 * counts being those so far. Counts above INT64_MAX stay there.
 */
bool family_count(const struct family *family, const struct givens *givens, int64_t limit,
                  int64_t *feasible, int64_t *total);

/*
 * The program with this genome's constants (genes, a choice as its index; the givens named; lets):
 * what a judge needs to launch it. EVO_IS(...) in its texts is replaced by 0 or 1, so that they are
 * plain expressions over the constants and the launch variables. A recorded space has no kernels.
 */
bool family_program(struct arena *arena, const struct family *family, const int64_t *values,
                    struct program *program, struct err *err);

/* Text forms; see gene.h. The index of `family` among the run's is the caller's to set. */
char *genome_text(struct arena *arena, const struct family *family, const struct genome *genome);
/* The genes alone: "BLOCK_M=32 BLOCK_N=64". Genes not named keep what *genome holds. */
bool genome_parse(const struct family *family, const char *text, struct genome *genome,
                  struct err *err);
struct hash genome_hash(const struct family *family, const struct genome *genome);
/* The value as text: "32", "softmax_exp2". */
const char *gene_value_text(struct arena *arena, const struct gene *gene, int at);

#endif
