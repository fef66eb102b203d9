/*
 * evo-compile -- the compile worker: source in, PTX, machine code and facts out.
 *
 * Needs NVRTC, and neither a GPU nor a driver. One job at a time; the engine runs as many workers
 * as there are cores, because NVRTC's front end holds a lock for the whole process.
 *
 * A job goes: source key -> disk cache, else [front end alone ->] NVRTC -> disk cache; then the log
 * and the cubin are read (cached or not, by the same code) and the contract is checked: all entries
 * present, no state that lasts between launches.
 */
#define _GNU_SOURCE /* dladdr */

#include <dlfcn.h>
#include <errno.h>
#include <nvrtc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "fitness/compile_cache.h"
#include "fitness/compile_headers.h"
#include "fitness/cubin.h"
#include "fitness/job.h"
#include "fitness/ptxlog.h"
#include "fitness/sandbox.h"
#include "fitness/worker.h"

enum {
    DEADLINE_MS = 60 * 1000,
    LOG_BYTES_MAX = 64 * 1024,     /* of a log that is kept: errors are at its head, */
    LOG_TAIL_BYTES = 16 * 1024,    /* the report on resources at its tail */
    STACK_BYTES = 64 << 20,        /* NVRTC recurses deeply, and may not raise the limit itself */
    NICENESS = 5,                  /* a judge beside us must answer its GPU at once */
};
static const int64_t memory_bytes_max = INT64_C(8) << 30; /* a compile takes 100 to 500 MiB */
static const int64_t file_bytes_max = INT64_C(1) << 30;   /* of a cache entry: some 100 KiB */

/*
 * What every source is compiled with.
 *
 * --no-cache: otherwise NVRTC opens the driver to use the driver's cache.
 * --modify-stack-limit=false: otherwise it changes the whole process's limits while it works.
 * -Xptxas=-v is what puts spills and the advice on slow code into the log.
 * -lineinfo is not here: it changes no instruction and triples the cubin; a job that wants to trace
 * code to lines (an emulated device, a profile of a winner) asks for it among its options and gets
 * the same code key.
 */
static const char verbose[] = "-Xptxas=-v";
static const char *const own_options[] = {
    "--minimal",       "--no-cache",     verbose, "-Xptxas=--warn-on-spills",
    "--modify-stack-limit=false", "-std=c++17",
};
enum { OWN_OPTIONS = sizeof own_options / sizeof *own_options };
enum { OPTIONS_MAX = 1 + OWN_OPTIONS + HEADERS_OPTIONS_MAX + JOB_OPTIONS_MAX + 1 };

static struct worker {
    int cuda_version;  /* 13000 */
    char version[160]; /* "nvrtc 13.0 V13.0.88" */
    struct compile_cache *cache; /* NULL: none */
    int64_t deadline_ms;
    const char *sandbox; /* what holds it */
    const char *reads;   /* a folder of headers besides the toolkit's; NULL: none */
} worker = {.deadline_ms = DEADLINE_MS};

/* One run of NVRTC. */
struct request {
    const char *source, *name;
    const char *options[OPTIONS_MAX];
    int option_count;
    const struct headers *headers;
    int64_t deadline; /* on clock_now_ms */
};

static int past_deadline(void *payload, void *unused)
{
    const struct request *request = payload;

    (void)unused;
    return clock_now_ms() > request->deadline;
}

/* Times differ from run to run; without them the log of a source is always the same. */
static bool is_time_line(const char *line)
{
    return str_starts(line, "ptxas info    : Compile time");
}

