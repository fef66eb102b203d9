/*
 * cmd_doctor.c -- is this machine well, and can its judge be fooled?
 *
 * Two parts: the environment, a line each; and the self-test of the judge, a row for each planted
 * kernel. On a machine with a GPU the emulated device is tested as well, which is what looks for
 * races when something is promoted; a device that is named is tested alone.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/text.h"
#include "daemon/selftest.h"
#include "daemon/setup.h"
#include "daemon/trial.h"

enum {
    /* Of a planted kernel: a hundred times what one takes, and no more, for one of them hangs. */
    DEADLINE_GPU_MS = 10 * 1000,
    DEADLINE_EMULATED_MS = 30 * 1000,
    DEADLINE_MS_MIN = 100,
    DEADLINE_MS_MAX = 3600 * 1000,
    SELFTESTS_MAX = 2,
};

struct doctor {
    struct cli *cli;
    bool emulated;
    int64_t deadline_ms; /* asked for; 0: as the device has it */
    struct environment environment;
    struct selftest selftests[SELFTESTS_MAX];
    int selftest_count;
    struct alarms {
        const char *device;
        int64_t judged, failed;
        int kernels;
        double seconds;
    } alarms;
};

/* ---- asking ---- */

static bool staff(struct doctor *doctor, const char *device, struct fleet *fleet, struct err *err)
{
    struct arena *arena = doctor->cli->arena;
    int64_t usual_ms = trial_is_emulated(arena, device) ? DEADLINE_EMULATED_MS : DEADLINE_GPU_MS;

    return setup_staff_device(arena, device,
                              doctor->deadline_ms > 0 ? doctor->deadline_ms : usual_ms, fleet, err);
}

static bool show_progress(void *context, int done, int count)
{
    (void)context;
    if (count > 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%d of %d planted kernels judged%s", done, count,
                done == count ? "\r\033[K" : "");
    }
    return true;
}

static bool test_judge(struct doctor *doctor, const char *device, struct err *err)
{
    struct arena *arena = doctor->cli->arena;
    struct batch batch = {.fleet = fleet_new(), .arena = arena, .go_on = show_progress};
    enum selftest_extent extent = cli_has(doctor->cli, "quick") ? SELFTEST_CORE : SELFTEST_FULL;
    bool done;
    bool ok = staff(doctor, device, batch.fleet, err) &&
              selftest_run(&batch, extent, &doctor->selftests[doctor->selftest_count], &done, err);

    doctor->selftest_count += ok;
    fleet_free(batch.fleet);
    return ok;
}

static bool test_judges(struct doctor *doctor, struct err *err)
{
    struct err ignored;

    const char *device = cli_value(doctor->cli, "device");
    bool alone = doctor->emulated || (device != NULL && strcmp(device, "auto") != 0);

    return test_judge(doctor, device, err) &&
           (alone || /* what is promoted is run there too */
            setup_program(doctor->cli->arena, "evo-judge-emu", &ignored) == NULL ||
            test_judge(doctor, "emu", err));
}

static bool is_well(const struct doctor *doctor)
{
    bool well = true;

    for (int i = 0; i < doctor->environment.count; i++) {
        well = well && doctor->environment.findings[i].health != HEALTH_BAD;
    }
    for (int i = 0; i < doctor->selftest_count; i++) {
        well = well && doctor->selftests[i].failed == 0;
    }
    return well;
}

static const char *what_text(struct arena *arena, const struct specimen *specimen)
{
    return arena_printf(arena, "%s%s%s", specimen->planted->name,
                        *specimen->genes != '\0' ? " " : "", specimen->genes);
}

/*
 * --controls N: correct kernels, judged again and again with fresh inputs, until there are N
 * judgements. What fails is told at once.
 */
static bool count_false_alarms(struct doctor *doctor, int64_t wanted, struct err *err)
{
    struct alarms *alarms = &doctor->alarms;
    struct arena *arena = doctor->cli->arena, *round;
    struct batch batch = {.fleet = fleet_new()};
    int64_t start = clock_now_ms();
    bool done, ok = staff(doctor, cli_value(doctor->cli, "device"), batch.fleet, err);

    while (ok && alarms->judged < wanted) {
        struct selftest selftest;

        batch.arena = round = arena_new();
        ok = selftest_run(&batch, SELFTEST_CONTROLS, &selftest, &done, err);
        for (int i = 0; ok && i < selftest.count; i++) {
            const struct specimen *one = &selftest.specimens[i];

            if (!one->ok) {
                fprintf(stderr, "false alarm: %s: %s\n", what_text(round, one), one->reason);
            }
        }
        if (ok) {
            alarms->judged += selftest.count;
            alarms->failed += selftest.failed;
            alarms->kernels = selftest.count;
            alarms->device = arena_dup(arena, selftest.device);
        }
        arena_free(round);
    }
    alarms->seconds = (double)(clock_now_ms() - start) / 1e3;
    fleet_free(batch.fleet);
    return ok;
}

