/*
 * A rendered source, byte for byte:
 *
 *     // evo: attention_tiled BLOCK_M=32 EXP=softmax_exp2
 *     #define EVO_VALUE_HEAD_DIM 64              givens in the order of enum given, then genes
 *     #define EVO_VALUE_BLOCK_M 32
 *     #line 1 "attention_tiled.cu"
 *     ... the template; an #include "x.cuh" line becomes, the first time,
 *     #line 1 "include/x.cuh"
 *     ... that file, and then
 *     #line 12 "attention_tiled.cu"              and later times, as #pragma once, an empty line
 */
#include "genome/render.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "genome/scan.h"

/* The set -------------------------------------------------------------------------------------- */

struct template_set *template_set_new(struct arena *arena)
{
    struct template_set *set = arena_alloc(arena, sizeof *set);
    set->arena = arena;
    return set;
}

const struct template_file *template_set_find(const struct template_set *set, const char *name)
{
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->files[i].name, name) == 0)
            return &set->files[i];
    return NULL;
}

void template_set_add(struct template_set *set, const char *name, const char *path,
                      const char *text, size_t length)
{
    if (template_set_find(set, name) != NULL)
        return;
    if (set->count == set->room) {
        int room = set->room == 0 ? 16 : 2 * set->room;
        struct template_file *files = arena_alloc(set->arena, (size_t)room * sizeof *files);
        if (set->count > 0)
            memcpy(files, set->files, (size_t)set->count * sizeof *files);
        set->files = files;
        set->room = room;
    }
    set->files[set->count++] =
        (struct template_file){arena_dup(set->arena, name), arena_dup(set->arena, path),
                               arena_text(set->arena, text, length), length};
}

static bool ends(const char *name, const char *with)
{
    size_t length = strlen(name), tail = strlen(with);
    return length > tail && strcmp(name + length - tail, with) == 0;
}

/* Names stand in genomes, #line and messages: no blank, no quote, no path. */
static bool is_plain(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") ==
           strlen(name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The folder's files with this ending, sorted: the order of a directory is chance. */
static bool list_folder(struct arena *arena, const char *folder, const char *ending, char ***names,
                        int *count, struct err *err)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    int room = 0;
    bool ok = true;
    *names = NULL;
    *count = 0;
    if (directory == NULL)
        return err_sys(err, "cannot read the folder '%s'", folder);
    while (ok && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || !ends(entry->d_name, ending))
            continue;
        if (!is_plain(entry->d_name)) {
            ok = err_set(err, ERR_USER, "'%s/%s' is not a name for a template", folder,
                         entry->d_name);
            err_hint(err, "letters, digits, '_', '-' and '.' are");
            break;
        }
        if (*count == room) {
            room = room == 0 ? 16 : 2 * room;
            *names = xrealloc(*names, (size_t)room * sizeof **names);
        }
        (*names)[(*count)++] = arena_dup(arena, entry->d_name);
    }
    closedir(directory);
    if (*count > 1)
        qsort(*names, (size_t)*count, sizeof **names, by_name);
    return ok;
}

/* Adds folder/x under the name prefix + x. */
static bool load_folder(struct template_set *set, const char *folder, const char *prefix,
                        const char *ending, int *count, struct err *err)
{
    struct buf text = {0};
    char **names;
    bool ok = list_folder(set->arena, folder, ending, &names, count, err);
    for (int i = 0; i < *count && ok; i++) {
        const char *path = arena_printf(set->arena, "%s/%s", folder, names[i]);
        buf_clear(&text);
        ok = file_read(path, FAMILY_BYTES_MAX, &text, err);
        if (ok)
            template_set_add(set, arena_printf(set->arena, "%s%s", prefix, names[i]), path,
                             text.data == NULL ? "" : text.data, text.length);
    }
    buf_free(&text);
    free(names);
    return ok;
}

/* Adds folder/include/x.cuh; a folder without them is fine. */
static bool load_includes(struct template_set *set, const char *folder, int *count,
                          struct err *err)
{
    const char *include = arena_printf(set->arena, "%s/include", folder);
    struct stat status;
    *count = 0;
    return stat(include, &status) != 0 || !S_ISDIR(status.st_mode) ||
           load_folder(set, include, "include/", ".cuh", count, err);
}

