/*
 * evo gate -- the hard gate of a CI job: is this kernel faster than what users would otherwise
 * call, and are we sure? Yes only if the lower end of the 95 % interval of the speed-up reaches the
 * bar, on every shape, or with --mean on their geometric mean, against every rival.
 */
#include "base/str.h"
#include "cli/commands.h"
#include "cli/contest.h"
#include "cli/text.h"

enum { RIVALS_MAX = 8 };
static const double bar_max = 1000;

/* One thing that must hold: a rival on a shape, or on all of them. */
struct demand {
    const char *rival, *shape;
    const struct contest *contest;
    const struct contest_row *row; /* NULL for a mean */
    struct estimate speedup;
    bool known, held;
};

struct gate {
    double bar;
    enum contest_clock clock;
    struct contest *contests[RIVALS_MAX];
    int contest_count;
    struct demand demands[RIVALS_MAX * CONTEST_SHAPES_MAX];
    int demand_count;
    bool held;
};

static bool read_bar(struct cli *cli, struct gate *gate, struct err *err)
{
    const char *text = cli_value(cli, "at-least");

    gate->bar = 1;
    if (text != NULL && (!str_to_f64(text, &gate->bar) || gate->bar <= 0 || gate->bar > bar_max)) {
        return err_set(err, ERR_USER, "option '--at-least': '%s' is no speed-up", text);
    }
    return true;
}

static struct demand *demand_add(struct gate *gate, const struct contest *contest,
                                 const char *shape)
{
    struct demand *demand = &gate->demands[gate->demand_count++];

    *demand = (struct demand){.rival = contest->b, .shape = shape, .contest = contest};
    return demand;
}

static void demand_settle(struct gate *gate, struct demand *demand)
{
    demand->held = demand->known && demand->speedup.low >= gate->bar;
    gate->held = gate->held && demand->held;
}

static void demand_each(struct gate *gate, const struct contest *contest)
{
    for (int i = 0; i < contest->count; i++) {
        struct demand *demand = demand_add(gate, contest, contest->rows[i].shape);

        demand->row = &contest->rows[i];
        demand->known = demand->row->timed;
        demand->speedup = demand->row->speedup[gate->clock];
        demand_settle(gate, demand);
    }
}

static void demand_mean(struct gate *gate, const struct contest *contest)
{
    struct demand *demand = demand_add(gate, contest, "all shapes");
    struct estimate all[CONTEST_SHAPES_MAX];

    demand->known = true;
    for (int i = 0; i < contest->count; i++) {
        all[i] = contest->rows[i].speedup[gate->clock];
        if (!contest->rows[i].timed) {
            demand->known = false;
            demand->row = &contest->rows[i];
        }
    }
    if (demand->known) {
        demand->speedup = stats_combine(all, contest->count);
    }
    demand_settle(gate, demand);
}

static bool run(struct cli *cli, struct gate *gate, struct err *err)
{
    const char *rival;
    int at = 0;

    gate->held = true;
    while ((rival = cli_each(cli, "rival", &at)) != NULL) {
        struct contest *contest = arena_alloc(cli->arena, sizeof *contest);

        if (gate->contest_count == RIVALS_MAX) {
            return err_set(err, ERR_USER, "more than %d rivals", RIVALS_MAX);
        }
        if (!contest_run(cli, cli->operands[0], rival, contest, err)) {
            return err_in(err, "against '%s'", rival);
        }
        gate->contests[gate->contest_count++] = contest;
        if (cli_has(cli, "mean")) {
            demand_mean(gate, contest);
        } else {
            demand_each(gate, contest);
        }
    }
    if (gate->contest_count == 0) {
        err_set(err, ERR_USER, "no rival to be faster than");
        return err_hint(err, "name one: --rival cudnn, or --rival other.cu");
    }
    return true;
}

/* What was seen, in words. */
static const char *seen(struct cli *cli, const struct demand *demand)
{
    bool apart = demand->known && demand->contest->rows[0].apart;

    return demand->known
               ? arena_printf(cli->arena, "%s%s", contest_words(cli->arena, &demand->speedup),
                              apart ? ", not timed in turns" : "")
               : contest_trouble(cli->arena, demand->contest, demand->row);
}

