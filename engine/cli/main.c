/*
 * main.c -- the one table of commands, and the choice among them.
 *
 * A command is a row here and a cmd_NAME.c. The rows are also the text of --help, `evo help` and
 * docs/evo.1.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

#define DB     {"db", 0, "FILE", "the database (default: EVO_DB, else evo.db in this folder)"}
#define JSON   {"json", 0, NULL, "print JSON instead of text"}
#define RUN    {"run", 0, "N", "another run than the latest of the database"}
#define GENES  {"genes", 0, "GENES", "of a template: which kernel of it (default: the first)"}
#define DEVICE {"device", 0, "DEVICE", "auto, cuda:N or emu (default: auto)"}
#define SHAPES {"shape", 0, "S", "a shape; repeated: each (default: those that A was made for)"}
#define LINE   {"line", 0, NULL, "follow with one line of progress, not the status screen"}
#define FOLDER {"templates", 0, "DIR", "a folder of your own templates, looked at first"}

const struct command command_table[] = {
    {"start",
     GROUP_RUN,
     cmd_start,
     "",
     0,
     0,
     "begin a search, or go on with one after any stop",
     "Starts the search in the background: its log is the database's name with .log behind it, "
     "its lock with .lock. On a terminal the command then follows the search as 'evo watch' "
     "does; Ctrl-C leaves the search running. Away from a terminal it prints a line every "
     "10 s until the search ends.\n"
     "A database that holds an open run goes on with it, after a stop of whatever kind: the seed "
     "and templates stored in it are used, and --seed is not needed. --new begins another run "
     "beside it.",
     "evo start --seed seeds/phase4.yaml --budget 5m",
     {{"seed", 0, "FILE", "what to search for; see evo-seed(5)"},
      DB,
      {"device", 0, "DEVICE",
       "auto, cuda:N, emu (the emulated device: no GPU, modelled "
       "times) or replay:FILE (a recorded run or space); repeated: "
       "several judges (default: as the seed says)"},
      {"budget", 0, "LIMIT",
       "end after this much: 10m, 90s or 2h of time, gpu:5m of the GPU's "
       "time, 2000 evaluations, or several with commas"},
      {"strategy", 0, "NAME",
       "evo, or to compare with: ga (operators without a model), hill, random"},
      {"exhaustive", 0, NULL,
       "try every feasible genome, the most promising first, whatever the seed's budget; "
       "--budget still ends it"},
      FOLDER,
      {"new", 0, NULL, "begin a new run even if the database holds an open one"},
      {"no-memory", 0, NULL, "a new run learns nothing from earlier runs in the database"},
      LINE,
      {"foreground", 0, NULL, "do not detach: for systemd and CI"},
      {"detach", 0, NULL, "return as soon as the search runs; print its pid and log"}}},
    {"stop",
     GROUP_RUN,
     cmd_stop,
     "",
     0,
     0,
     "end the search after what is in flight",
     "Asks the search to finish what its workers hold, record it and end; waits until it has. "
     "Nothing is lost: 'evo start' goes on from there. When no search runs, that is said, and is "
     "no failure.",
     "evo stop",
     {DB, {"timeout", 0, "TIME", "give up waiting after this long, as 90s or 5m (default: 5m)"}}},
    {"watch",
     GROUP_RUN,
     cmd_watch,
     "",
     0,
     0,
     "follow a running search",
     "Shows a search that runs, until it ends or until q or Ctrl-C, which leave it running. On a "
     "terminal this is the status screen: the best and its history, the fastest kernels (arrow "
     "keys choose, Enter tells all of one and what it changed in its parent), how far proposals "
     "come, what each operator brings, what the workers hold; ? explains it. On a plain terminal "
     "it is a line, elsewhere a line every 10 s.",
     "evo watch",
     {LINE, DB}},
    {"status",
     GROUP_LOOK,
     cmd_status,
     "",
     0,
     0,
     "one screen: how far the search is",
     "Elapsed time, evaluations and their rate, verdicts, the best kernel with its interval and "
     "gain, and what is left of the budget; whether it runs or not.",
     "evo status --json",
     {DB, RUN, JSON}},
    {"best",
     GROUP_LOOK,
     cmd_best,
     "",
     0,
     0,
     "the fastest verified kernels",
     "A row for each kernel that passed the gate, fastest first: its time with the 95 % interval, "
     "TFLOP/s, speed-up over the seed's founder. The first is the best that was promoted: judged "
     "once more by a fresh process, on shapes that the search never timed and for races; its time "
     "is that second one, beside what the search saw and of how many candidates it was then the "
     "best. FP16 accumulation is a numerics class of its own and never ranked together with FP32.",
     "evo best -n 5 --json",
     {{"count", 'n', "N", "how many (default: 10)"},
      {"family", 0, "F", "of this family only"},
      {"shape", 0, "S", "ranked by this shape of the workload, such as 1x8x512x64"},
      {"numerics", 0, "CLASS", "fp32 or fp16 (default: both, one after the other)"},
      DB,
      RUN,
      JSON}},
    {"lineage",
     GROUP_LOOK,
     cmd_lineage,
     "ID",
     1,
     1,
     "where a kernel came from",
     "Its ancestors from the seed's founders on: what each mutation changed and what it gained "
     "over its first parent. ID is n147, r2.n147 (of run 2) or best.",
     "evo lineage best",
     {{"dot", 0, NULL, "print a graph for Graphviz instead"}, DB, JSON}},
    {"show",
     GROUP_LOOK,
     cmd_show,
     "ID",
     1,
     1,
     "everything about one candidate",
     "Genes, parents, verdict and why, times, what limits it, resources, the rungs of the ladder "
     "and metrics. Of "
     "one that failed: at which rung, on which shape and inputs, which element, by how much, and a "
     "command line that shows it again. With "
     "--source the CUDA source, rendered again from the templates stored in the database and "
     "compared with the recorded hash. ID is n147, r2.n147 or best.",
     "evo show best --source",
     {{"source", 0, NULL, "print the rendered CUDA source"},
      {"ptx", 0, NULL, "print the PTX, if it was kept"},
      {"log", 0, NULL, "print the compiler's log"},
      {"image", 0, "N", "which program of a workload that needs several (default: 0)"},
      DB,
      JSON}},
    {"diff",
     GROUP_LOOK,
     cmd_diff,
     "A B",
     2,
     2,
     "genes and source of two candidates compared",
     "The genes that differ and what that did to the time, then the difference of the rendered "
     "sources as a unified diff.",
     "evo diff n0 best",
     {{"genes", 0, NULL, "only the genes"}, DB, JSON}},
    {"insights",
     GROUP_LOOK,
     cmd_insights,
     "",
     0,
     0,
     "what single steps of genes were worth",
     "Wherever a child differs from its first parent in one gene, the two are an experiment. Tells "
     "for each step of each gene what it did to the time, with its 95 % interval and the number of "
     "pairs, and how often the child failed; sure effects first.",
     "evo insights -n 10",
     {{"count", 'n', "N", "how many steps; 0: all (default: 40)"}, DB, RUN, JSON}},
    {"report",
     GROUP_LOOK,
     cmd_report,
     "",
     0,
     0,
     "a run as one page for a browser",
     "Writes a page that needs nothing else: what won and how sure that is, every evaluation and "
     "the best so far, the fastest kernels with ties greyed, each with its source's difference to "
     "its parent, the lineage of the winner and of the whole run, what each value of each gene "
     "was worth, operators, the device's clock and power, how to do it all again. With --json its "
     "data instead.",
     "evo report -o run.html",
     {{"output", 'o', "FILE", "where to (default: the standard output)"}, DB, RUN, JSON}},
    {"serve",
     GROUP_LOOK,
     cmd_serve,
     "",
     0,
     0,
     "the same page, live, for a browser",
     "Serves the page of the latest run, which follows the search, until Ctrl-C; prints its "
     "address. It listens on this machine alone and answers who has the token in the address; "
     "from elsewhere use a tunnel: ssh -L 8737:localhost:8737 machine. /api/report and "
     "/api/status are its data, /metrics is for Prometheus (the token as a bearer). It only reads "
     "the database, and may be stopped at any time.",
     "evo serve",
     {{"port", 0, "N", "0: any that is free (default: 8737)"},
      {"host", 0, "ADDRESS", "where to listen (default: 127.0.0.1)"},
      {"token", 0, "TEXT", "at least 16 characters (default: drawn anew)"},
      DB}},
    {"genes",
     GROUP_LOOK,
     cmd_genes,
     "FAMILY",
     1,
     1,
     "what may vary in a template",
     "A family's genes with their domains, its requirements, the shapes it supports, its launch.",
     "evo genes attention_tiled",
     {FOLDER, JSON}},
    {"check",
     GROUP_LOOK,
     cmd_check,
     "SEED",
     1,
     1,
     "validate a seed without running it",
     "Parses the seed and its families, tries the founders, and counts how many genomes are "
     "feasible. A mistake is told as FILE:LINE:COLUMN: what, with what to do about it.",
     "evo check seeds/phase4.yaml",
     {{"for", 0, "ARCH", "the device to count for, as sm_90 (default: the seed's, else sm_90)"},
      FOLDER,
      JSON}},
    {"doctor",
     GROUP_LOOK,
     cmd_doctor,
     "",
     0,
     0,
     "is this machine well, and can its judge be fooled",
     "Looks at driver, compiler, clocks, disk and limits, a line each with what to do. Then tests "
     "the judge: kernels that look fast and are wrong, each of which must get the verdict it "
     "deserves, and correct ones, which must pass. 'evo start' does a part of this once for each "
     "device and refuses to begin if it fails. Where there is a GPU the emulated device is tested "
     "as well, unless --device names one.",
     "evo doctor",
     {{"device", 0, "DEVICE", "auto, cuda:N or emu (default: auto)"},
      {"quick", 0, NULL, "one variant of each planted kernel, as at a start"},
      {"controls", 0, "N", "only correct kernels, N judgements of them; none may fail"},
      {"deadline", 0, "MS", "of a judgement in milliseconds (10000; 30000 on the emulated device)"},
      {"markdown", 0, NULL, "print the table of docs/cheats.md instead"},
      JSON}},
    {"microbench",
     GROUP_LOOK,
     cmd_microbench,
     "",
     0,
     0,
     "what this device can do at most, measured",
     "Measures the rates of tensor cores by instruction, of arithmetic, of shared memory, L2 and "
     "DRAM, what it costs to wait (latencies, barriers, copies) and to launch, with small kernels "
     "and evo's own clocks; each shows that its work was done. What is measured is kept for the "
     "device, and runs that begin afterwards use it: 'evo show' tells how near a kernel came, and "
     "the first genomes are drawn near what the device is good at. On the emulated device it is "
     "what the model says.",
     "evo microbench --json",
     {{"device", 0, "DEVICE", "auto, cuda:N or emu (default: auto)"},
      {"only", 0, "NAME", "this ceiling alone, and keep nothing; repeated: each"},
      {"kept", 0, "NAME", "print what is kept for a device of this name, as 'NVIDIA H200'"},
      JSON}},
    {"agree",
     GROUP_LOOK,
     cmd_agree,
     "[ID]...",
     0,
     CLI_OPERANDS_MAX,
     "do two devices compute the same with the kernels of a run",
     "Runs candidates (those named, else those that passed, the first --limit of them) on two "
     "devices, with the same machine code or its PTX and the same inputs: one case of every input "
     "family of the gate on each shape. The outputs are compared element by element. Prints how "
     "many are equal to the bit, the largest difference and where it is, and how much of the "
     "difference that the order of summation explains is used: the gate's own limits, with the "
     "other device's output in the place of the exact one. The answer is no where more than that "
     "is used, or a device does not pass a kernel that the other does.",
     "evo agree best --device cuda:0 --device emu",
     {{"device", 0, "DEVICE", "cuda:N or emu; given twice (default: cuda:0 and emu)"},
      {"shape", 0, "S", "a small shape; repeated: up to 4 (default: the first two of the emulated "
                        "device's gate)"},
      {"limit", 0, "N", "how many candidates (default: 100)"},
      {"key", 0, "HEX", "draw the inputs by this key, as it was printed (default: any)"},
      RUN,
      DB,
      JSON}},
    {"export",
     GROUP_KEEP,
     cmd_export,
     "[ID]",
     0,
     1,
     "one kernel as a self-contained file",
     "Writes a kernel (default: the best) as one CUDA source that nvcc compiles with nothing "
     "else: genes as constants, helpers inlined, a C-callable launcher, and a comment that says "
     "where it came from and how to verify it. '--format torch' writes one file of Python "
     "instead, with the machine code in it, which PyTorch calls as 'attention(q, k, v)'.",
     "evo export best -o winner.cu\nevo export best --format torch -o winner.py",
     {{"table", 0, NULL, "instead, as CSV: the best kernel of each shape of the run, and how much "
                         "longer the one that is best on all of them takes"},
      {"output", 'o', "FILE", "where to (default: the standard output)"},
      {"format", 0, "FORMAT", "cu, cubin, ptx, json or torch (default: cu)"},
      {"shape", 0, "S", "which, when the workload needs several programs (default: its first)"},
      DB}},
    {"verify",
     GROUP_KEEP,
     cmd_verify,
     "FILE.cu",
     1,
     1,
     "judge an exported file from that alone",
     "Compiles an exported source and judges it as what is to be called best is judged, every "
     "input family and the race gate included, and times it, on a device of this machine; where "
     "there is no GPU, on the emulated one. On a GPU it also has to stand the historic bar: a "
     "hundred cases of 1x8x512x64, none off by 2e-3. The exit status is 4 when it failed. A "
     "template will do as well: one "
     "kernel of it is judged, on the shapes that its head names, else on 1x8x512x64. With "
     "--sanitizer compute-sanitizer's memcheck, racecheck, initcheck and synccheck watch it on "
     "small shapes besides; where that is not installed a line says so.",
     "evo verify winner.cu",
     {DEVICE, GENES,
      {"sanitizer", 0, NULL, "run NVIDIA's compute-sanitizer over the kernel as well"},
      JSON}},
    {"compare",
     GROUP_KEEP,
     cmd_compare,
     "A B",
     2,
     2,
     "two kernels, timed in turns: which is faster?",
     "A and B are candidates (n147, best), files (winner.cu, or a template), or libraries by name: "
     "cudnn, with each of its plans tried; cublas, as matrix product, softmax, matrix product. On "
     "each shape both go through the gate and then run A B B A on the same inputs in "
     "one process. The speed-up is told with its 95 % interval, by both clocks: graphs of calls "
     "replayed, as a user's calls in a row, and the spans of activity records. An interval that "
     "comes within 0.2 % of 1 is a tie. One of the two may be PyTorch's attention: torch (its own "
     "choice), torch-flash, torch-cudnn, torch-efficient or torch-math, measured by a python3 of "
     "its own and so not in turns. Exits with 4 when one of the two is not right or not to be had.",
     "evo compare best cudnn",
     {SHAPES, DEVICE, DB, JSON}},
    {"gate",
     GROUP_KEEP,
     cmd_gate,
     "A",
     1,
     1,
     "is it surely faster than its rivals? for CI",
     "Compares A with each --rival as 'evo compare' does. Passes (exit status 0, else 4) only if "
     "the lower end of the 95 % interval of the speed-up reaches --at-least on every shape, or, "
     "with --mean, for the geometric mean over them. What could not be timed fails.",
     "evo gate best --rival cudnn --at-least 1.05 --junit gate.xml",
     {{"rival", 0, "B", "what to be faster than: as B of 'evo compare'; repeated: each"},
      {"at-least", 0, "X", "the speed-up asked for (default: 1)"},
      {"mean", 0, NULL, "asked of the geometric mean over the shapes, not of each"},
      {"clock", 0, "CLOCK", "graph (as users call) or span (by records) (default: graph)"},
      {"junit", 0, "FILE", "write a report for CI servers as well"},
      SHAPES,
      DEVICE,
      DB,
      JSON}},
    {"emulate",
     GROUP_KEEP,
     cmd_emulate,
     "FILE.cu|ID",
     1,
     1,
     "run one kernel on the emulated device; find its races",
     "Compiles an exported file, or a candidate of the database, and runs one call of it on the "
     "emulated device: no GPU is needed. Tells every race, stray or undefined access, misused "
     "barrier and deadlock with its line of source, and whether the output is right. With "
     "--profile also what the call does and how long a modelled chip takes for it.\n"
     "Any other .cu is run as well when --launch, or a line '// evo: launch …' of it, says how: "
     "kernel<<<blocks, threads, shared bytes>>>(arguments), each argument a buffer (in, data, zero "
     "or out, a type, a name and its size), a number, or map(buffer, box, swizzle).",
     "evo emulate best --sanitize all --profile\n"
     "evo emulate k.cu --launch 'k<<<4, 64>>>(in f32 x[256], out f32 y[256])'",
     {{"shape", 0, "S", "the shape of the call (default: a small one)"},
      {"inputs", 0, "FAMILY", "inputs of this family of the gate (default: normal)"},
      {"key", 0, "HEX", "those drawn by this key, as 'evo show' names them (default: any)"},
      {"launch", 0, "L", "of a file that evo did not export (default: as the file says)"},
      {"sanitize", 0, "LIST", "all, none, or of bounds,initialised,races,async (default: all)"},
      {"profile", 0, NULL, "count what it does and model its time"},
      {"blocks", 0, "N", "of each grid, run for the profile; 0: all (default: 8)"},
      {"unchecked", 0, NULL, "run nothing but these blocks: for large shapes"},
      {"chip", 0, "NAME", "the chip to emulate (default: H200)"},
      GENES,
      DB,
      JSON}},
    {"bench-search",
     GROUP_KEEP,
     cmd_bench_search,
     "",
     0,
     0,
     "how few evaluations a search needs, on recorded spaces",
     "Runs the search of 'evo start' on recorded search spaces, a table answering in place of "
     "compilers and a GPU, on all cores. Prints the median of the best after 25, 50, 100, 200 and "
     "400 evaluations relative to the optimum, the mean of evaluations to within 10, 5 and 1 % of "
     "it, and the score P against random search over evaluations and over time: 0 is random "
     "search, 1 the optimum at once. Where peers.csv lies beside the spaces, the best other "
     "tuner's median is printed in brackets.",
     "evo bench-search --spaces tests/data/space_gemm.csv --evals 5",
     {{"spaces", 0, "PATH", "a folder of recorded spaces, or one of them; repeated: all of these"},
      {"strategy", 0, "NAME", "evo, ga, hill or random; repeated: each (default: evo)"},
      {"repeats", 0, "N", "runs of each strategy on each space (default: 20)"},
      {"evals", 0, "N", "evaluations of a run (default: 400)"},
      {"lag", 0, "N", "as in a seed: a proposal reads outcomes N places back (default: 1)"},
      {"memory", 0, NULL,
       "search the next space with the same parameters first, and remember it"},
      {"noise", 0, NULL, "measure as a judge does, samples drawn with the recorded spread"},
      {"jobs", 0, "N", "processes at once (default: one a core)"},
      {"csv", 0, NULL, "print CSV instead of a table"},
      JSON}},
    {"dump",
     GROUP_KEEP,
     cmd_dump,
     "",
     0,
     0,
     "the lineage as canonical text",
     "A line for each candidate in order of place: parents, operator, genes, hashes, verdict, "
     "score. Two runs that did the same have the same dump, byte for byte, however often they "
     "were killed and whatever their number of workers.",
     "evo dump > lineage.txt",
     {DB, RUN, JSON}},
    {"record",
     GROUP_KEEP,
     cmd_record,
     "",
     0,
     0,
     "turn a run into a table for replay",
     "Writes every judged genome of a run with its verdict and time as a table that "
     "--device replay:FILE answers from, on a machine without a GPU.",
     "evo record -o run.csv",
     {{"output", 'o', "FILE", "where to (default: the standard output)"},
      {"family", 0, "F", "which, when the run has several"},
      DB,
      RUN}},
    {"rescore",
     GROUP_KEEP,
     cmd_rescore,
     "",
     0,
     0,
     "compute the scores again from raw samples",
     "Adds scores of this program's version wherever a database lacks them. Needs no GPU; a "
     "search must not be running on the database.",
     "evo rescore",
     {DB, JSON}},
    {"help",
     GROUP_KEEP,
     cmd_help,
     "[COMMAND]",
     0,
     1,
     "explain a command, with an example",
     "Without a command: all of them.",
     "evo help start",
     {{"man", 0, NULL, "print the manual page evo.1 (mdoc)"},
      {"completion", 0, "SHELL", "print a completion script for bash, zsh or fish"}}},
};

const int command_count = sizeof command_table / sizeof *command_table;

/* The command that begins alike, for "did you mean". */
static const char *command_like(const char *name)
{
    for (int length = 3; length > 0; length--) {
        for (int i = 0; i < command_count; i++) {
            if (strncmp(command_table[i].name, name, (size_t)length) == 0) {
                return command_table[i].name;
            }
        }
    }
    return "help";
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const struct command *command = command_find(name);

    if (command != NULL) {
        return command->run(argc - 1, argv + 1);
    }
    if (strcmp(name, "--version") == 0) {
        printf("evo " EVO_VERSION "\n");
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_SYSTEM;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        help_overview(stdout);
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_SYSTEM;
    }
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USER;
    }
    cli_say("unknown command '%s'", name);
    cli_say("did you mean '%s'? 'evo --help' lists the commands", command_like(name));
    return EXIT_USER;
}
