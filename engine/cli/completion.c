/*
 * completion.c -- the table of commands as completions for bash, zsh and fish.
 *
 * Commands and options come from the table, so a completion can neither lack one nor invent it.
 * What a value may be follows from the option's placeholder: FILE and DIR are paths; a few have
 * fixed words; everything else is the user's.
 */
#include <string.h>

#include "cli/cli.h"

/* Words that a value is chosen from, by command and option; "" for any command. */
static const struct {
    const char *command, *option, *words;
} fixed[] = {
    {"agree", "device", "cuda:0 emu"},
    {"", "device", "auto cuda:0 emu replay:"},
    {"start", "strategy", "evo ga hill random"},
    {"bench-search", "strategy", "evo ga hill random"},
    {"best", "numerics", "fp32 fp16"},
    {"export", "format", "cu cubin ptx json torch"},
    {"gate", "clock", "graph span"},
    {"gate", "rival", "cudnn cublas torch torch-flash torch-cudnn torch-efficient torch-math"},
    {"emulate", "sanitize", "all none bounds initialised races async"},
    {"help", "completion", "bash zsh fish"},
};

static const char *words_of(const struct command *command, const struct cli_option *option)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (strcmp(fixed[i].option, option->name) == 0 &&
            (*fixed[i].command == '\0' || strcmp(fixed[i].command, command->name) == 0)) {
            return fixed[i].words;
        }
    }
    return NULL;
}

static bool is_path(const struct cli_option *option)
{
    return option->arg != NULL &&
           (strstr(option->arg, "FILE") != NULL || strcmp(option->arg, "DIR") == 0 ||
            strcmp(option->arg, "PATH") == 0);
}

/* Does the command take files as operands? */
static bool takes_files(const struct command *command)
{
    return strstr(command->operands, "FILE") != NULL || strcmp(command->operands, "SEED") == 0 ||
           strcmp(command->operands, "A B") == 0 || strcmp(command->operands, "A") == 0;
}

static void bash_values(FILE *out, const struct command *command)
{
    for (const struct cli_option *o = command->options; o->name != NULL; o++) {
        const char *words = words_of(command, o);

        if (words != NULL) {
            fprintf(out, "    %s:--%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n",
                    command->name, o->name, words);
        } else if (is_path(o)) {
            fprintf(out, "    %s:--%s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n",
                    command->name, o->name);
        } else if (o->arg != NULL) {
            fprintf(out, "    %s:--%s) return ;;\n", command->name, o->name);
        }
    }
}

static void complete_bash(FILE *out)
{
    fputs("# evo(1) completion for bash: eval \"$(evo help --completion bash)\"\n"
          "_evo() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local command=${COMP_WORDS[1]}\n"
          "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          out);
    for (int i = 0; i < command_count; i++) {
        fprintf(out, "%s%s", i > 0 ? " " : "", command_table[i].name);
    }
    fputs("' -- \"$word\")); return\n"
          "    fi\n"
          "    case $command:$before in\n",
          out);
    for (int i = 0; i < command_count; i++) {
        bash_values(out, &command_table[i]);
    }
    fputs("    esac\n"
          "    case $command in\n",
          out);
    for (int i = 0; i < command_count; i++) {
        fprintf(out, "    %s) COMPREPLY=($(compgen %s-W '", command_table[i].name,
                takes_files(&command_table[i]) ? "-f " : "");
        for (const struct cli_option *o = command_table[i].options; o->name != NULL; o++) {
            fprintf(out, "--%s ", o->name);
        }
        fputs("--help' -- \"$word\")) ;;\n", out);
    }
    fputs("    esac\n"
          "}\n"
          "complete -o filenames -F _evo evo ./evo\n",
          out);
}

/* Text inside single quotes, for zsh's _arguments: brackets and colons have a meaning there. */
static void put_zsh(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            fprintf(out, "%s%c", strchr("[]:\\", *text) != NULL ? "\\" : "", *text);
        }
    }
}

static void zsh_option(FILE *out, const struct command *command, const struct cli_option *o)
{
    const char *words = words_of(command, o);

    fprintf(out, "            '*--%s%s[", o->name, o->arg != NULL ? "=" : "");
    put_zsh(out, o->doc);
    fputc(']', out);
    if (words != NULL) {
        fprintf(out, ":%s:(", o->name);
        put_zsh(out, words);
        fputc(')', out);
    } else if (is_path(o)) {
        fprintf(out, ":%s:_files", o->name);
    } else if (o->arg != NULL) {
        fprintf(out, ":%s: ", o->name);
    }
    fputs("' \\\n", out);
}

static void complete_zsh(FILE *out)
{
    fputs("#compdef evo\n"
          "# evo(1) completion for zsh: evo help --completion zsh > some/fpath/_evo\n"
          "_evo() {\n"
          "    local -a commands=(\n",
          out);
    for (int i = 0; i < command_count; i++) {
        fprintf(out, "        '%s:", command_table[i].name);
        put_zsh(out, command_table[i].summary);
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    case $words[2] in\n",
          out);
    for (int i = 0; i < command_count; i++) {
        fprintf(out, "    %s)\n        _arguments \\\n", command_table[i].name);
        for (const struct cli_option *o = command_table[i].options; o->name != NULL; o++) {
            zsh_option(out, &command_table[i], o);
        }
        fprintf(out, "            '*:operand:%s' ;;\n",
                takes_files(&command_table[i]) ? "_files" : " ");
    }
    fputs("    esac\n"
          "}\n"
          "_evo \"$@\"\n",
          out);
}

static void put_fish(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        fprintf(out, "%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
    }
}

static void complete_fish(FILE *out)
{
    fputs("# evo(1) completion for fish: evo help --completion fish | source\n"
          "complete -c evo -f\n",
          out);
    for (int i = 0; i < command_count; i++) {
        const struct command *command = &command_table[i];

        fprintf(out, "complete -c evo -n __fish_use_subcommand -a %s -d '", command->name);
        put_fish(out, command->summary);
        fputs("'\n", out);
        if (takes_files(command)) {
            fprintf(out, "complete -c evo -n '__fish_seen_subcommand_from %s' -F\n", command->name);
        }
        for (const struct cli_option *o = command->options; o->name != NULL; o++) {
            const char *words = words_of(command, o);

            fprintf(out, "complete -c evo -n '__fish_seen_subcommand_from %s' -l %s", command->name,
                    o->name);
            if (words != NULL) {
                fprintf(out, " -x -a '%s'", words);
            } else if (o->arg != NULL) {
                fputs(is_path(o) ? " -r -F" : " -x", out);
            }
            fputs(" -d '", out);
            put_fish(out, o->doc);
            fputs("'\n", out);
        }
    }
}

bool help_completion(FILE *out, const char *shell, struct err *err)
{
    static const struct {
        const char *shell;
        void (*print)(FILE *out);
    } shells[] = {{"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};

    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shell, shells[i].shell) == 0) {
            shells[i].print(out);
            return true;
        }
    }
    err_set(err, ERR_USER, "there is no completion for '%s'", shell);
    return err_hint(err, "there are bash, zsh and fish");
}
