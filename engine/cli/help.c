/*
 * help.c -- the table of commands as text: an overview, one command, the manual page.
 */
#include <string.h>

#include "cli/cli.h"

enum { LINE_WIDTH = 79 };

static const char *const group_names[GROUP_COUNT] = {
    [GROUP_RUN] = "run", [GROUP_LOOK] = "look", [GROUP_KEEP] = "keep"};

/* Words of `text` in lines indented by `indent`; the first line is already at `column`. */
static void print_wrapped(FILE *out, const char *text, int indent, int column)
{
    bool first = true;

    while (*text != '\0') {
        int length = (int)strcspn(text, " \n");

        if (!first && column + 1 + length > LINE_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", length, text);
        column += length + !first;
        first = false;
        text += length;
        if (*text == '\n') {
            fprintf(out, "\n\n%*s", indent, "");
            column = indent;
            first = true;
        }
        text += *text != '\0';
    }
    fputc('\n', out);
}

void help_overview(FILE *out)
{
    fputs("evo breeds GPU attention kernels: it mutates, compiles, checks and times them.\n\n"
          "usage: evo COMMAND [OPTION]...\n",
          out);
    for (int group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\n%s\n", group_names[group]);
        for (int i = 0; i < command_count; i++) {
            if ((int)command_table[i].group == group) {
                fprintf(out, "  %-8s  %s\n", command_table[i].name, command_table[i].summary);
            }
        }
    }
    fputs("\n'evo help COMMAND' explains one. Begin: evo start --seed seeds/phase4.yaml\n", out);
}

static int option_text(const struct cli_option *option, char text[64])
{
    bool short_only = option->letter != 0 && strlen(option->name) > 1;

    if (short_only) {
        return snprintf(text, 64, "-%c, --%s%s%s", option->letter, option->name,
                        option->arg != NULL ? " " : "", option->arg != NULL ? option->arg : "");
    }
    return snprintf(text, 64, "--%s%s%s", option->name, option->arg != NULL ? " " : "",
                    option->arg != NULL ? option->arg : "");
}

static void print_options(FILE *out, const struct command *command)
{
    char text[64];
    int widest = 6; /* --help */

    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        int width = option_text(option, text);

        widest = width > widest ? width : widest;
    }
    fputs("\noptions\n", out);
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        option_text(option, text);
        fprintf(out, "  %-*s  ", widest, text);
        print_wrapped(out, option->doc, widest + 4, widest + 4);
    }
    fprintf(out, "  %-*s  print this\n", widest, "--help");
}

static void print_example(FILE *out, const char *example, const char *before)
{
    while (*example != '\0') {
        int length = (int)strcspn(example, "\n");

        fprintf(out, "%s%.*s\n", before, length, example);
        example += length;
        example += *example != '\0';
    }
}

void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "evo %s: %s\n\nusage: evo %s%s%s [OPTION]...\n\n", command->name, command->summary,
            command->name, command->operands[0] != '\0' ? " " : "", command->operands);
    print_wrapped(out, command->about, 0, 0);
    print_options(out, command);
    fputs("\nexample\n", out);
    print_example(out, command->example, "  ");
}

/* ---- the manual page ---- */

/*
 * Text of the table as mdoc: a line a sentence, long ones broken, and nothing at the beginning of a
 * line that roff would take for a request.
 */
static void man_text(FILE *out, const char *text)
{
    int column = 0;

    for (; *text != '\0'; text++, column++) {
        bool sentence = text[0] == '.' && text[1] == ' ';
        size_t word = *text == ' ' ? strcspn(text + 1, " \n") : 0;

        if (*text == '\n') {
            fputs("\n.Pp\n", out);
            column = -1;
        } else if (sentence || (word > 0 && column + (int)word > 72 && text[1] != '.')) {
            fputs(sentence ? ".\n" : "\n", out);
            text += sentence;
            column = -1;
        } else if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else if (*text == '\'') {
            fputs("\\(aq", out);
        } else {
            fputc(*text, out);
        }
    }
    fputc('\n', out);
}

static void man_sentence(FILE *out, const char *text)
{
    char first = text[0] >= 'a' && text[0] <= 'z' ? (char)(text[0] - 'a' + 'A') : text[0];
    bool word = strncmp(text, "auto", 4) != 0 && strncmp(text, "evo,", 4) != 0 &&
                strncmp(text, "cu,", 3) != 0 && strncmp(text, "fp32", 4) != 0;

    fputc(word ? first : text[0], out);
    man_text(out, text + 1);
}

static void man_option(FILE *out, const struct cli_option *option)
{
    fputs(".It ", out);
    if (option->letter != 0) {
        fprintf(out, "Fl %c , ", option->letter);
    }
    fprintf(out, "Fl \\-%s", option->name);
    if (option->arg != NULL) {
        fprintf(out, " Ar %s", option->arg);
    }
    fputc('\n', out);
    man_sentence(out, option->doc);
}

static void man_command(FILE *out, const struct command *command)
{
    fprintf(out, ".It Nm evo Cm %s", command->name);
    if (command->operands[0] == '[') {
        fprintf(out, " Op Ar %.*s", (int)strcspn(command->operands + 1, "]"),
                command->operands + 1);
    } else if (command->operands[0] != '\0') {
        fprintf(out, " Ar %s", command->operands);
    }
    fputs("\n", out);
    man_sentence(out, command->summary);
    fputs(".Pp\n", out);
    man_text(out, command->about);
    if (command->options[0].name != NULL) {
        fputs(".Bl -tag -width Ds\n", out);
        for (const struct cli_option *option = command->options; option->name != NULL; option++) {
            man_option(out, option);
        }
        fputs(".El\n", out);
    }
}