/* ---- telling: text ---- */

static void print_environment(const struct environment *environment)
{
    static const char *const marks[] = {"\u2713", "!", "\u2717"};
    static const enum style styles[] = {STYLE_GOOD, STYLE_BOLD, STYLE_BAD};

    for (int i = 0; i < environment->count; i++) {
        const struct finding *finding = &environment->findings[i];

        printf("%s%s%s %-9s %s\n", style_on(stdout, styles[finding->health]),
               marks[finding->health], style_off(stdout), finding->name, finding->text);
        if (*finding->advice != '\0') {
            printf("            %s\n", finding->advice);
        }
    }
}

static const char *entry_text(struct arena *arena, const struct planted *planted)
{
    switch (planted->kind) {
    case PLANTED_CHEAT: return arena_printf(arena, "%d", planted->number);
    case PLANTED_FAULT: return "fault";
    case PLANTED_CONTROL: return "control";
    default: return "";
    }
}

/* In the order of the list: cheats by number, faults, controls. */
static int rank(const struct planted *planted)
{
    return planted->kind == PLANTED_CHEAT   ? planted->number
           : planted->kind == PLANTED_FAULT ? PLANTED_CHEATS + 1
                                            : PLANTED_CHEATS + 2;
}

static int by_rank(const void *a, const void *b)
{
    const struct specimen *x = a, *y = b;
    int order = rank(x->planted) - rank(y->planted);

    order = order != 0 ? order : strcmp(x->planted->name, y->planted->name);
    return order != 0 ? order : strcmp(x->genes, y->genes);
}

static void print_selftest(struct arena *arena, const struct selftest *selftest)
{
    static const char *const heads[] = {"", "entry", "planted kernel", "verdict", "rung", "time"};
    struct table *table = table_new(arena, "lrlllr", heads);

    for (int i = 0; i < selftest->count; i++) {
        const struct specimen *one = &selftest->specimens[i];
        const char *cells[] = {one->ok ? "\u2713" : "\u2717",
                               entry_text(arena, one->planted),
                               what_text(arena, one),
                               verdict_names[one->verdict],
                               one->verdict == VERDICT_PASS ? "" : one->rung,
                               one->us > 0 ? text_us(arena, one->us) : ""};

        table_row(table, one->ok ? STYLE_PLAIN : STYLE_BAD, cells);
    }
    printf("\n%sself-test on %s%s (%s; %s)\n", style_on(stdout, STYLE_BOLD), selftest->device,
           style_off(stdout), selftest->version, selftest->sandbox);
    table_print(table, stdout);
    for (int i = 0; i < selftest->count; i++) {
        const struct specimen *one = &selftest->specimens[i];

        if (!one->ok) {
            printf("%s: %s%s%s\n", what_text(arena, one), one->wrong,
                   *one->reason != '\0' ? "; " : "", one->reason);
        }
    }
    printf("%d of %d as expected, in %.1f s\n", selftest->count - selftest->failed, selftest->count,
           selftest->ms / 1e3);
}

/* ---- telling: markdown, which docs/cheats.md keeps ---- */

/* Verdict and rung of the variants of one kernel: "racy at launch", several divided by "; ". */
static const char *outcomes_text(struct arena *arena, const struct specimen *first,
                                 const struct specimen *end)
{
    const char *text = "";

    for (const struct specimen *one = first; one < end; one++) {
        const char *outcome =
            one->verdict == VERDICT_PASS
                ? "pass"
                : arena_printf(arena, "%s at %s", verdict_names[one->verdict], one->rung);

        if (strstr(text, outcome) == NULL) {
            text = arena_printf(arena, "%s%s%s", text, *text != '\0' ? "; " : "", outcome);
        }
    }
    return text;
}

static const char *declared_text(const struct planted *planted)
{
    const struct expectation *expected = planted_expects(planted, "cuda");

    return expected != NULL ? expected->text : "(the emulated device alone)";
}

static void print_markdown(struct arena *arena, const struct selftest *selftest)
{
    const struct specimen *end = selftest->specimens + selftest->count;

    printf("| entry | planted kernel | what it does | variants | on the %s | expected on a GPU |\n"
           "|---|---|---|---|---|---|\n",
           selftest->emulated ? "emulated device" : selftest->device);
    for (const struct specimen *one = selftest->specimens, *next; one < end; one = next) {
        for (next = one; next < end && next->planted == one->planted; next++) {
        }
        printf("| %s | `%s` | %s | %d | %s | %s |\n", entry_text(arena, one->planted),
               one->planted->name, one->planted->family->title, (int)(next - one),
               outcomes_text(arena, one, next), declared_text(one->planted));
    }
}