bool template_set_load_file(struct template_set *set, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *folder =
        slash == NULL ? "." : arena_text(set->arena, path, (size_t)(slash - path) + 1);
    struct buf text = {0};
    int includes;
    if (!ends(name, ".cu") || !is_plain(name)) {
        err_set(err, ERR_USER, "'%s' is not a name for a template", path);
        return err_hint(err, "NAME.cu is, of letters, digits, '_', '-' and '.'");
    }
    if (!file_read(path, FAMILY_BYTES_MAX, &text, err))
        return false;
    template_set_add(set, name, path, text.data, text.length);
    buf_free(&text);
    return load_includes(set, folder, &includes, err);
}

bool template_set_load(struct template_set *set, const char *folder, struct err *err)
{
    int templates, includes;
    struct stat status;
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)) {
        err_set(err, ERR_USER, "there is no folder of templates '%s'", folder);
        return err_hint(err, "it holds NAME.cu files, and their includes in include/");
    }
    if (!load_folder(set, folder, "", ".cu", &templates, err))
        return false;
    if (!load_includes(set, folder, &includes, err))
        return false;
    if (templates + includes == 0) {
        err_set(err, ERR_USER, "the folder '%s' holds no templates", folder);
        return err_hint(err, "it holds NAME.cu files, and their includes in include/");
    }
    return true;
}

/* folder when it holds include/evo.cuh, tidied; else NULL. */
static const char *real_templates(struct arena *arena, const char *folder)
{
    char real[PATH_MAX];
    if (access(arena_printf(arena, "%s/include/evo.cuh", folder), R_OK) != 0 ||
        realpath(folder, real) == NULL)
        return NULL;
    return arena_dup(arena, real);
}

const char *templates_folder(struct arena *arena, struct err *err)
{
    static const char *const places[] = {"../../../templates", "../share/evo/templates"};
    const char *asked = getenv("EVO_TEMPLATES"), *found = NULL;
    char self[PATH_MAX];
    if (asked != NULL && asked[0] != '\0') {
        found = real_templates(arena, asked);
        if (found == NULL) {
            err_set(err, ERR_USER, "EVO_TEMPLATES is '%s', which has no include/evo.cuh", asked);
            err_hint(err, "unset it, or let it name a folder of templates");
        }
        return found;
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) {
        err_sys(err, "cannot tell where this program is");
        return NULL;
    }
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0] && found == NULL; i++)
        found = real_templates(arena, arena_printf(arena, "%s/%s", self, places[i]));
    if (found == NULL) {
        err_set(err, ERR_USER, "there are no templates beside '%s'", self);
        err_hint(err, "set EVO_TEMPLATES to the folder that holds include/evo.cuh");
    }
    return found;
}

bool template_set_family(const struct template_set *set, const char *name, struct family **family,
                         struct err *err)
{
    const struct template_file *file =
        template_set_find(set, arena_printf(set->arena, "%s.cu", name));
    struct buf list = {0};
    if (file != NULL && strchr(name, '/') == NULL)
        return family_parse(set->arena, name, file->path, file->text, file->length, family, err);
    for (int i = 0; i < set->count; i++)
        if (ends(set->files[i].name, ".cu"))
            buf_printf(&list, " %.*s", (int)strlen(set->files[i].name) - 3, set->files[i].name);
    err_set(err, ERR_USER, "unknown family '%s'", name);
    err_hint(err, "the families are%s", list.length == 0 ? ": none" : list.data);
    buf_free(&list);
    return false;
}

/* Rendering ------------------------------------------------------------------------------------ */

struct rendering {
    struct arena *arena; /* of this rendering: a run renders for days */
    const struct template_set *set;
    struct buf *source;
    size_t start; /* of this source in the buffer */
    const struct template_file *included[RENDER_INCLUDES_MAX];
    int included_count;
    struct err *err;
};

static bool render_file(struct rendering *rendering, const struct template_file *file);

static bool mistake(struct rendering *rendering, const struct template_file *file, size_t at,
                    const char *what, const char *name)
{
    int line, column;
    scan_place(file->text, at, &line, &column);
    return err_set(rendering->err, ERR_USER, "%s:%d:%d: %s%s", file->path, line, column, what,
                   name);
}

static bool put(struct rendering *rendering, const char *text, size_t length)
{
    buf_add(rendering->source, text, length);
    return rendering->source->length - rendering->start <= RENDER_BYTES_MAX ||
           err_set(rendering->err, ERR_USER, "the rendered source is longer than %d bytes",
                   RENDER_BYTES_MAX);
}