/* The log as it is kept: no times, at most LOG_BYTES_MAX. */
static const char *tidy_log(struct arena *arena, const char *raw)
{
    struct buf log = {0};
    const char *kept;

    buf_add(&log, "", 0);
    for (const char *line = raw; *line != '\0';) {
        size_t length = strcspn(line, "\n");

        length += line[length] == '\n';
        if (!is_time_line(line)) {
            buf_add(&log, line, length);
        }
        line += length;
    }
    if (log.length <= LOG_BYTES_MAX) {
        kept = arena_text(arena, log.data, log.length);
    } else {
        int head = LOG_BYTES_MAX - LOG_TAIL_BYTES - 64;
        size_t tail = log.length - LOG_TAIL_BYTES;

        kept = arena_printf(arena, "%.*s\n... %zu bytes left out ...\n%s", head, log.data,
                            tail - (size_t)head, log.data + tail);
    }
    buf_free(&log);
    return kept;
}

static const char *take_log(struct arena *arena, nvrtcProgram program)
{
    const char *kept = "";
    size_t size = 0;

    if (nvrtcGetProgramLogSize(program, &size) == NVRTC_SUCCESS && size > 0) {
        char *raw = xcalloc(1, size + 1);

        if (nvrtcGetProgramLog(program, raw) == NVRTC_SUCCESS) {
            kept = tidy_log(arena, raw);
        }
        free(raw);
    }
    return kept;
}

typedef nvrtcResult code_size(nvrtcProgram, size_t *);
typedef nvrtcResult code_copy(nvrtcProgram, char *);

static nvrtcResult take_code(struct arena *arena, nvrtcProgram program, code_size *get_size,
                             code_copy *get, const char **code, size_t *bytes)
{
    nvrtcResult rc = get_size(program, bytes);
    char *copy;

    if (rc != NVRTC_SUCCESS) {
        return rc;
    }
    copy = arena_alloc(arena, *bytes + 1);
    *code = copy;
    return *bytes > 0 ? get(program, copy) : NVRTC_SUCCESS;
}

static nvrtcResult run_nvrtc(struct arena *arena, struct request *request, bool want_code,
                             struct compiled *compiled)
{
    const struct headers *headers = request->headers;
    nvrtcProgram program = NULL;
    nvrtcResult rc;

    *compiled = (struct compiled){.log = "", .ptx = "", .cubin = ""};
    rc = nvrtcCreateProgram(&program, request->source, request->name, headers->count,
                            headers->texts, headers->names);
    if (rc != NVRTC_SUCCESS) {
        return rc;
    }
    nvrtcSetFlowCallback(program, past_deadline, request);
    rc = nvrtcCompileProgram(program, request->option_count, request->options);
    compiled->log = take_log(arena, program);
    compiled->accepted = rc == NVRTC_SUCCESS;
    if (rc == NVRTC_SUCCESS && want_code) {
        rc = take_code(arena, program, nvrtcGetPTXSize, nvrtcGetPTX, &compiled->ptx,
                       &compiled->ptx_bytes);
    }
    if (rc == NVRTC_SUCCESS && want_code) {
        rc = take_code(arena, program, nvrtcGetCUBINSize, nvrtcGetCUBIN, &compiled->cubin,
                       &compiled->cubin_bytes);
    }
    nvrtcDestroyProgram(&program);
    if (compiled->ptx_bytes > 0 && compiled->ptx[compiled->ptx_bytes - 1] == '\0') {
        compiled->ptx_bytes--; /* NVRTC counts the NUL */
    }
    return rc;
}

static bool is_refusal(nvrtcResult rc)
{
    return rc == NVRTC_ERROR_COMPILATION || rc == NVRTC_ERROR_INVALID_OPTION;
}

/* ptxas -v swallows errors of its last stage (too much shared memory): ask again without it. */
static nvrtcResult find_error(struct arena *arena, struct request *request, nvrtcResult rc,
                              struct compiled *compiled)
{
    struct ptxlog facts;
    int kept = 0;

    ptxlog_read(arena, compiled->log, strlen(compiled->log), &facts);
    if (facts.stage != PTXLOG_NO_ERROR) {
        return rc;
    }
    for (int i = 0; i < request->option_count; i++) {
        if (strcmp(request->options[i], verbose) != 0) {
            request->options[kept++] = request->options[i];
        }
    }
    request->option_count = kept;
    return run_nvrtc(arena, request, true, compiled);
}

