/*
 * space -- a recorded search space: parameters, every configuration, its time or its failure.
 *
 * The format is plain text, no quoting, LF line ends: lines "# key value" of metadata, among them
 *     # evo-space 1              the format of evo's own recordings; absent in other people's
 *     # space NAME
 *     # family NAME              the template whose genes the parameters are (evo's own recordings)
 *     # device TEXT              must be there
 *     # problem TEXT             evo's own: problem texts (problem.h) separated by blanks;
 *                                problem_size is another word for it
 *     # source TEXT              who recorded it
 *     # arch N  # smem_max N  # sms N     of the device, as in HELLO
 *     # param NAME v1 v2 …       integers in natural order, or labels; in column order
 *     # const NAME v             a parameter with one value, which has no column
 *     # constraint TEXT          what every row meets, over parameters and constants; which rows
 *                                there are is said by the rows alone
 * then a CSV header and a row per configuration: the parameter columns, then
 *     status    ok, compile, runtime, failed (the recorder does not say how), or a verdict's name
 *     time_ms   empty when not ok
 *     sd_ms, compile_ms, verify_ms, bench_ms     optional; may be empty
 * Unknown metadata and unknown columns behind the parameters are ignored; a configuration that
 * stands there twice, or has a value that its parameter does not list, is an error.
 *
 * Times are kept in microseconds. The decimal point is moved in the text, not by a multiplication,
 * so that reading and printing lose no bit: space_print of a parsed space parses to the same rows.
 *
 * Read once, then shared by the engine (which genomes exist) and by evo-judge-replay (what they
 * did). Built row by row by `evo record`. Memory: the caller's arena.
 */
#ifndef EVO_FITNESS_SPACE_H
#define EVO_FITNESS_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "fitness/job.h"

enum {
    SPACE_FORMAT = 1, /* what "# evo-space" says */
    SPACE_BYTES_MAX = 64 << 20,
    SPACE_ROWS_MAX = 1 << 20,
    SPACE_PARAMS_MAX = 32,
    SPACE_VALUES_MAX = 256,
    SPACE_WORD_MAX = 63,     /* bytes of a parameter's name or value */
    SPACE_COLUMNS_MAX = 256, /* of the CSV, the unknown ones included */
    SPACE_NOTES_MAX = 64,    /* constants, and constraints; more are left out */
};

struct space_param {
    const char *name;
    int count;
    const char *const *labels; /* as written */
    const int64_t *values;     /* NULL when a label is not an integer */
};

struct space_row {
    uint8_t at[SPACE_PARAMS_MAX]; /* index of each parameter's value */
    enum verdict verdict;
    double time_us, sd_us;                   /* 0: none; a pass always has a time, others never */
    double compile_ms, verify_ms, bench_ms; /* what trying it cost; 0: not recorded */
};

struct space {
    struct arena *arena;
    const char *name, *device, *problem, *source; /* "" where not known */
    const char *family;               /* "" for other people's spaces */
    int64_t arch, smem_max, sms;      /* 0 where not known */
    struct space_param params[SPACE_PARAMS_MAX];
    int param_count;
    const char *consts[SPACE_NOTES_MAX], *constraints[SPACE_NOTES_MAX]; /* as written */
    int const_count, constraint_count;
    struct space_row *rows; /* in the order recorded */
    int64_t row_count, row_room;
    double optimum_us;  /* the least time of a passing row; 0 when there is none */
    struct hash digest; /* of the file's bytes; zero while a space is being built */
    uint32_t *index;    /* hash table over rows, see space.c */
    uint32_t index_mask;
};

bool space_load(struct arena *arena, const char *path, struct space **space, struct err *err);
/* `path` is for messages, and names a space that does not name itself. */
bool space_parse(struct arena *arena, const char *path, const char *text, size_t length,
                 struct space **space, struct err *err);
/* The row with these value indices, or NULL. */
const struct space_row *space_find(const struct space *space, const uint8_t *at);
/*
 * The row that "NAME=value NAME=value …" names (every parameter once, in any order), or NULL; err
 * says which part is not in the space.
 */
const struct space_row *space_find_text(const struct space *space, const char *genes,
                                        struct err *err);

/*
 * Building one: space_new, then the texts and numbers of the device assigned, then all parameters,
 * then rows. Names and labels are copied; assigned texts must live as long as the arena.
 */
struct space *space_new(struct arena *arena, const char *name);
bool space_add_param(struct space *space, const char *name, const char *const *labels, int count,
                     struct err *err);
bool space_add_row(struct space *space, const struct space_row *row, struct err *err);
/* Appends the canonical file: the same space always gives the same bytes. */
void space_print(const struct space *space, struct buf *out);

#endif