/* Puts the text of an include in the place of its line, which ends at `end` of the parent. */
static bool render_include(struct rendering *rendering, const struct template_file *parent,
                           size_t at, size_t length, size_t end)
{
    char *name = arena_printf(rendering->arena, "include/%.*s", (int)length, parent->text + at);
    const struct template_file *file = template_set_find(rendering->set, name);
    int line, column;
    if (file == NULL) {
        mistake(rendering, parent, at, "there is no ", name);
        return err_hint(rendering->err,
                        "a template's own includes stand in include/; the toolkit's are written "
                        "#include <...>");
    }
    for (int i = 0; i < rendering->included_count; i++)
        if (rendering->included[i] == file)
            return true;
    if (rendering->included_count == RENDER_INCLUDES_MAX)
        return mistake(rendering, parent, at, "too many includes at ", name);
    rendering->included[rendering->included_count++] = file;
    buf_printf(rendering->source, "#line 1 \"%s\"\n", file->name);
    if (!render_file(rendering, file))
        return false;
    scan_place(parent->text, end, &line, &column);
    buf_printf(rendering->source, "#line %d \"%s\"", line + 1, parent->name);
    return true;
}

/* The file with its includes in place, ending in a line end. */
static bool render_file(struct rendering *rendering, const struct template_file *file)
{
    struct scan scan = {file->text, file->length, 0, false};
    size_t done = 0, at, length;
    struct token token;
    const char *nul = memchr(file->text, '\0', file->length);
    if (nul != NULL)
        return mistake(rendering, file, (size_t)(nul - file->text), "a NUL byte", "");
    while ((token = scan_next(&scan)).kind != TOKEN_END) {
        if (token.kind == TOKEN_BAD)
            return mistake(rendering, file, token.at, token.why, "");
        if (token.kind != TOKEN_DIRECTIVE)
            continue;
        bool include = directive_include(file->text, token, &at, &length);
        bool once = token_is(file->text, directive_word(file->text, token), "pragma") &&
                    token.length == strlen("#pragma once") &&
                    memcmp(file->text + token.at, "#pragma once", token.length) == 0;
        if (!include && !once)
            continue;
        if (!put(rendering, file->text + done, token.at - done))
            return false;
        done = token.at + token.length;
        if (include && !render_include(rendering, file, at, length, done))
            return false;
    }
    if (!put(rendering, file->text + done, file->length - done))
        return false;
    return file->length == 0 || file->text[file->length - 1] == '\n' || put(rendering, "\n", 1);
}

static void put_values(struct buf *source, const struct family *family, const struct genome *genome,
                       const struct givens *givens)
{
    for (int i = 0; i < GIVEN_COUNT; i++)
        if (family->given_slots[i] >= 0)
            buf_printf(source, "#define EVO_VALUE_%s %lld\n", given_names[i],
                       (long long)givens->values[i]);
    for (int i = 0; i < family->gene_count; i++) {
        const struct gene *gene = &family->genes[i];
        if (gene->labels != NULL)
            buf_printf(source, "#define EVO_VALUE_%s %s\n", gene->name,
                       gene->labels[genome->at[i]]);
        else
            buf_printf(source, "#define EVO_VALUE_%s %lld\n", gene->name,
                       (long long)gene->values[genome->at[i]]);
    }
}

bool render_source(const struct template_set *set, const struct family *family,
                   const struct genome *genome, const struct givens *givens, struct buf *source,
                   struct err *err)
{
    if (family->text == NULL)
        return err_set(err, ERR_USER, "family '%s' is a recording: it has no source", family->name);
    struct arena *arena = arena_new();
    struct template_file file = {arena_printf(arena, "%s.cu", family->name), family->path,
                                 family->text, family->text_bytes};
    struct rendering rendering = {
        .arena = arena, .set = set, .source = source, .start = source->length, .err = err};
    buf_printf(source, "// evo: %s\n", genome_text(arena, family, genome));
    put_values(source, family, genome, givens);
    buf_printf(source, "#line 1 \"%s\"\n", file.name);
    bool ok = render_file(&rendering, &file);
    if (ok)
        ok = put(&rendering, "", 0); /* the last #line counts too */
    arena_free(arena);
    return ok;
}

struct hash source_hash(const char *text, size_t length)
{
    struct hasher hasher;
    hash_begin(&hasher, "evo source");
    hash_field(&hasher, "text", text, length);
    return hash_end(&hasher);
}