static void print_text(struct cli *cli, const struct gate *gate)
{
    for (int i = 0; i < gate->demand_count; i++) {
        const struct demand *demand = &gate->demands[i];

        printf("%s%s%s %s, %s: %s\n", style_on(stdout, demand->held ? STYLE_GOOD : STYLE_BAD),
               demand->held ? "\u2713" : "\u2717", style_off(stdout), demand->rival, demand->shape,
               seen(cli, demand));
    }
    printf("%s: %s is %sat least %.3gx as fast, by the lower end of the 95 %% interval (%s clock, "
           "%s)\n",
           gate->held ? "pass" : "fail", gate->contests[0]->a, gate->held ? "" : "not ", gate->bar,
           gate->clock == CONTEST_SPAN ? "record" : "graph", gate->contests[0]->judge.device);
}

static bool print_json(struct cli *cli, const struct gate *gate, struct err *err)
{
    json_t *demands = json_array(), *rows = json_array();

    for (int i = 0; i < gate->demand_count; i++) {
        const struct demand *demand = &gate->demands[i];

        json_array_append_new(
            demands,
            json_pack("{s:s, s:s, s:b, s:o, s:o, s:s}", "rival", demand->rival, "shape",
                      demand->shape, "held", demand->held, "speedup",
                      demand->known ? json_number(demand->speedup.value) : json_null(), "low",
                      demand->known ? json_number(demand->speedup.low) : json_null(), "seen",
                      seen(cli, demand)));
    }
    for (int i = 0; i < gate->contest_count; i++) {
        for (int k = 0; k < gate->contests[i]->count; k++) {
            json_t *row =
                contest_json_row(cli->arena, gate->contests[i], &gate->contests[i]->rows[k]);

            json_object_set_new(row, "rival", json_string(gate->contests[i]->b));
            json_array_append_new(rows, row);
        }
    }
    return cli_json(json_pack("{s:s, s:b, s:f, s:s, s:s, s:o, s:o}", "kernel", gate->contests[0]->a,
                              "pass", gate->held, "at_least", gate->bar, "clock",
                              gate->clock == CONTEST_SPAN ? "span" : "graph", "device",
                              gate->contests[0]->judge.device, "demands", demands, "rows", rows),
                    err);
}

static void put_xml(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': buf_puts(out, "&amp;"); break;
        case '<': buf_puts(out, "&lt;"); break;
        case '>': buf_puts(out, "&gt;"); break;
        case '"': buf_puts(out, "&quot;"); break;
        default: buf_printf(out, "%c", (unsigned char)*text < ' ' ? ' ' : *text); break;
        }
    }
}

/* The report that CI servers read: a test case a demand. */
static bool write_junit(struct cli *cli, const struct gate *gate, const char *path, struct err *err)
{
    struct buf out = {0};
    int failures = 0;
    bool ok;

    for (int i = 0; i < gate->demand_count; i++) {
        failures += !gate->demands[i].held;
    }
    buf_printf(&out,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<testsuite name=\"evo gate\" tests=\"%d\" failures=\"%d\">\n",
               gate->demand_count, failures);
    for (int i = 0; i < gate->demand_count; i++) {
        const struct demand *demand = &gate->demands[i];

        buf_puts(&out, "  <testcase classname=\"");
        put_xml(&out, arena_printf(cli->arena, "%s.%s", demand->contest->a, demand->rival));
        buf_puts(&out, "\" name=\"");
        put_xml(&out, demand->shape);
        buf_puts(&out, "\">");
        if (!demand->held) {
            buf_puts(&out, "<failure message=\"");
            put_xml(&out, arena_printf(cli->arena, "%s; at least %.3gx was asked for",
                                       seen(cli, demand), gate->bar));
            buf_puts(&out, "\"/>");
        } else {
            buf_puts(&out, "<system-out>");
            put_xml(&out, seen(cli, demand));
            buf_puts(&out, "</system-out>");
        }
        buf_puts(&out, "</testcase>\n");
    }
    buf_puts(&out, "</testsuite>\n");
    ok = file_write(path, out.data, out.length, FILE_WHOLE, err);
    buf_free(&out);
    return ok;
}

static bool body(struct cli *cli, struct err *err)
{
    struct gate *gate = arena_alloc(cli->arena, sizeof *gate);
    const char *junit = cli_value(cli, "junit");

    if (!read_bar(cli, gate, err) || !contest_clock_asked(cli, &gate->clock, err) ||
        !run(cli, gate, err) || (junit != NULL && !write_junit(cli, gate, junit, err))) {
        return false;
    }
    cli->exit_code = gate->held ? EXIT_OK : EXIT_NO;
    if (cli_has(cli, "json")) {
        return print_json(cli, gate, err);
    }
    print_text(cli, gate);
    return true;
}

int cmd_gate(int argc, char **argv) { return cli_run(argc, argv, body); }