/* ---- telling: JSON ---- */

static json_t *environment_json(const struct environment *environment)
{
    json_t *list = json_array();

    for (int i = 0; i < environment->count; i++) {
        const struct finding *finding = &environment->findings[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "name", finding->name,
                                              "health", health_names[finding->health], "text",
                                              json_text(finding->text), "advice",
                                              json_text(finding->advice)));
    }
    return list;
}

static json_t *selftest_json(struct arena *arena, const struct selftest *selftest)
{
    json_t *rows = json_array();

    for (int i = 0; i < selftest->count; i++) {
        const struct specimen *one = &selftest->specimens[i];

        json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:o}", "entry",
                            entry_text(arena, one->planted), "name", one->planted->name, "genes",
                            one->genes, "verdict", verdict_names[one->verdict], "rung", one->rung,
                            "us", one->us > 0 ? json_number(one->us) : json_null(), "reason",
                            json_text(one->reason), "ok", one->ok, "wrong", json_text(one->wrong)));
    }
    return json_pack("{s:o, s:o, s:i, s:i, s:o, s:o}", "device", json_text(selftest->device),
                     "version", json_text(selftest->version), "count", selftest->count, "failed",
                     selftest->failed, "ms", json_number(selftest->ms), "kernels", rows);
}

static bool print_json(const struct doctor *doctor, struct err *err)
{
    json_t *selftests = json_array();

    for (int i = 0; i < doctor->selftest_count; i++) {
        json_array_append_new(selftests, selftest_json(doctor->cli->arena, &doctor->selftests[i]));
    }
    return cli_json(json_pack("{s:b, s:o, s:o}", "well", is_well(doctor), "environment",
                              environment_json(&doctor->environment), "selftests", selftests),
                    err);
}

static bool tell(struct doctor *doctor, struct err *err)
{
    struct arena *arena = doctor->cli->arena;

    if (cli_has(doctor->cli, "json")) {
        return print_json(doctor, err);
    }
    if (cli_has(doctor->cli, "markdown")) {
        print_markdown(arena, &doctor->selftests[0]);
        return true;
    }
    for (int i = 0; i < doctor->selftest_count; i++) {
        print_selftest(arena, &doctor->selftests[i]);
    }
    return true;
}

static bool tell_false_alarms(struct doctor *doctor, struct err *err)
{
    const struct alarms *alarms = &doctor->alarms;

    doctor->cli->exit_code = alarms->failed == 0 ? EXIT_OK : EXIT_NO;
    if (cli_has(doctor->cli, "json")) {
        return cli_json(json_pack("{s:o, s:I, s:I, s:i, s:o}", "device", json_text(alarms->device),
                                  "judgements", (json_int_t)alarms->judged, "false_alarms",
                                  (json_int_t)alarms->failed, "kernels", alarms->kernels, "seconds",
                                  json_number(alarms->seconds)),
                        err);
    }
    printf("%lld judgements of %d correct kernels on %s: %lld false alarms, in %.0f s\n",
           (long long)alarms->judged, alarms->kernels, alarms->device, (long long)alarms->failed,
           alarms->seconds);
    return true;
}

static bool body(struct cli *cli, struct err *err)
{
    struct doctor *doctor = arena_alloc(cli->arena, sizeof *doctor);
    int64_t controls;
    bool text = !cli_has(cli, "json") && !cli_has(cli, "markdown");

    doctor->cli = cli;
    if (!cli_number(cli, "controls", 1, 10 * 1000 * 1000, 0, &controls, err) ||
        !cli_number(cli, "deadline", DEADLINE_MS_MIN, DEADLINE_MS_MAX, 0, &doctor->deadline_ms,
                    err)) {
        return false;
    }
    if (controls > 0) {
        return count_false_alarms(doctor, controls, err) && tell_false_alarms(doctor, err);
    }
    doctor->emulated = trial_is_emulated(cli->arena, cli_value(cli, "device"));
    environment_look(cli->arena, doctor->emulated, &doctor->environment);
    if (text) {
        print_environment(&doctor->environment);
        fflush(stdout);
    }
    if (!test_judges(doctor, err)) {
        return false;
    }
    for (int i = 0; i < doctor->selftest_count; i++) {
        struct selftest *selftest = &doctor->selftests[i];

        qsort(selftest->specimens, (size_t)selftest->count, sizeof *selftest->specimens, by_rank);
    }
    cli->exit_code = is_well(doctor) ? EXIT_OK : EXIT_NO;
    return tell(doctor, err);
}

int cmd_doctor(int argc, char **argv) { return cli_run(argc, argv, body); }