static nvrtcResult compile(struct arena *arena, struct request *request, bool syntax_first,
                           struct compiled *compiled)
{
    nvrtcResult rc;

    if (syntax_first) {
        request->options[request->option_count++] = "--fdevice-syntax-only";
        rc = run_nvrtc(arena, request, false, compiled);
        request->option_count--;
        if (rc != NVRTC_SUCCESS) {
            return rc;
        }
    }
    rc = run_nvrtc(arena, request, true, compiled);
    return rc == NVRTC_ERROR_COMPILATION ? find_error(arena, request, rc, compiled) : rc;
}

static void request_make(struct arena *arena, const struct compile_job *job,
                         const struct headers *headers, struct request *request)
{
    *request = (struct request){.source = job->source, .headers = headers,
                                .name = *job->name ? job->name : "kernel.cu",
                                .deadline = clock_now_ms() + worker.deadline_ms};
    request->options[request->option_count++] = arena_printf(arena, "-arch=%s", job->arch);
    for (int i = 0; i < OWN_OPTIONS; i++) {
        request->options[request->option_count++] = own_options[i];
    }
    for (int i = 0; i < headers->option_count; i++) {
        request->options[request->option_count++] = headers->options[i];
    }
    for (int i = 0; i < job->option_count; i++) {
        request->options[request->option_count++] = job->options[i];
    }
}

/* Everything that the compiler's answer depends on. */
static struct hash source_key(const struct request *request)
{
    struct hasher hasher;

    hash_begin(&hasher, "evo.source.1");
    hash_text(&hasher, "compiler", worker.version);
    hash_text(&hasher, "name", request->name);
    for (int i = 0; i < request->option_count; i++) {
        hash_text(&hasher, "option", request->options[i]);
    }
    hash_field(&hasher, "headers", request->headers->digest.bytes, HASH_BYTES);
    hash_text(&hasher, "source", request->source);
    return hash_end(&hasher);
}

/* Options that make NVRTC read files, whose contents the source key does not know. */
static bool reads_files(const struct compile_job *job)
{
    static const char *const starts[] = {"-I",          "--include-path", "-include",
                                         "--pre-include", "-pch",         "--pch",
                                         "-use-pch",      "--use-pch",    "--create-pch",
                                         "-create-pch"};

    for (int i = 0; i < job->option_count; i++) {
        for (size_t j = 0; j < sizeof starts / sizeof *starts; j++) {
            if (str_starts(job->options[i], starts[j])) {
                return true;
            }
        }
    }
    return false;
}

static void refuse(struct built *built, enum verdict verdict, const char *reason)
{
    built->verdict = verdict;
    built->reason = reason;
}

