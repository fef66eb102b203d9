#include "daemon/sanitizer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "daemon/trial.h"

enum { LOG_BYTES_MAX = 16 << 20, PRINTED = 5 };

const char *const sanitizer_tools[SANITIZER_TOOLS] = {"memcheck", "racecheck", "initcheck",
                                                      "synccheck"};

static const char program[] = "compute-sanitizer";

const char *sanitizer_find(struct arena *arena)
{
    const char *named = getenv("EVO_SANITIZER"), *path = getenv("PATH");
    const char *folders = arena_printf(arena, "%s:/usr/local/cuda/bin", path != NULL ? path : "");

    if (named != NULL) {
        return access(named, X_OK) == 0 ? named : NULL;
    }
    while (*folders != '\0') {
        size_t length = strcspn(folders, ":");
        const char *at = arena_printf(arena, "%.*s/%s", (int)length, folders, program);

        if (length > 0 && access(at, X_OK) == 0) {
            return at;
        }
        folders += length + (folders[length] == ':');
    }
    return NULL;
}

/* What stands behind the "=========" that every line of the sanitizer's own begins with. */
static const char *said(const char *line)
{
    line += strspn(line, "=");
    return line + strspn(line, " ");
}

static bool is_said(const char *line) { return strncmp(line, "=========", 9) == 0; }

/* Headings, and lines that only say where: no finding by themselves. */
static bool is_heading(const char *text)
{
    static const char *const headings[] = {
        "COMPUTE-SANITIZER", "ERROR SUMMARY", "RACECHECK SUMMARY",
        "LEAK SUMMARY",      "Target",        "Warning"};

    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++) {
        if (str_starts(text, headings[i])) {
            return true;
        }
    }
    return *text == '\0';
}

void sanitizer_read(struct arena *arena, const char *log, struct sanitizer_report *report)
{
    long long errors = 0, shown = 0;
    const char *first = "";

    *report = (struct sanitizer_report){.text = "it said nothing"};
    while (*log != '\0') {
        size_t length = strcspn(log, "\n");
        const char *line = arena_text(arena, log, length), *text = said(line);

        log += length + (log[length] == '\n');
        if (!is_said(line)) { /* of the judge, or of the driver */
            continue;
        }
        if (sscanf(text, "ERROR SUMMARY: %lld error", &errors) == 1 ||
            sscanf(text, "RACECHECK SUMMARY: %lld hazard%*[^(](%lld error", &shown, &errors) == 2) {
            report->ran = true;
        } else if (*first == '\0' && !is_heading(text)) {
            first = text;
        }
    }
    report->errors = errors;
    if (report->ran || *first != '\0') {
        report->text = first;
    }
}

/* A file that only the two of us know. */
static const char *make_log(struct arena *arena, struct err *err)
{
    const char *folder = getenv("TMPDIR");
    char *path = arena_printf(arena, "%s/evo-sanitizer.%ld", folder != NULL ? folder : "/tmp",
                              (long)getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0) {
        err_sys(err, "cannot make '%s'", path);
        return NULL;
    }
    close(fd);
    return path;
}

bool sanitizer_run(struct arena *arena, const char *sanitizer, const char *tool, const char *device,
                   const struct judge_job *job, int64_t deadline_ms,
                   struct sanitizer_report *report, struct err *err)
{
    const char *log = make_log(arena, err);
    const char *const before[] = {sanitizer,
                                  "--tool",
                                  tool,
                                  "--log-file",
                                  log,
                                  "--print-limit",
                                  arena_printf(arena, "%d", PRINTED),
                                  "--report-api-errors", /* the judge asks what it may be refused */
                                  "no",
                                  NULL};
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct hello hello;
    struct buf text = {0};
    struct err trouble = {0};

    if (log == NULL) {
        return false;
    }
    bool answered =
        trial_judge_under(arena, before, device, job, deadline_ms, &hello, result, &trouble);
    bool ok = file_read(log, LOG_BYTES_MAX, &text, err);
    if (ok) {
        sanitizer_read(arena, arena_text(arena, text.data != NULL ? text.data : "", text.length),
                       report);
    }
    if (ok && !answered && !report->ran) {
        report->text = arena_printf(arena, "%s; %s", trouble.what, report->text);
    }
    if (ok && answered && report->ran && report->errors == 0 && result->verdict != VERDICT_PASS) {
        report->errors = 1;
        report->text = arena_printf(arena, "the judge under it says %s: %s",
                                    verdict_names[result->verdict], result->reason);
    }
    buf_free(&text);
    unlink(log);
    return ok;
}
