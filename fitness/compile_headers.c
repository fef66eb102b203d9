#include "fitness/compile_headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"

/*
 * The closure of <cuda_fp16.h>, <cuda_bf16.h> and <mma.h> under NVRTC, by the names that the
 * #include lines say and the files they mean: crt/mma.h includes "mma.hpp", its neighbour.
 */
static const char *const embedded_names[HEADERS_EMBEDDED_MAX] = {
    "cuda_fp16.h", "cuda_bf16.h", "mma.h", "crt/mma.h", "mma.hpp",
};
static const char *const embedded_files[HEADERS_EMBEDDED_MAX] = {
    "cuda_fp16.h", "cuda_bf16.h", "mma.h", "crt/mma.h", "crt/mma.hpp",
};

enum { HEADER_BYTES_MAX = 8 << 20 }; /* the largest, cuda.h, has about one */

/* Found and read once. home is "" when there is no toolkit of the right version. */
static struct toolkit {
    bool searched, loaded;
    char home[1024];
    const char *texts[HEADERS_EMBEDDED_MAX];
    struct hash digest;
} toolkit;

static bool read_header(const char *home, const char *name, struct buf *text)
{
    char path[2048];
    struct err err;

    snprintf(path, sizeof path, "%s/include/%s", home, name);
    return file_read(path, HEADER_BYTES_MAX, text, &err);
}

static bool is_version(const char *home, int cuda_version)
{
    static const char define[] = "\n#define CUDA_VERSION ";
    struct buf text = {0};
    const char *line;
    bool same = false;

    if (read_header(home, "cuda.h", &text)) {
        line = strstr(text.data, define);
        same = line != NULL && strtol(line + sizeof define - 1, NULL, 10) == cuda_version;
    }
    buf_free(&text);
    return same;
}

/* What the user says, what the build found, the usual places: the first of the right version. */
static void toolkit_search(int cuda_version)
{
    const char *const homes[] = {getenv("CUDA_HOME"), getenv("CUDA_PATH"), EVO_CUDA_HOME,
                                 "/usr/local/cuda",   "/opt/cuda",         "/usr/lib/cuda",
                                 "/usr"};

    if (toolkit.searched) {
        return;
    }
    toolkit.searched = true;
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++) {
        if (homes[i] != NULL && strlen(homes[i]) < sizeof toolkit.home &&
            is_version(homes[i], cuda_version)) {
            snprintf(toolkit.home, sizeof toolkit.home, "%s", homes[i]);
            return;
        }
    }
    log_line("compile", "no headers of CUDA %d.%d were found; set CUDA_HOME to the toolkit",
             cuda_version / 1000, cuda_version % 1000 / 10);
}

static bool toolkit_load(int cuda_version)
{
    struct hasher hasher;

    toolkit_search(cuda_version);
    if (toolkit.loaded || *toolkit.home == '\0') {
        return toolkit.loaded;
    }
    hash_begin(&hasher, "evo.headers.1");
    for (int i = 0; i < HEADERS_EMBEDDED_MAX; i++) {
        struct buf text = {0};

        if (!read_header(toolkit.home, embedded_files[i], &text)) {
            log_line("compile", "the toolkit in '%s' lacks include/%s", toolkit.home,
                     embedded_files[i]);
            buf_free(&text);
            return false;
        }
        hash_text(&hasher, "name", embedded_names[i]);
        hash_field(&hasher, "text", text.data, text.length);
        toolkit.texts[i] = text.data;
    }
    toolkit.digest = hash_end(&hasher);
    toolkit.loaded = true;
    return true;
}

enum include_kind { INCLUDE_NONE, INCLUDE_EMBEDDED, INCLUDE_TOOLKIT, INCLUDE_FOREIGN };

/* `name` begins behind the word include. */
static enum include_kind include_classify(const char *name)
{
    char closing = *name == '<' ? '>' : '"';
    size_t length = strcspn(name + 1, closing == '>' ? ">\n" : "\"\n");

    if ((*name != '<' && *name != '"') || name[1 + length] != closing) {
        return INCLUDE_FOREIGN; /* a macro */
    }
    for (int i = 0; i < HEADERS_EMBEDDED_MAX; i++) {
        if (strlen(embedded_names[i]) == length &&
            memcmp(embedded_names[i], name + 1, length) == 0) {
            return INCLUDE_EMBEDDED;
        }
    }
    return closing == '>' && name[1] != '/' && strstr(name, "..") == NULL ? INCLUDE_TOOLKIT
                                                                          : INCLUDE_FOREIGN;
}

/* What a line asks for. Lines in comments count too: too much is handed over, never too little. */
static enum include_kind line_classify(const char *line)
{
    static const char *const directives[] = {"include", "import", "embed"};

    line += strspn(line, " \t");
    if (*line != '#' && !str_starts(line, "%:")) {
        return INCLUDE_NONE;
    }
    line += *line == '#' ? 1 : 2;
    line += strspn(line, " \t");
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++) {
        if (str_starts(line, directives[i])) {
            line += strlen(directives[i]);
            return i == 0 ? include_classify(line + strspn(line, " \t")) : INCLUDE_FOREIGN;
        }
    }
    return INCLUDE_NONE;
}

static void use_embedded(int cuda_version, struct headers *headers)
{
    if (toolkit_load(cuda_version)) {
        headers->names = embedded_names;
        headers->texts = toolkit.texts;
        headers->count = HEADERS_EMBEDDED_MAX;
        headers->digest = toolkit.digest;
    }
}

static void use_folder(int cuda_version, struct headers *headers)
{
    static char options[HEADERS_OPTIONS_MAX][sizeof toolkit.home + 32];
    struct hasher hasher;

    toolkit_search(cuda_version);
    if (*toolkit.home == '\0') {
        return;
    }
    snprintf(options[0], sizeof options[0], "-I%s/include", toolkit.home);
    snprintf(options[1], sizeof options[1], "-I%s/include/cccl", toolkit.home);
    for (int i = 0; i < HEADERS_OPTIONS_MAX; i++) {
        headers->options[headers->option_count++] = options[i];
    }
    hash_begin(&hasher, "evo.headers.folder.1");
    hash_text(&hasher, "home", toolkit.home);
    hash_i64(&hasher, "version", cuda_version);
    headers->digest = hash_end(&hasher);
}

void headers_for(const char *source, int cuda_version, struct headers *headers)
{
    enum include_kind most = INCLUDE_NONE;

    *headers = (struct headers){.sealed = true};
    for (const char *line = source; line != NULL;) {
        enum include_kind kind = line_classify(line);

        most = kind > most ? kind : most;
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    if (most == INCLUDE_EMBEDDED) {
        use_embedded(cuda_version, headers);
    } else if (most != INCLUDE_NONE) {
        use_folder(cuda_version, headers);
        headers->sealed = most == INCLUDE_TOOLKIT;
    }
}
