/*
 * render -- a genome becomes one self-contained CUDA source.
 *
 * The rendered text is: a line naming the genome, a #define EVO_VALUE_NAME for every gene and given
 * of the family, then the template with every #include "x.cuh" (or "include/x.cuh", the same file)
 * replaced by that file's text, each once, #line directives keeping the names in the set and line
 * numbers. #include <...> stays: those are the toolkit's headers. The same inputs give the same
 * bytes, for ever and from any folder: sources are named by hash.
 *
 * A template_set holds the texts of templates and includes in memory: loaded from folders when a
 * run begins, from the database when it goes on, so that a run never changes under an edited file.
 */
#ifndef EVO_GENOME_RENDER_H
#define EVO_GENOME_RENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "genome/family.h"

enum {
    RENDER_BYTES_MAX = 1 << 20,
    RENDER_INCLUDES_MAX = 64, /* files in one source */
};

struct template_file {
    const char *name; /* "attention_tiled.cu", "include/softmax.cuh" */
    const char *path; /* where it was read; for messages */
    const char *text;
    size_t length;
};

struct template_set {
    struct arena *arena;
    struct template_file *files;
    int count, room;
};

struct template_set *template_set_new(struct arena *arena);
/* Adds a file by value; a later file of the same name is ignored (the first folder wins). */
void template_set_add(struct template_set *set, const char *name, const char *path,
                      const char *text, size_t length);
/* Adds every DIR/x.cu and DIR/include/x.cuh, in the order of their names. */
bool template_set_load(struct template_set *set, const char *folder, struct err *err);
/* Adds one file under its own name, and every include/x.cuh beside it. */
bool template_set_load_file(struct template_set *set, const char *path, struct err *err);
const struct template_file *template_set_find(const struct template_set *set, const char *name);

/*
 * The folder of templates: EVO_TEMPLATES in the environment, else the one beside the program (build
 * tree or installation); NULL with err set when there is none. It is known by its include/evo.cuh.
 */
const char *templates_folder(struct arena *arena, struct err *err);

/* Parses the named family out of the set; an unknown name lists those there are. */
bool template_set_family(const struct template_set *set, const char *name, struct family **family,
                         struct err *err);

bool render_source(const struct template_set *set, const struct family *family,
                   const struct genome *genome, const struct givens *givens, struct buf *source,
                   struct err *err);
/* The key under which a rendered source is known. */
struct hash source_hash(const char *text, size_t length);

#endif