static const char man_head[] =
    ".\\\" Made by 'evo help --man' from the table of commands; change it there.\n"
    ".Dd November 20, 2026\n"
    ".Dt EVO 1\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm evo\n"
    ".Nd evolutionary search for GPU attention kernels\n"
    ".Sh SYNOPSIS\n"
    ".Nm evo\n"
    ".Ar command\n"
    ".Op Ar option ...\n"
    ".Sh DESCRIPTION\n"
    ".Nm\n"
    "breeds CUDA attention kernels.\n"
    "A seed,\n"
    ".Xr evo-seed 5 ,\n"
    "says which shapes to be fast on and which templates,\n"
    ".Xr evo-template 5 ,\n"
    "to vary.\n"
    "The search mutates their genes, compiles each candidate, checks its results\n"
    "against a reference in double precision, times what passed, and keeps\n"
    "everything in one database.\n"
    "It may be killed at any moment and goes on where it was.\n"
    ".Pp\n"
    "Data is written to the standard output, everything else to the standard\n"
    "error output.\n"
    "Every command takes\n"
    ".Fl \\-help .\n"
    "The commands:\n";

static const char man_tail[] = ".Sh ENVIRONMENT\n"
                               ".Bl -tag -width EVO_TEMPLATES\n"
                               ".It Ev EVO_DB\n"
                               "The database when\n"
                               ".Fl \\-db\n"
                               "does not say otherwise.\n"
                               ".It Ev EVO_TEMPLATES\n"
                               "The folder of the templates that come with\n"
                               ".Nm ,\n"
                               "when they are not beside the program.\n"
                               ".It Ev EVO_COMPILE\n"
                               "The command line of another compile worker, such as one behind\n"
                               ".Xr ssh 1 .\n"
                               "It is cut into words as\n"
                               ".Xr evo-seed 5\n"
                               "says of judges.\n"
                               ".It Ev EVO_CUDNN , EVO_CUBLAS\n"
                               "The library's file, where the loader finds none or another.\n"
                               ".It Ev EVO_PYTHON\n"
                               "The interpreter that has torch, if it is not\n"
                               ".Li python3 .\n"
                               ".It Ev NO_COLOR\n"
                               "If set and not empty, nothing is coloured.\n"
                               "Only a terminal is ever sent colours.\n"
                               ".El\n"
                               ".Sh FILES\n"
                               ".Bl -tag -width evo.db.lock\n"
                               ".It Pa evo.db\n"
                               "The database: SQLite, open to readers at any time.\n"
                               "Its views\n"
                               ".Li best_kernel ,\n"
                               ".Li leaderboard\n"
                               "and\n"
                               ".Li lineage\n"
                               "may be queried with the\n"
                               ".Li sqlite3\n"
                               "shell, also while a search runs.\n"
                               ".It Pa evo.db.log\n"
                               "What the search in the background had to say.\n"
                               ".It Pa evo.db.lock\n"
                               "Held by the process that searches; it contains the pid.\n"
                               "A lock left behind by a dead process does no harm.\n"
                               ".It Pa seeds/ , templates/\n"
                               "Looked for beside the program\n"
                               ".Pq Pa share/evo\n"
                               "when they are not in the current folder.\n"
                               ".El\n";

static const char man_examples[] = ".Sh EXAMPLES\n"
                                   "Search for five minutes, then keep the winner:\n"
                                   ".Bd -literal -offset indent\n"
                                   "evo start --seed seeds/phase4.yaml --budget 5m\n"
                                   "evo best\n"
                                   "evo export best -o winner.cu\n"
                                   "evo verify winner.cu\n"
                                   ".Ed\n"
                                   ".Pp\n"
                                   "Compare with blind search at the same budget:\n"
                                   ".Bd -literal -offset indent\n"
                                   "evo start --seed seeds/phase4.yaml --db random.db \\e\n"
                                   "    --strategy random --budget 5m\n"
                                   ".Ed\n"
                                   ".Pp\n"
                                   "How the best kernel came about, drawn by Graphviz:\n"
                                   ".Bd -literal -offset indent\n"
                                   "evo lineage best --dot | dot -Tsvg > lineage.svg\n"
                                   ".Ed\n"
                                   ".Pp\n"
                                   "Without a GPU, answered from a recording:\n"
                                   ".Bd -literal -offset indent\n"
                                   "evo start --seed seeds/smoke.yaml --db /tmp/smoke.db\n"
                                   ".Ed\n"
                                   ".Sh SEE ALSO\n"
                                   ".Xr sqlite3 1 ,\n"
                                   ".Xr ssh 1 ,\n"
                                   ".Xr evo-seed 5 ,\n"
                                   ".Xr evo-template 5\n";

void help_manual(FILE *out)
{
    fputs(man_head, out);
    fputs(".Bl -tag -width Ds\n", out);
    for (int i = 0; i < command_count; i++) {
        man_command(out, &command_table[i]);
    }
    fputs(".El\n", out);
    fputs(man_tail, out);
    fputs(".Sh EXIT STATUS\n.Bl -tag -width Ds\n", out);
    for (int i = 0; i < EXIT_CODES; i++) {
        fprintf(out, ".It %d\n", i);
        man_text(out, exit_table[i]);
    }
    fputs(".El\n", out);
    fputs(man_examples, out);
}
