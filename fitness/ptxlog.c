#include "fitness/ptxlog.h"

#include <stdbool.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/*
 * The lines of interest, as NVRTC 13.0 writes them:
 *
 *   k.cu(7): error: identifier "foo" is undefined                            front end
 *   nvrtc: error: unrecognized option -foo found                             front end
 *   ptxas error   : Entry function 'k' uses too much shared data (...)       ptxas, so are
 *   ptxas fatal   : Ptx assembly aborted due to errors
 *   ptxas application ptx input, line 26; error   : Instruction 'wgmma.fence' not supported ...
 *   ptxas application ptx input, line 64; fatal   : (C7406) setmaxnreg.dec has ...
 *   ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async ...  costs speed
 *   ptxas warning : Registers are spilled to local memory in function ...    costs speed
 *   ptxas info    : 4004 bytes gmem, 64 bytes cmem[3]
 *   ptxas info    : Compiling entry function 'k' for 'sm_90a'                begins a kernel
 *   ptxas         .     56 bytes stack frame, 108 bytes spill stores, 128 bytes spill loads
 *   ptxas info    : Used 64 registers, used 1 barriers, 8 bytes smem
 *   ptxas info    : Function properties for f                                a function it calls;
 *                                                       its line of spills follows the kernel's
 */
struct reader {
    struct arena *arena;
    struct ptxlog *facts;
    struct ptxlog_entry *entry; /* the kernel whose block this is; NULL: none */
    char *warnings;             /* PTXLOG_WARNINGS_MAX + 1 bytes */
};

/* The message behind "ptxas info    : ", or NULL when the line is not of that form. */
static const char *message_of(const char *line, const char *start)
{
    const char *colon;

    if (!str_starts(line, start)) {
        return NULL;
    }
    colon = strchr(line + strlen(start), ':');
    if (colon == NULL) {
        return NULL;
    }
    return colon + 1 + strspn(colon + 1, " ");
}