static bool has_entry(const struct cubin_facts *facts, const char *name)
{
    for (int i = 0; i < facts->entry_count; i++) {
        if (strcmp(facts->entries[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * The rules that a candidate may break without the compiler minding. A job that names no kernels is
 * no candidate: nobody asks more of it than to compile.
 */
static void check_contract(struct arena *arena, const struct compile_job *job,
                           const struct cubin_facts *facts, struct built *built)
{
    if (job->entry_count == 0) {
        return;
    }
    if (facts->writable_state_bytes > 0) {
        refuse(built, VERDICT_INVALID,
               arena_printf(arena, "keeps %lld bytes of __device__ variables, which could remember "
                            "results between launches", (long long)facts->writable_state_bytes));
        return;
    }
    if (*facts->calls_out != '\0') {
        refuse(built, VERDICT_INVALID,
               arena_printf(arena, "calls '%s', which only the device runtime has",
                            facts->calls_out));
        return;
    }
    for (int i = 0; i < job->entry_count; i++) {
        if (!has_entry(facts, job->entries[i])) {
            refuse(built, VERDICT_INVALID,
                   arena_printf(arena, "holds no kernel '%s' (is it extern \"C\" __global__?)",
                                job->entries[i]));
            return;
        }
    }
}

/* Only the log knows what was spilled. */
static void add_spills(const struct ptxlog *log, struct built *built)
{
    for (int i = 0; i < built->entry_count; i++) {
        for (int j = 0; j < log->entry_count; j++) {
            if (strcmp(built->entries[i].name, log->entries[j].name) == 0) {
                built->entries[i].spill_store_bytes = log->entries[j].spill_store_bytes;
                built->entries[i].spill_load_bytes = log->entries[j].spill_load_bytes;
            }
        }
    }
}

static void read_code(struct arena *arena, const struct compile_job *job,
                      const struct compiled *compiled, const struct ptxlog *log,
                      struct built *built)
{
    struct cubin_facts facts;
    struct err err = {0};

    if (compiled->ptx_bytes > JOB_CODE_BYTES_MAX ||
        compiled->cubin_bytes > JOB_CODE_BYTES_MAX) {
        refuse(built, VERDICT_INVALID,
               arena_printf(arena, "compiles to more than %d MiB of code",
                            JOB_CODE_BYTES_MAX >> 20));
        return;
    }
    if (!cubin_read(arena, compiled->cubin, compiled->cubin_bytes, &facts, &err)) {
        refuse(built, VERDICT_INVALID, arena_dup(arena, err.what));
        return;
    }
    memcpy(built->entries, facts.entries, sizeof facts.entries);
    built->entry_count = facts.entry_count;
    built->code_key = facts.code_key;
    add_spills(log, built);
    check_contract(arena, job, &facts, built);
    if (built->verdict == VERDICT_NONE) {
        built->ptx = compiled->ptx;
        built->ptx_bytes = compiled->ptx_bytes;
        built->cubin = compiled->cubin;
        built->cubin_bytes = compiled->cubin_bytes;
    }
}

/* What the compiler said, cached or not, becomes the answer. */
static void read_compiled(struct arena *arena, const struct compile_job *job,
                          const struct compiled *compiled, struct built *built)
{
    struct ptxlog log;

    ptxlog_read(arena, compiled->log, strlen(compiled->log), &log);
    built->log = compiled->log;
    built->warnings = log.warnings;
    built->slow = log.slow;
    if (compiled->accepted) {
        read_code(arena, job, compiled, &log, built);
    } else {
        refuse(built, VERDICT_NO_COMPILE,
               *log.error ? log.error : "refused without an error line in the log");
    }
}

/* Neither accepted nor refused: out of time, or NVRTC itself failed and may be in any state. */
static void read_failure(struct arena *arena, nvrtcResult rc, const struct compiled *compiled,
                         struct built *built, bool *last)
{
    built->log = compiled->log;
    if (rc == NVRTC_ERROR_CANCELLED) {
        refuse(built, VERDICT_TIMEOUT,
               arena_printf(arena, "not compiled after %lld ms", (long long)worker.deadline_ms));
    } else {
        refuse(built, VERDICT_CRASH,
               arena_printf(arena, "the compiler failed: %s", nvrtcGetErrorString(rc)));
        *last = true;
    }
}

static void build(struct arena *arena, const struct compile_job *job, struct built *built,
                  bool *last)
{
    struct compile_cache *cache;
    struct headers headers;
    struct request request;
    struct compiled compiled;
    nvrtcResult rc;
    struct hash key;

    if (memchr(job->source, '\0', job->source_bytes) != NULL) {
        refuse(built, VERDICT_NO_COMPILE, "the source holds a NUL byte");
        return;
    }
    headers_for(job->source, worker.cuda_version, &headers);
    request_make(arena, job, &headers, &request);
    key = source_key(&request);
    cache = headers.sealed && !reads_files(job) ? worker.cache : NULL;
    built->cached = compile_cache_get(cache, arena, &key, &compiled);
    if (!built->cached) {
        FAULT("compile.job");
        rc = compile(arena, &request, job->syntax_first, &compiled);
        if (rc != NVRTC_SUCCESS && !is_refusal(rc)) {
            read_failure(arena, rc, &compiled, built, last);
            return;
        }
        FAULT("compile.cache");
        compile_cache_put(cache, arena, &key, &compiled);
    }
    read_compiled(arena, job, &compiled, built);
}

static bool handle(void *unused, struct arena *arena, const struct message *message,
                   struct message **answer, bool *last, struct err *err)
{
    int64_t start_us = clock_now_us();
    struct compile_job job;
    struct built built = {.reason = "", .log = "", .warnings = "", .slow = ""};

    (void)unused;
    if (!compile_decode(arena, message, &job, err)) {
        return false;
    }
    if (!str_starts(job.arch, "sm_")) {
        return err_set(err, ERR_USER, "'%.40s' is no architecture with machine code (sm_90a is)",
                       job.arch);
    }
    built.id = job.id;
    build(arena, &job, &built, last);
    built.compile_ms = (double)(clock_now_us() - start_us) / 1000;
    *answer = built_encode(arena, &built);
    FAULT("compile.answer");
    return true;
}

/*
 * Compiles an empty kernel, for what nvrtcVersion does not say: the build. It also shows that the
 * library works and writes cubins that we can read.
 */
static bool probe(struct err *err)
{
    static const struct headers none = {.sealed = true};
    struct arena *arena = arena_new();
    struct compile_job job = {.source = "extern \"C\" __global__ void k() {}", .name = "probe.cu"};
    struct compiled compiled;
    struct cubin_facts facts;
    struct request request;
    int major, minor, count = 0;
    nvrtcResult rc;
    bool ok = false;

    nvrtcVersion(&major, &minor);
    worker.cuda_version = major * 1000 + minor * 10;
    if (nvrtcGetNumSupportedArchs(&count) == NVRTC_SUCCESS && count > 0) {
        int *archs = arena_alloc(arena, (size_t)count * sizeof *archs);

        nvrtcGetSupportedArchs(archs);
        job.arch = arena_printf(arena, "sm_%d", archs[0]);
    } else {
        job.arch = "sm_90";
    }
    request_make(arena, &job, &none, &request);
    request.deadline = clock_now_ms() + DEADLINE_MS; /* the user's limit is for jobs */
    rc = run_nvrtc(arena, &request, true, &compiled);
    if (rc != NVRTC_SUCCESS) {
        err_set(err, ERR_SYSTEM, "nvrtc %d.%d does not work: %s %.400s", major, minor,
                nvrtcGetErrorString(rc), compiled.log);
    } else if (cubin_read(arena, compiled.cubin, compiled.cubin_bytes, &facts, err)) {
        ok = *facts.tool != '\0' ||
             err_set(err, ERR_SYSTEM, "the machine code of nvrtc %d.%d does not name its build",
                     major, minor);
        snprintf(worker.version, sizeof worker.version, "nvrtc %d.%d %.100s", major, minor,
                 facts.tool);
    }
    arena_free(arena);
    return ok;
}

/* The folder that a loaded library lies in; NULL when nobody knows. */
static const char *folder_of_library(struct arena *arena, void *symbol)
{
    Dl_info info;
    char *real, *slash;

    if (dladdr(symbol, &info) == 0 || (real = realpath(info.dli_fname, NULL)) == NULL) {
        return NULL;
    }
    const char *folder = arena_dup(arena, real);
    free(real);
    slash = strrchr(folder, '/');
    return slash != NULL ? arena_text(arena, folder, (size_t)(slash - folder)) : NULL;
}

/*
 * A source is untrusted: it may cost its own job, not the machine. Of files it sees what a compiler
 * needs, the toolkit and the system's libraries, and so what #include "/..." finds; it leaves
 * nothing anywhere but in the cache.
 */
static void confine(void)
{
    struct arena *arena = arena_new();
    int (*probe_symbol)(int *, int *) = (int (*)(int *, int *))nvrtcVersion;
    void *symbol;

    memcpy(&symbol, &probe_symbol, sizeof symbol);
    struct sandbox sandbox = {
        .readable = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime",
                     "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/proc/self",
                     "/dev/urandom", "/dev/zero", "/opt/cuda", EVO_CUDA_HOME, getenv("CUDA_HOME"),
                     getenv("CUDA_PATH"), folder_of_library(arena, symbol), worker.reads},
        .writable = {worker.cache != NULL ? compile_cache_folder(worker.cache) : NULL, "/dev/null"},
        .closes_files = true,
        .closes_sockets = true,
        .memory_bytes = memory_bytes_max,
        .file_bytes = file_bytes_max,
    };

    worker.sandbox = sandbox_enter(&sandbox);
    arena_free(arena);
    errno = 0;
    if (nice(NICENESS) == -1 && errno != 0) {
        log_line("compile", "runs at full priority: nice was refused");
    }
    if (chdir("/") != 0) { /* #include "x" finds nothing here */
        log_line("compile", "cannot leave the current folder");
    }
}

static void *work(void *exit_code)
{
    struct hello hello = {.protocol = JOB_PROTOCOL, .role = ROLE_COMPILE, .backend = "nvrtc",
                          .version = worker.version, .device = "", .device_id = "",
                          .sandbox = worker.sandbox,
                          .deterministic = true};
    struct err err;

    if (!probe(&err)) {
        log_line("compile", "%s", err.what);
        *(int *)exit_code = err_exit_code(&err);
    } else {
        *(int *)exit_code = worker_run(&hello, handle, NULL);
    }
    return NULL;
}

static int work_on_large_stack(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int code = 1;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (pthread_create(&thread, &attributes, work, &code) == 0) {
        pthread_join(thread, NULL);
    } else {
        log_line("compile", "cannot start a thread with %d MiB of stack", STACK_BYTES >> 20);
    }
    pthread_attr_destroy(&attributes);
    return code;
}

static int usage(FILE *to, int code)
{
    fputs("usage: evo-compile [--cache DIR] [--no-disk-cache] [--deadline-ms N]\n"
          "\n"
          "Compiles CUDA sources that arrive as frames on stdin and answers on stdout;\n"
          "evo starts it. See docs/PROTOCOL.md.\n"
          "\n"
          "  --cache DIR       keep compiled code below DIR (default: $EVO_CACHE_DIR,\n"
          "                    $XDG_CACHE_HOME/evo or ~/.cache/evo)\n"
          "  --no-disk-cache   compile every source\n"
          "  --read DIR        sources may include files of this folder too\n"
          "  --deadline-ms N   give a source up after N milliseconds (60000)\n", to);
    return code;
}

static bool parse_arguments(int argc, char **argv, const char **folder, bool *use_cache)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--no-disk-cache") == 0) {
            *use_cache = false;
        } else if (strcmp(argv[i], "--cache") == 0 && value != NULL) {
            *folder = argv[++i];
        } else if (strcmp(argv[i], "--read") == 0 && value != NULL) {
            worker.reads = argv[++i];
        } else if (strcmp(argv[i], "--deadline-ms") == 0 && value != NULL &&
                   str_to_i64(value, &worker.deadline_ms) && worker.deadline_ms > 0 &&
                   worker.deadline_ms < 1000 * 1000 * 1000) {
            i++;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *folder = NULL;
    bool use_cache = true;
    struct err err;
    int code;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return usage(stdout, 0);
    }
    if (!parse_arguments(argc, argv, &folder, &use_cache)) {
        return usage(stderr, 2);
    }
    worker_claim_stdio();
    if (use_cache && !compile_cache_open(folder, &worker.cache, &err)) {
        log_line("compile", "going on without a cache: %s", err.what);
    }
    confine();
    code = work_on_large_stack();
    compile_cache_close(worker.cache);
    return code;
}