static bool is_front_end_error(const char *line)
{
    static const char *const marks[] = {"): error", "): catastrophic error", "): internal error",
                                        "): fatal error"};

    if (str_starts(line, "nvrtc: error") || str_starts(line, "error:")) {
        return true;
    }
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (strstr(line, marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* "ptx line 26" for errors that name a line of the intermediate code. */
static const char *ptxas_error(struct reader *reader, const char *line)
{
    static const char input[] = "ptxas application ptx input, line ";
    const char *text = message_of(line, "ptxas error"), *error;

    if (text == NULL) {
        text = message_of(line, "ptxas fatal");
    }
    if (text != NULL) {
        return arena_printf(reader->arena, "ptxas: %.*s", PTXLOG_REASON_MAX, text);
    }
    error = str_starts(line, input) ? strstr(line, "; ") : NULL;
    if (error != NULL && ((text = message_of(error, "; error")) != NULL ||
                          (text = message_of(error, "; fatal")) != NULL)) {
        const char *number = line + sizeof input - 1;
        size_t digits = strspn(number, "0123456789");

        return arena_printf(reader->arena, "ptxas: ptx line %.*s: %.*s",
                            (int)(digits < 10 ? digits : 10), number, PTXLOG_REASON_MAX, text);
    }
    return NULL;
}

static void note_error(struct reader *reader, const char *line)
{
    struct ptxlog *facts = reader->facts;
    const char *text;

    if (facts->stage != PTXLOG_NO_ERROR) {
        return; /* the first is the cause, the rest often its echo */
    }
    text = ptxas_error(reader, line);
    if (text != NULL) {
        facts->stage = PTXLOG_PTXAS;
        facts->error = text;
    } else if (is_front_end_error(line)) {
        facts->stage = PTXLOG_FRONT_END;
        facts->error = arena_printf(reader->arena, "%.*s", PTXLOG_REASON_MAX, line);
    }
}

/* Without the pipeline a multiplication is waited for before the next begins: C7509 to C7515. */
static const char SERIALISED[] = "wgmma.mma_async instructions are serialized";

/* ptxas repeats itself: a line that was seen is not added again, nor one that does not fit. */
static void note_warning(struct reader *reader, const char *line)
{
    const char *text = message_of(line, "ptxas warning");
    size_t used = strlen(reader->warnings);

    if (text == NULL) {
        text = message_of(line, "ptxas info");
        if (text == NULL || !str_starts(text, "(C75")) {
            return;
        }
    }
    if (*reader->facts->slow == '\0' && strstr(text, SERIALISED) != NULL) {
        reader->facts->slow = arena_printf(reader->arena, "%.*s", PTXLOG_REASON_MAX, text);
    }
    if (*text == '\0' || strstr(reader->warnings, text) != NULL ||
        used + strlen(text) + 2 > PTXLOG_WARNINGS_MAX) {
        return;
    }
    snprintf(reader->warnings + used, PTXLOG_WARNINGS_MAX + 1 - used, "%s%s", used > 0 ? "; " : "",
             text);
}

static void begin_entry(struct reader *reader, const char *quoted)
{
    struct ptxlog *facts = reader->facts;
    const char *end = strchr(quoted, '\'');

    reader->entry = NULL;
    if (end == NULL || facts->entry_count == JOB_ENTRIES_MAX) {
        return;
    }
    reader->entry = &facts->entries[facts->entry_count++];
    reader->entry->name = arena_text(reader->arena, quoted, (size_t)(end - quoted));
}

/* "[Used ]N what": adds N to the fact of that name; facts of callees add up. */
static void note_amount(struct reader *reader, const char *item)
{
    const struct {
        const char *what;
        int64_t *fact;
    } rows[] = {
        {"bytes gmem", &reader->facts->gmem_bytes},
        {"registers", reader->entry ? &reader->entry->registers : NULL},
        {"barriers", reader->entry ? &reader->entry->barriers : NULL},
        {"bytes cumulative stack size", reader->entry ? &reader->entry->stack_bytes : NULL},
        {"bytes smem", reader->entry ? &reader->entry->smem_bytes : NULL},
        {"bytes spill stores", reader->entry ? &reader->entry->spill_store_bytes : NULL},
        {"bytes spill loads", reader->entry ? &reader->entry->spill_load_bytes : NULL},
    };
    const int64_t bound = INT64_C(1) << 40;
    int64_t amount = 0;
    size_t digits;

    item += strspn(item, " ");
    if (str_starts(item, "Used ") || str_starts(item, "used ")) {
        item += 5;
    }
    digits = strspn(item, "0123456789");
    if (digits == 0 || digits > 12 || item[digits] != ' ') {
        return;
    }
    for (size_t i = 0; i < digits; i++) {
        amount = 10 * amount + (item[i] - '0');
    }
    item += digits + 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].fact != NULL && strcmp(item, rows[i].what) == 0 && *rows[i].fact < bound) {
            *rows[i].fact += amount;
        }
    }
}

static void note_amounts(struct reader *reader, char *items)
{
    for (char *item = items; item != NULL;) {
        char *comma = strchr(item, ',');

        if (comma != NULL) {
            *comma++ = '\0';
        }
        note_amount(reader, item);
        item = comma;
    }
}

static void read_line(struct reader *reader, char *line)
{
    static const char entry[] = "Compiling entry function '", frame[] = "ptxas         .";
    const char *text = message_of(line, "ptxas info");

    note_error(reader, line);
    note_warning(reader, line);
    if (str_starts(line, frame)) {
        note_amounts(reader, line + sizeof frame - 1);
    } else if (text != NULL && str_starts(text, entry)) {
        begin_entry(reader, text + sizeof entry - 1);
    } else if (text != NULL) {
        note_amounts(reader, line + (text - line)); /* text, which this function may write to */
    }
}

void ptxlog_read(struct arena *arena, const char *log, size_t size, struct ptxlog *facts)
{
    struct reader reader = {.arena = arena, .facts = facts};

    *facts = (struct ptxlog){.error = "", .slow = ""};
    reader.warnings = arena_alloc(arena, PTXLOG_WARNINGS_MAX + 1);
    for (const char *at = log, *end = log + size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);

        read_line(&reader, arena_text(arena, at, length));
        at = newline ? newline + 1 : end;
    }
    facts->warnings = reader.warnings;
}
