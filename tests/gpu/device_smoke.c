/*
 * device_smoke -- does the CUDA backend do what device.h says, on this machine? Prints a table.
 *
 *     device_smoke CUBIN             everything, about a minute
 *     device_smoke CUBIN --counters  hardware counters alone
 *     device_smoke CUBIN --case X    one case in a process of its own (used by itself)
 *
 * The backend is compiled in, so that its insides can be looked at when something is wrong. The
 * cubin is device_kernels.cu's. gpu/device.sh starts it; it is skipped where there is no GPU.
 */
#include "fitness/device_cuda.c"
#include "fitness/records_cuda.c"
#include "fitness/sensors_cuda.c"
#include "fitness/audit_cuda.c"
#include "fitness/calls_cuda.c"
#include "fitness/measure_cuda.c"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "fitness/device.h"
#include "fitness/score.h"
#include "fitness/stats.h"
#include "fitness/verify.h"
#include "fitness/inputs.h"
#include "fitness/reference.h"

extern char **environ;
static struct buf cubin;
static const char *self, *cubin_path;
static int failures;
static struct err err;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        bool ok_ = (condition);                                                                    \
        failures += !ok_;                                                                          \
        printf("%s  ", ok_ ? "ok  " : "FAIL");                                                     \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        fflush(stdout);                                                                            \
    } while (0)

static const char *const status_names[DEVICE_STATUSES] = {
    "OK", "REFUSED", "ILLEGAL", "TRAPPED", "LOST", "?", "?", "?", "?", "?", "?"};
static void must(enum device_status status, const char *what)
{
    if (status != DEVICE_OK) {
        printf("FAIL  %s: %s: %s (%s)\n", what, status_names[status], err.what, err.hint);
        fflush(stdout);
        _exit(3);
    }
}
static double ms_since(int64_t start_us) { return (double)(clock_now_us() - start_us) / 1000; }

/* ---- a program and plan by hand: "name:args" with args among o q p(roblem) w(orkspace 0) */
static void add_kernel(struct program *program, struct plan *plan, const char *text, uint32_t grid,
                       uint32_t threads, uint32_t smem)
{
    struct program_kernel *pk = &program->kernels[program->kernel_count++];
    struct plan_kernel *k = &plan->kernels[plan->kernel_count++];
    char *name = xstrdup(text), *args = strchr(name, ':');

    *args++ = '\0';
    pk->name = k->name = name;
    k->grid[0] = grid, k->grid[1] = k->grid[2] = 1, k->threads = threads, k->smem_bytes = smem;
    for (; *args; args++) {
        pk->args[pk->arg_count++] = *args == 'p'   ? "problem"
                                    : *args == 'w' ? "work"
                                    : *args == 'q' ? "Q"
                                                   : "O";
        k->args[k->arg_count++].kind = *args == 'p'   ? ARG_PROBLEM
                                       : *args == 'w' ? ARG_WORKSPACE
                                       : *args == 'q' ? ARG_Q
                                                      : ARG_O;
    }
}
struct subject {
    struct program program;
    struct plan plan;
    struct device_module *module;
};
static enum device_status subject_load(struct subject *s)
{
    struct judge_image image = {
        .cubin = cubin.data, .cubin_bytes = cubin.length, .program = s->program};
    return device_load(&image, &s->module, &err);
}
static struct subject one(const char *text, uint32_t grid, uint32_t threads, uint32_t smem)
{
    struct subject s = {0};
    add_kernel(&s.program, &s.plan, text, grid, threads, smem);
    return s;
}

enum { SETS = 4, GUARD = 4096 };
static struct device_buffers sets[SETS];
static int64_t o_bytes;
static void make_sets(int batch, int heads, int len, int dim, int kv, int64_t work_bytes)
{
    o_bytes = (int64_t)batch * heads * len * dim * 2;
    for (int i = 0; i < SETS; i++) {
        struct device_buffers *b = &sets[i];
        device_ptr *all[] = {&b->q, &b->o, &b->workspaces[0]};
        size_t bytes[] = {(size_t)o_bytes, (size_t)o_bytes + GUARD, (size_t)work_bytes + GUARD};

        for (int j = 0; j < 3; j++) {
            device_free(*all[j]);
            must(device_alloc(bytes[j], all[j], &err), "alloc");
            must(device_fill(*all[j], 0x3c003c00u + (uint32_t)j, bytes[j] / 4 * 4, &err), "fill");
        }
        b->problem = (struct problem_args){.batch = batch,
                                           .heads = heads,
                                           .kv_heads = heads,
                                           .q_len = len,
                                           .kv_len = kv,
                                           .head_dim = dim,
                                           .scale = 0.125f};
    }
}
static void set_kv(int kv)
{
    for (int i = 0; i < SETS; i++)
        sets[i].problem.kv_len = kv;
}

static long rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * 4;
}

/* ---- child cases */
static int run_case(const char *name)
{
    struct arena *arena = arena_new();
    struct hello hello;
    int64_t t = clock_now_us();
    struct subject s;
    char text[64];
    enum device_status status;

    if (!device_open(arena, "0", &hello, &err)) {
        printf("open failed after %.0f ms: %s (%s)\n", ms_since(t), err.what, err.hint);
        return strcmp(name, "lock") == 0 && strstr(err.what, "in use") != NULL ? 0 : 9;
    }
    if (strcmp(name, "lock") == 0) {
        return 8; /* it must not have opened */
    }
    make_sets(1, 8, 512, 64, 1000, 4096);
    if (strcmp(name, "junk") == 0) {
        struct judge_image image = {.cubin = cubin.data, .cubin_bytes = cubin.length};
        memset(cubin.data + 64, 0, cubin.length - 64);
        status = device_load(&image, &s.module, &err);
        printf("an ELF header before zeros: %s: %s\n", status_names[status], err.what);
        return status == DEVICE_REFUSED ? 0 : 7;
    }
    snprintf(text, sizeof text, "%s:o", strncmp(name, "measure-", 8) == 0 ? name + 8 : name);
    s = one(text, 1, 32, 0);
    must(subject_load(&s), "load");
    printf("opened in %.0f ms; ", ms_since(t));
    fflush(stdout);
    t = clock_now_us();
    if (strncmp(name, "measure-", 8) == 0) {
        struct measured measured;
        struct measure_request request = {
            .module = s.module, .plan = &s.plan, .sets = sets, .set_count = SETS, .cap_ms = 100};
        status = device_measure(arena, &request, &measured, &err);
    } else {
        status = device_call(s.module, &s.plan, &sets[0], &err);
    }
    printf("%s in %.0f ms: %s; ", status_names[status], ms_since(t), err.what);
    t = clock_now_us();
    device_unload(s.module);
    device_close();
    printf("close %.0f ms\n", ms_since(t));
    return 10 + (int)status;
}
static pid_t start_case(const char *name)
{
    char *argv[] = {(char *)self, (char *)cubin_path, "--case", (char *)name, NULL};
    pid_t pid = 0;
    fflush(stdout);
    if (posix_spawn(&pid, self, NULL, NULL, argv, environ) != 0) {
        perror(self);
        exit(2);
    }
    return pid;
}
static void expect_case(const char *name, int want)
{
    int64_t t = clock_now_us();
    int status = 0;
    printf("      [%s] ", name);
    waitpid(start_case(name), &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == want,
          "case %s: %s %d, wanted exit %d, %.0f ms in all", name,
          WIFEXITED(status) ? "exit" : "signal",
          WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), want, ms_since(t));
}
static void endless_case(void)
{
    int status = 0;
    pid_t pid;
    int64_t t;
    printf("      [endless] ");
    pid = start_case("endless");
    sleep(3);
    t = clock_now_us();
    CHECK(waitpid(pid, &status, WNOHANG) == 0, "an endless kernel is still running after 3 s");
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    printf("      reaped %.0f ms after SIGKILL\n", ms_since(t));
}

/* ---- what CUPTI told of the newest batch, as it lies in records_cuda.c */
static void dump_records(size_t most)
{
    static const char *const kinds[] = {"kernel", "memset", "hold"};
    size_t count = 0;
    const struct record *batch;

    pthread_mutex_lock(&activity.lock);
    batch = records_of_batch(&count);
    if (batch == NULL) { /* no hold at all: show what there is */
        batch = activity.list, count = activity.count;
        printf("      no hold among %zu records\n", count);
    }
    for (size_t i = 0; i < count && i < most; i++)
        printf("      record %3zu %-6s corr %u start %+12.3f us for %9.3f us, %llu bytes, grid %d "
               "x %d\n",
               i, kinds[batch[i].kind], batch[i].correlation,
               (double)(int64_t)(batch[i].start_ns - batch[0].start_ns) / 1e3,
               (double)(int64_t)(batch[i].end_ns - batch[i].start_ns) / 1e3,
               (unsigned long long)batch[i].bytes, batch[i].grid[0], batch[i].threads);
    printf("      (%zu records in the batch)\n", count);
    pthread_mutex_unlock(&activity.lock);
    fflush(stdout);
}

/* ---- timing */
static struct measured got;
static double last_ms;
static bool clock_it(struct arena *arena, struct subject *s, double bound_us, double cap_ms)
{
    struct measure_request request = {.module = s->module,
                                      .plan = &s->plan,
                                      .sets = sets,
                                      .set_count = SETS,
                                      .bound_us = bound_us,
                                      .cap_ms = cap_ms};
    int64_t t = clock_now_us();
    enum device_status status = device_measure(arena, &request, &got, &err);

    last_ms = ms_since(t);
    if (status != DEVICE_OK) {
        CHECK(false, "measure: %s: %s (%s)", status_names[status], err.what, err.hint);
        dump_records(40);
        return false;
    }
    return true;
}
static double row(const char *name)
{
    struct timing *t = &got.timing;
    double spans[JOB_SAMPLES_MAX], graphs[JOB_SAMPLES_MAX];
    struct score score = {0};

    memcpy(spans, t->span_us, sizeof *spans * (size_t)t->span_count);
    if (t->graph_count > 0)
        memcpy(graphs, t->graph_us, sizeof *graphs * (size_t)t->graph_count);
    score_of_samples(t->span_us, t->span_count, t->tick_us, &score);
    printf(
        "%-26s %4d%c %9.3f %9.3f %9.3f %9.3f ±%5.2f%% %9.3f %2d %7.1f %5.0f %6.1f %4.0f 0x%llx\n",
        name, t->span_count, t->quick ? 'q' : ' ', stats_quantile(spans, t->span_count, 0),
        stats_quantile(spans, t->span_count, 0.5), stats_quantile(spans, t->span_count, 0.9), score.us,
        50 * (score.high - score.low) / score.us,
        t->graph_count > 0 ? stats_quantile(graphs, t->graph_count, 0.5) : NAN, t->graph_count, last_ms,
        got.sm_clock_mhz, got.power_w, got.temperature_c, (unsigned long long)got.throttle_reasons);
    fflush(stdout);
    return score.us;
}
static double graph_us(void)
{
    return got.timing.graph_count > 0 ? stats_quantile(got.timing.graph_us, got.timing.graph_count, 0.5)
                                      : NAN;
}

static void refusals(void)
{
    struct subject s;
    struct judge_image text = {.cubin = ".version 7.0 .target sm_70 .address_size 64 // this is "
                                        "PTX, not a cubin, and long enough",
                               .cubin_bytes = 80};

    s = one("spinner:o", 1, 32, 0);
    CHECK(subject_load(&s) == DEVICE_REFUSED && s.module == NULL, "too few declared: %s", err.what);
    s = one("spinner:opp", 1, 32, 0);
    CHECK(subject_load(&s) == DEVICE_REFUSED, "too many declared: %s", err.what);
    s = one("spinner:oo", 1, 32, 0);
    CHECK(subject_load(&s) == DEVICE_REFUSED, "wrong size: %s", err.what);
    s = one("nobody:o", 1, 32, 0);
    CHECK(subject_load(&s) == DEVICE_REFUSED, "no such entry: %s", err.what);
    CHECK(device_load(&text, &s.module, &err) == DEVICE_REFUSED, "not a cubin: %s", err.what);
    s = one("bounded:o", 1, 256, 0);
    must(subject_load(&s), "load");
    CHECK(device_call(s.module, &s.plan, &sets[0], &err) == DEVICE_REFUSED, "too many threads: %s",
          err.what);
    s.plan.kernels[0].threads = 128;
    s.plan.kernels[0].smem_bytes = 240000;
    CHECK(device_call(s.module, &s.plan, &sets[0], &err) == DEVICE_REFUSED,
          "too much shared memory: %s", err.what);
    s.plan.kernels[0].smem_bytes = 232448;
    CHECK(device_call(s.module, &s.plan, &sets[0], &err) == DEVICE_OK,
          "all the shared memory: runs");
    printf("      occupancy with it %.1f %%", device_occupancy(s.module, &s.plan));
    s.plan.kernels[0].smem_bytes = 0;
    printf(", without %.1f %%\n", device_occupancy(s.module, &s.plan));
    device_unload(s.module);
}

static void memory(void)
{
    struct subject s = one("copy:qop", 64, 256, 0);
    size_t bytes = (size_t)o_bytes + GUARD;
    unsigned char *out = malloc(bytes), *in = malloc((size_t)o_bytes);
    bool same, guard;

    for (int64_t i = 0; i < o_bytes; i++)
        in[i] = (unsigned char)(i * 31 + (i >> 9));
    must(device_write(sets[0].q, in, (size_t)o_bytes, &err), "write");
    must(device_fill(sets[0].o, 0xdeadbeef, bytes, &err), "fill");
    must(subject_load(&s), "load");
    must(device_call(s.module, &s.plan, &sets[0], &err), "copy");
    must(device_read(out, sets[0].o, bytes, &err), "read");
    same = memcmp(in, out, (size_t)o_bytes) == 0;
    guard = true;
    for (size_t i = (size_t)o_bytes; i < bytes; i += 4)
        guard &= *(uint32_t *)(out + i) == 0xdeadbeef;
    CHECK(same && guard, "copy: output equals input, guard untouched");
    device_unload(s.module);
    s = one("overrun:qop", 1, 256, 0);
    must(subject_load(&s), "load");
    must(device_call(s.module, &s.plan, &sets[0], &err), "overrun");
    must(device_read(out, sets[0].o, bytes, &err), "read");
    CHECK(*(uint32_t *)(out + o_bytes) == 0x12345678 &&
              *(uint32_t *)(out + o_bytes + 4) == 0xdeadbeef,
          "overrun: shows in the guard");
    device_unload(s.module);
    free(out), free(in);
}

static struct subject tally(int64_t bytes)
{
    struct subject s = one("tally:w", 4, 32, 0);
    add_kernel(&s.program, &s.plan, "publish:ow", 1, 32, 0);
    s.plan.workspace_count = 1;
    s.plan.workspaces[0].bytes = bytes;
    s.plan.workspaces[0].kind = WORKSPACE_ZERO_CALL;
    return s;
}
static void zero_call(void)
{
    struct subject s = tally(1003);
    uint32_t got[3];

    must(subject_load(&s), "load");
    for (int i = 0; i < 3; i++) {
        must(device_call(s.module, &s.plan, &sets[0], &err), "call");
        must(device_read(&got[i], sets[0].o, 4, &err), "read");
    }
    CHECK(got[0] == 128 && got[1] == 128 && got[2] == 128, "zero_call: %u %u %u, wanted 128 each",
          got[0], got[1], got[2]);
    device_unload(s.module);
}

static void scrub(const struct hello *hello)
{
    enum { WORDS = 50000 };
    int blocks = (int)hello->device_sms, seen = 0;
    struct subject s = one("peek:op", (uint32_t)blocks, 256, WORDS * 4);
    uint32_t *out = calloc((size_t)blocks, 16), pattern[2] = {0x13579bdf, 0x2468ace0};
    char smid[1024] = {0};

    must(subject_load(&s), "load");
    set_kv(WORDS);
    for (int round = 0; round < 2; round++) {
        uint32_t least = WORDS, right = 0;
        seen = 0, memset(smid, 0, sizeof smid);
        must(device_scrub_shared(pattern[round], &err), "scrub");
        must(device_call(s.module, &s.plan, &sets[0], &err), "peek");
        must(device_read(out, sets[0].o, (size_t)blocks * 16, &err), "read");
        for (int i = 0; i < blocks; i++) {
            seen += !smid[out[i * 4] % 1024]++;
            least = out[i * 4 + 1] < least ? out[i * 4 + 1] : least;
            right += out[i * 4 + 2] == pattern[round];
        }
        CHECK(seen == blocks && least > WORDS * 9 / 10,
              "scrub %d: %d SMs seen; least %u of %d words garbage of ours; pattern at offset 0 in "
              "%u blocks",
              round, seen, least, WORDS - 64, right);
    }
    set_kv(1000);
    device_unload(s.module);
    free(out);
}

static void costs(void)
{
    struct subject s = one("empty:o", 1, 32, 0);
    int64_t t;
    must(subject_load(&s), "load");
    device_unload(s.module);
    t = clock_now_us();
    for (int i = 0; i < 20; i++) {
        must(subject_load(&s), "load");
        if (i < 19)
            device_unload(s.module);
    }
    printf("      load+unload %.0f us", ms_since(t) * 50);
    t = clock_now_us();
    for (int i = 0; i < 200; i++)
        must(device_call(s.module, &s.plan, &sets[0], &err), "call");
    printf(", empty call %.1f us", ms_since(t) * 5);
    t = clock_now_us();
    for (int i = 0; i < 200; i++)
        must(device_scrub_shared((uint32_t)i, &err), "scrub");
    must(device_call(s.module, &s.plan, &sets[0], &err), "call");
    printf(", scrub %.1f us", ms_since(t) * 5);
    t = clock_now_us();
    for (int i = 0; i < 200; i++)
        must(device_fill(sets[0].o, 7, 512 * 1024, &err), "fill");
    must(device_call(s.module, &s.plan, &sets[0], &err), "call");
    printf(", fill of 512 KiB %.1f us\n", ms_since(t) * 5);
    device_unload(s.module);
}

/* ---- probes: facts that the backend relies on, one by one */
static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double mid(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_double);
    return v[n / 2];
}

/* Memsets behind a hold: is there one record each, in order, with a time, and of what length? */
static void probe_memsets(void)
{
    static const struct {
        size_t bytes, offset;
    } cases[] = {{4, 0},    {16, 0},    {256, 0},    {1003, 0},     {1003, 1},    {4096, 0},
                 {4096, 2}, {65536, 0}, {524288, 0}, {33554432, 0}, {67108864, 0}};
    CUdeviceptr at;

    if (cuMemAlloc(&at, 80 << 20) != CUDA_SUCCESS) {
        printf("      no memory for memsets\n");
        return;
    }
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        enum { N = 20 };
        double length[N], gap[N - 1];
        size_t count = 0, zero = 0;
        bool right = true;
        const struct record *batch;

        records_keep(true);
        must(cuda_hold(&err), "hold");
        for (int i = 0; i < N; i++)
            must(cuda_enqueue_memset(at + cases[c].offset, (uint8_t)i, (int64_t)cases[c].bytes,
                                     &err),
                 "memset");
        cuda_release();
        must(cuda_settle(DEVICE_OK, &err), "settle");
        batch = records_collect(1 + N, &count, &err);
        if (batch == NULL) {
            CHECK(false, "memset of %zu at +%zu: %s", cases[c].bytes, cases[c].offset, err.what);
            dump_records(30);
            records_keep(false);
            continue;
        }
        for (int i = 0; i < N; i++) {
            const struct record *r = &batch[1 + i];
            length[i] = (double)(r->end_ns - r->start_ns) / 1e3;
            if (i > 0)
                gap[i - 1] = (double)(int64_t)(r->start_ns - r[-1].end_ns) / 1e3,
                        right &= r->start_ns >= r[-1].end_ns;
            zero += r->end_ns <= r->start_ns;
            right &= r->kind == RECORD_MEMSET && r->bytes == cases[c].bytes;
        }
        double most = 0;
        for (int i = 0; i < N; i++)
            most = length[i] > most ? length[i] : most;
        CHECK(right && zero == 0,
              "memset of %8zu at +%zu: %d records, %.3f us (most %.3f), gap %.3f us, %zu without a "
              "length",
              cases[c].bytes, cases[c].offset, N, mid(length, N), most, mid(gap, N - 1), zero);
        records_keep(false);
    }
    cuMemFree(at);
}

/* How fast does a released hold end; how many launches fit behind one before the host has to wait?
 */
static void probe_hold(struct subject *empty)
{
    enum { N = 1600 };
    double spent[20], worst[4] = {0}, t, start;
    int blocked = -1;
    CUresult code = CUDA_SUCCESS;

    for (int i = 0; i < 20; i++) {
        must(cuda_hold(&err), "hold");
        struct timespec nap = {.tv_nsec = 300000};
        nanosleep(&nap, NULL);
        t = now_us();
        cuda_release();
        must(cuda_settle(DEVICE_OK, &err), "settle");
        spent[i] = now_us() - t;
    }
    printf("      a hold ends %.1f us after its release (host's view, synchronize included)\n",
           mid(spent, 20));
    must(cuda_hold(&err), "hold");
    start = now_us();
    for (int i = 0; i < N && code == CUDA_SUCCESS && blocked < 0; i++) {
        t = now_us();
        must(cuda_enqueue_call(empty->module, &empty->plan, &sets[0], &err), "enqueue");
        double d = now_us() - t;
        worst[i < 160   ? 0
              : i < 400 ? 1
              : i < 900 ? 2
                        : 3] = fmax(worst[i < 160   ? 0
                                          : i < 400 ? 1
                                          : i < 900 ? 2
                                                    : 3],
                                    d);
        if (d > 20000)
            blocked = i;
    }
    t = now_us();
    cuda_release();
    must(cuda_settle(DEVICE_OK, &err), "settle");
    printf("      behind a hold: slowest launch of the first 160 %.0f us, to 400 %.0f, to 900 "
           "%.0f, to %d %.0f; first that waited: %d; %.2f us a launch\n",
           worst[0], worst[1], worst[2], N, worst[3], blocked,
           (t - start) / (blocked < 0 ? N : blocked + 1));
    CHECK(worst[0] < 5000,
          "a batch of 160 launches is enqueued behind a hold without waiting for the device");
    start = now_us();
    must(cuda_hold(&err), "hold");
    must(cuda_settle(DEVICE_OK, &err), "settle");
    t = now_us() - start;
    CHECK(t > 95e3 && t < 130e3, "a hold that nobody releases gives up after %.1f ms", t / 1e3);
    cuda_release();
}

static void probe_memory(void)
{
    static const size_t sizes[] = {4096, 557056, 1 << 21, 33587200, 134250496};
    void *page = malloc(64 << 20), *pinned = NULL;
    CUdeviceptr at;

    memset(page, 1, 64 << 20);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        enum { N = 10 };
        CUdeviceptr p[N] = {0};
        double a = now_us(), b, c;
        for (int i = 0; i < N; i++)
            cuMemAlloc(&p[i], sizes[s]);
        b = now_us();
        for (int i = 0; i < N; i++)
            cuMemFree(p[i]);
        c = now_us();
        double x = now_us(), y;
        device_ptr d;
        must(device_alloc(sizes[s], &d, &err), "alloc"), device_free(d);
        x = now_us();
        for (int i = 0; i < 100; i++)
            must(device_alloc(sizes[s], &d, &err), "alloc"), device_free(d);
        y = now_us();
        printf("      %9zu bytes: cuMemAlloc %.1f us, cuMemFree %.1f us; device_alloc + free again "
               "%.2f us\n",
               sizes[s], (b - a) / N, (c - b) / N, (y - x) / 100);
    }
    CHECK(cuMemHostAlloc(&pinned, 64 << 20, 0) == CUDA_SUCCESS &&
              cuMemAlloc(&at, 64 << 20) == CUDA_SUCCESS,
          "memory for copies");
    for (size_t bytes = 16384; bytes <= 33554432; bytes = bytes == 16384 ? 524288 : bytes * 64) {
        double t[5] = {0};
        for (int i = 0; i < 6; i++) {
            t[0] = now_us();
            must(device_write(at, page, bytes, &err), "w");
            t[1] = now_us();
            must(device_read(page, at, bytes, &err), "r");
            t[2] = now_us();
            must(device_write(at, pinned, bytes, &err), "w");
            t[3] = now_us();
            must(device_read(pinned, at, bytes, &err), "r");
            t[4] = now_us();
        }
        printf("      %9zu bytes: write %.0f us, read %.0f us; pinned %.0f and %.0f us\n", bytes,
               t[1] - t[0], t[2] - t[1], t[3] - t[2], t[4] - t[3]);
    }
    cuMemFree(at), cuMemFreeHost(pinned), free(page);
}

static void probe_sensors(void)
{
    struct nvml_reading now;
    double start;

    printf("      NVML: library %s, device %s, driver '%s'\n", sensors.nvml ? "yes" : "NO",
           sensors.device ? "yes" : "NO", sensors_driver_version());
    if (sensors.device == NULL)
        return;
    start = now_us();
    nvml_read(sensors.nvml, sensors.device, &now);
    printf("      SM clock %.0f MHz, %.0f C, %.1f W, reasons 0x%llx, %.0f other processes; read in "
           "%.0f us\n", now.sm_clock_mhz, now.temperature_c, now.power_w,
           (unsigned long long)now.reasons, now.other_processes, now_us() - start);
}

/* What each step of device_measure costs, for a call of 10 us. */
static void probe_phases(void)
{
    struct subject s = one("spinner:op", (uint32_t)gpu.sms, 128, 0);
    struct measure_request request = {
        .plan = &s.plan, .sets = sets, .set_count = SETS, .cap_ms = 150};
    struct sampler *sampler = xmalloc(sizeof *sampler);
    struct measured m = {.sm_clock_mhz = NAN};
    struct timing timing = {0};
    double t[12], graph[REPLAYS_MAX];
    CUgraphExec exec = NULL;
    bool quick;

    set_kv(20000);
    for (int round = 0; round < 3; round++) {
        t[0] = now_us();
        must(subject_load(&s), "load (arms CUPTI)");
        request.module = s.module;
        t[1] = now_us();
        must(device_call(s.module, &s.plan, &sets[0], &err), "first call");
        sampler_init(sampler, &request);
        t[2] = now_us();
        must(warm_up(sampler, WARM_QUICK_US, &err), "short warm-up");
        t[3] = now_us();
        must(sample_first(sampler, 1, &quick, &err), "first samples");
        double rested = sampler->spans_us[0];
        double last = sampler->spans_us[QUICK_SAMPLES - 1];
        t[4] = now_us();
        must(warm_up(sampler, WARM_US, &err), "warm-up");
        t[5] = now_us();
        must(sample(sampler, &quick, &err), "sample");
        int samples = sampler->count;
        t[6] = now_us();
        must(sense(sampler, &m, &err), "sense");
        t[7] = now_us();
        bool off = clocks_disarm(&err);
        t[8] = now_us();
        must(graph_capture(&sampler->callee, sets, sampler->rotation, 20, &exec, &err), "capture");
        timing.graph_us = graph, timing.graph_count = 0;
        t[9] = now_us();
        must(time_graph(sampler, exec, 20, 10.6, &timing, &err), "graph");
        t[10] = now_us();
        cuGraphExecDestroy(exec);
        device_unload(s.module);
        t[11] = now_us();
        printf("      ms: load %.2f, first call %.2f, short warm-up %.2f, 8 samples %.2f "
               "(%.3f..%.3f us), warm-up %.2f, %d samples %.2f, sense %.2f, disarm %.2f (%d), "
               "capture %.2f, graph %.2f, unload %.2f\n",
               (t[1] - t[0]) / 1e3, (t[2] - t[1]) / 1e3, (t[3] - t[2]) / 1e3, (t[4] - t[3]) / 1e3,
               rested, last, (t[5] - t[4]) / 1e3, samples, (t[6] - t[5]) / 1e3, (t[7] - t[6]) / 1e3,
               (t[8] - t[7]) / 1e3, off, (t[9] - t[8]) / 1e3, (t[10] - t[9]) / 1e3,
               (t[11] - t[10]) / 1e3);
        fflush(stdout);
    }
    free(sampler);
}

/* After a rest of so long, how far off are the first samples, and the short warm-up's? */
static void probe_rest(void)
{
    static const int rests_ms[] = {1, 10, 50, 200, 1000, 3000};
    struct subject s = one("spinner:op", (uint32_t)gpu.sms, 128, 0);
    struct measure_request request = {
        .plan = &s.plan, .sets = sets, .set_count = SETS, .cap_ms = 150};
    struct sampler *sampler = xmalloc(sizeof *sampler);
    bool quick;

    set_kv(20000);
    must(subject_load(&s), "load");
    request.module = s.module;
    for (size_t i = 0; i < sizeof rests_ms / sizeof *rests_ms; i++) {
        double cold[QUICK_SAMPLES], warm5[QUICK_SAMPLES], warm50[QUICK_SAMPLES];
        sleep_ms(rests_ms[i]);
        sampler_init(sampler, &request);
        sampler->call_us = 15;
        must(sample_first(sampler, 1, &quick, &err), "cold samples");
        memcpy(cold, sampler->spans_us, sizeof cold);
        must(warm_up(sampler, WARM_QUICK_US, &err), "short");
        must(sample_first(sampler, 1, &quick, &err), "samples");
        memcpy(warm5, sampler->spans_us, sizeof warm5);
        must(warm_up(sampler, WARM_US, &err), "long");
        must(sample_first(sampler, 1, &quick, &err), "samples");
        memcpy(warm50, sampler->spans_us, sizeof warm50);
        double first = cold[0];
        printf("      after %4d ms of rest: first %.3f, median of 8 %.3f; after 5 ms %.3f; after "
               "50 ms %.3f us\n",
               rests_ms[i], first, mid(cold, QUICK_SAMPLES), mid(warm5, QUICK_SAMPLES),
               mid(warm50, QUICK_SAMPLES));
        fflush(stdout);
    }
    records_keep(false);
    device_unload(s.module);
    free(sampler);
}

static double cpu_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A whole candidate as the judge does it: gate, sets, clocks, check. */
static void candidate(struct arena *arena, const char *shape, double bound_us, int rounds)
{
    struct problem problem;
    struct subject s;

    if (!problem_parse(shape, &problem, &err)) {
        CHECK(false, "%s", err.what);
        return;
    }
    s = one(problem.lse ? "attend_cl:qqqoop" : "attend:qqqop",
            (uint32_t)((problem_rows(&problem) + 3) / 4), 128, 0);
    s.plan.kernels[0].args[1].kind = ARG_K, s.plan.kernels[0].args[2].kind = ARG_V;
    if (problem.lse)
        s.plan.kernels[0].args[4].kind = ARG_LSE;
    for (int round = 0; round < rounds; round++) {
        struct judge_result *result = arena_alloc(arena, sizeof *result);
        struct verify_sets *made = NULL;
        struct measured m = {.sm_clock_mhz = NAN};
        double t[7];
        enum device_status status;

        *result = (struct judge_result){.reason = ""};
        double cpu = cpu_ms(CLOCK_PROCESS_CPUTIME_ID), own = cpu_ms(CLOCK_THREAD_CPUTIME_ID);
        t[0] = now_us();
        must(subject_load(&s), "load");
        struct verify_subject subject = {
            .module = s.module, .plan = &s.plan, .problem = &problem, .numerics = NUMERICS_FP32};
        t[1] = now_us();
        struct verify_request gate = {
            .depth = DEPTH_QUICK, .secret = 77 + (uint64_t)round, .seeds = 3, .launches = 5};
        status = verify_run(arena, &subject, &gate, result, &err);
        if (status != DEVICE_OK || result->verdict != VERDICT_NONE) {
            CHECK(false, "gate on %s: %s, verdict %d: %s (%s)", shape, status_names[status],
                  result->verdict, result->reason, err.what);
            return;
        }
        t[2] = now_us();
        must(verify_sets_make(arena, &subject, 78, device_sets(subject.problem), &made, &err), "sets");
        t[3] = now_us();
        struct measure_request request = {
            .module = s.module, .plan = &s.plan, .bound_us = bound_us, .cap_ms = 150};
        request.sets = verify_sets_buffers(made, &request.set_count);
        status = device_measure(arena, &request, &m, &err);
        if (status != DEVICE_OK) {
            CHECK(false, "measure on %s: %s: %s", shape, status_names[status], err.what);
            dump_records(40);
            return;
        }
        t[4] = now_us();
        status = verify_sets_check(arena, made, m.timing.quick, result, &err);
        t[5] = now_us();
        verify_sets_free(made), device_unload(s.module);
        t[6] = now_us();
        struct score score = {0};
        score_of_samples(m.timing.span_us, m.timing.span_count, 0.032, &score);
        if (status != DEVICE_OK || result->verdict != VERDICT_NONE)
            CHECK(false, "timed outputs on %s: %s", shape, result->reason);
        printf("      %s%s: %.2f us (%d%s), graph %.2f; ms: load %.2f, gate %.2f, sets %.2f, "
               "measure %.2f, check %.2f, free %.2f = %.1f (CPU: %.1f, of them this thread %.1f)\n",
               shape, bound_us > 0 ? ", bound" : "", score.us, m.timing.span_count,
               m.timing.quick ? " quick" : "",
               m.timing.graph_count > 0 ? stats_quantile(m.timing.graph_us, m.timing.graph_count, 0.5)
                                        : NAN,
               (t[1] - t[0]) / 1e3, (t[2] - t[1]) / 1e3, (t[3] - t[2]) / 1e3, (t[4] - t[3]) / 1e3,
               (t[5] - t[4]) / 1e3, (t[6] - t[5]) / 1e3, (t[6] - t[0]) / 1e3,
               cpu_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu, cpu_ms(CLOCK_THREAD_CPUTIME_ID) - own);
        fflush(stdout);
        arena_reset(arena);
    }
    CHECK(true, "candidates on %s", shape);
}

static void timings(struct arena *arena, const struct hello *hello)
{
    uint32_t sms = (uint32_t)hello->device_sms;
    struct subject s;
    double honest, us;

    printf("%-26s %5s %9s %9s %9s %9s %7s %9s %2s %7s %5s %6s %4s %s\n", "us", "n", "min", "median",
           "p90", "trimmed", "95%", "graph", "n", "ms cost", "MHz", "W", "C", "thr");
    s = one("empty:o", 1, 32, 0);
    must(subject_load(&s), "load");
    if (clock_it(arena, &s, 0, 100))
        row("empty, after idling");
    if (clock_it(arena, &s, 0, 100))
        row("empty, again (reload)");
    device_unload(s.module);

    static const struct {
        const char *name;
        int cycles;
        double least, most;
    } spins[] = {{"spin 15000 (8.1)", 15000, 7.5, 9.5},
                 {"spin 20000 (10.6)", 20000, 10, 12},
                 {"spin 150000 (76.3)", 150000, 75, 82},
                 {"spin 2000000 (1010)", 2000000, 1000, 1100}};
    for (size_t i = 0; i < sizeof spins / sizeof *spins; i++) {
        s = one("spinner:op", sms, 128, 0);
        set_kv(spins[i].cycles);
        must(subject_load(&s), "load");
        if (clock_it(arena, &s, 0, 400)) {
            us = row(spins[i].name);
            CHECK(us > spins[i].least && us < spins[i].most, "span within [%g, %g]", spins[i].least,
                  spins[i].most);
            CHECK(graph_us() > us - 0.3 && graph_us() < us + 3, "graph minus span %.3f us",
                  graph_us() - us);
        }
        device_unload(s.module);
    }
    s = one("spinner:op", sms, 128, 0);
    set_kv(20000);
    must(subject_load(&s), "load");
    if (clock_it(arena, &s, 5, 400)) {
        row("spin 20000, bound 5");
        CHECK(got.timing.quick && got.timing.span_count == 8 && got.timing.graph_count == 0,
              "stopped at the quick rung");
    }
    if (clock_it(arena, &s, 10.1, 400)) {
        row("spin 20000, bound 10.1");
        CHECK(got.timing.quick && got.timing.span_count == 8,
              "stopped at the quick rung, but warm");
    }
    if (clock_it(arena, &s, 30, 400)) {
        row("spin 20000, bound 30");
        CHECK(!got.timing.quick && got.timing.span_count >= 200, "went on");
    }
    device_unload(s.module);

    s = one("lazy:op", sms, 128, 0);
    must(subject_load(&s), "load");
    if (clock_it(arena, &s, 0, 400)) {
        honest = row("lazy 20000 (cheat)");
        CHECK(honest > 10, "the span sees its whole work: %.2f us (its graph, unpoisoned: %.2f)",
              honest, graph_us());
    }
    device_unload(s.module);

    set_kv(1000);
    for (int64_t bytes = 1003; bytes <= 4096; bytes += 3093) {
        s = tally(bytes);
        must(subject_load(&s), "load");
        if (clock_it(arena, &s, 0, 400))
            row(bytes == 1003 ? "memset 1003 + 2 kernels" : "memset 4096 + 2 kernels");
        s.plan.workspaces[0].kind = WORKSPACE_POISON;
        if (clock_it(arena, &s, 0, 400))
            row("  the same, poisoned");
        device_unload(s.module);
    }
    make_sets(4, 16, 4096, 64, 1000, 4096);
    s = one("copy:qop", sms * 8, 256, 0);
    must(subject_load(&s), "load");
    if (clock_it(arena, &s, 0, 400)) {
        us = row("copy 33.5 MB");
        printf("      %.2f TB/s\n", 2 * (double)o_bytes / us / 1e6);
    }
    device_unload(s.module);
    make_sets(1, 8, 512, 64, 20000, 4096);
}

static void churn(struct arena *arena)
{
    enum { ROUNDS = 150 };
    struct subject s;
    double low = 1e9, high = 0, g_low = 1e9, g_high = 0;
    long rss = 0;
    int64_t t = 0;

    set_kv(20000);
    for (int i = 0; i < ROUNDS; i++) {
        if (i == 10)
            rss = rss_kib(), t = clock_now_us();
        s = one("spinner:op", 132, 128, 0);
        must(subject_load(&s), "load");
        if (!clock_it(arena, &s, 0, 100))
            return;
        struct score score;
        score_of_samples(got.timing.span_us, got.timing.span_count, 0.032, &score);
        low = fmin(low, score.us), high = fmax(high, score.us);
        g_low = fmin(g_low, graph_us()), g_high = fmax(g_high, graph_us());
        device_unload(s.module);
        arena_reset(arena);
    }
    CHECK(high < low * 1.01,
          "%d x (load, measure, unload): span %.3f..%.3f us, graph %.3f..%.3f us, %.1f ms each, "
          "RSS %+ld KiB over %d, worn %d",
          ROUNDS, low, high, g_low, g_high, ms_since(t) / (ROUNDS - 10), rss_kib() - rss,
          ROUNDS - 10, device_is_worn());
    t = clock_now_us();
    for (int i = 0; i < 40; i++) { /* quick rungs leave CUPTI on */
        s = one("spinner:op", 132, 128, 0);
        must(subject_load(&s), "load");
        if (!clock_it(arena, &s, 1, 100))
            return;
        device_unload(s.module);
    }
    printf("      40 x (load, quick measure, unload): %.1f ms each\n", ms_since(t) / 40);
}

/* ---- hardware counters: kernels whose numbers are known, and what counting does to the clocks */

static double counted(double (*values)[COUNTERS_MAX], int call, enum metric metric)
{
    int count;
    const struct counter *table = counters_of(COUNTERS_FULL, &count);

    for (int i = 0; i < count; i++) {
        if (table[i].metric == metric) {
            return values[call][i];
        }
    }
    return NAN;
}

/* What each is known to wait for, and that its hottest instruction is one of a few. */
static void samples_of(const struct device_count *call, const char *name)
{
    static const struct {
        const char *name;
        enum metric reason;
    } known[] = {{"powers:op", METRIC_PC_MATH}, {"conflicts:op", METRIC_PC_SHORT},
                 {"stream:qop", METRIC_PC_LONG}};
    struct stalls stalls = {0};
    double values[STALL_METRICS];
    int64_t t = clock_now_us();
    int most = 3;

    if (device_sample(call, &stalls, &err) != DEVICE_OK) {
        CHECK(false, "%s is sampled: %s", name, err.what);
        return;
    }
    stalls_tell(&stalls, values);
    stalls_free(&stalls);
    for (int i = most; i <= STALLS; i++) {
        most = values[i] > values[most] ? i : most;
    }
    printf("      %-12s %.0f samples in %.1f ms; most wait for %s (%.0f %%); %.0f %% at +%.0f:", name,
           values[0], ms_since(t), stall_table[most - 1].words, values[most], values[STALLS + 1],
           values[STALLS + 2]);
    for (int i = 1; i <= STALLS; i++) {
        printf(" %s %.1f", stall_table[i - 1].reason, values[i]);
    }
    printf("\n");
    CHECK(values[0] > 1000, "%s: %.0f samples", name, values[0]);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            CHECK(stall_table[most - 1].metric == known[i].reason, "%s waits for %s", name,
                  stall_table[most - 1].words);
        }
    }
}

static void counters(struct arena *arena)
{
    enum { CALLS = 48, BLOCKS = 264, WARPS = 4, EACH = 64 * BLOCKS * WARPS };
    static double values[CALLS][COUNTERS_MAX];
    static const char *const names[4] = {"products:op", "powers:op", "conflicts:op", "stream:qop"};
    struct subject s[4], spin = one("spinner:op", 132, 128, 0);
    struct device_count calls[CALLS];
    struct device_buffers large = sets[0];
    double before, span_before, mb = 256 << 20;
    int64_t t;

    if (!device_counts()) {
        printf("      no counters in a build with AddressSanitizer\n");
        return;
    }
    device_free(large.q);
    must(device_alloc(256 << 20, &large.q, &err), "alloc");
    sets[0].q = large.q;
    large.problem = (struct problem_args){.batch = 1, .heads = 2, .q_len = 1 << 20, .head_dim = 64,
                                          .scale = 0.125f};
    must(subject_load(&spin), "load");
    if (!clock_it(arena, &spin, 0, 100)) {
        return;
    }
    before = graph_us(), span_before = stats_quantile(got.timing.span_us, got.timing.span_count, 0.5);
    for (int i = 0; i < CALLS; i++) {
        if (i < 4) {
            s[i] = one(names[i], BLOCKS, 32 * WARPS, 2048);
            must(subject_load(&s[i]), names[i]);
        }
        calls[i] = (struct device_count){s[i % 4].module, &s[i % 4].plan, &large};
    }
    for (int i = 0; i < 3; i++) { /* the first of a process takes long */
        t = clock_now_us();
        must(device_count(COUNTERS_ONE, calls, CALLS, values, &err), "count");
        printf("      counted %d calls in one pass: %.1f ms\n", CALLS, ms_since(t));
    }
    CHECK(ms_since(t) < 10 * CALLS, "counters of one pass take at most 10 ms a program");
    CHECK(counted(values, 1, METRIC_HW_SPECIAL_OPS) == EACH, "powers of two: %.0f of %d",
          counted(values, 1, METRIC_HW_SPECIAL_OPS), EACH);
    CHECK(counted(values, 2, METRIC_HW_BANK_CONFLICTS) == 7 * EACH, "bank conflicts: %.0f of %d",
          counted(values, 2, METRIC_HW_BANK_CONFLICTS), 7 * EACH);
    CHECK(counted(values, 2, METRIC_HW_SHARED_WAVEFRONTS) == 8 * EACH + BLOCKS * WARPS,
          "wavefronts: %.0f of %d, and one that every warp has",
          counted(values, 2, METRIC_HW_SHARED_WAVEFRONTS), 8 * EACH);
    CHECK(counted(values, 0, METRIC_HW_BANK_CONFLICTS) == 0, "no conflicts without shared memory");
    CHECK(fabs(counted(values, 3, METRIC_HW_DRAM_READ) / mb - 1) < 0.2,
          "DRAM read: %.4f of 256 MiB (L2 holds some)", counted(values, 3, METRIC_HW_DRAM_READ) / mb);
    CHECK(fabs(counted(values, 3, METRIC_HW_L2_SECTORS) * 32 / mb - 1) < 0.02,
          "sectors asked of L2: %.4f of 256 MiB", counted(values, 3, METRIC_HW_L2_SECTORS) * 32 / mb);
    for (int i = 0; i < 2; i++) {
        t = clock_now_us();
        must(device_count(COUNTERS_FULL, calls, CALLS, values, &err), "count in full");
        printf("      counted %d calls in full: %.1f ms\n", CALLS, ms_since(t));
    }
    CHECK(counted(values, 0, METRIC_HW_TENSOR_OPS) == EACH, "tensor instructions: %.0f of %d",
          counted(values, 0, METRIC_HW_TENSOR_OPS), EACH);
    CHECK(counted(values, 0, METRIC_HW_WGMMA_OPS) == 0, "none of a warpgroup");
    CHECK(counted(values, 2, METRIC_HW_STALL_SHORT) > counted(values, 2, METRIC_HW_STALL_LONG),
          "conflicts wait for shared memory (%.2f), not for L2 (%.2f)",
          counted(values, 2, METRIC_HW_STALL_SHORT), counted(values, 2, METRIC_HW_STALL_LONG));
    for (int i = 0; i < 4; i++) {
        printf("      %-12s", names[i]);
        for (int k = METRIC_HW_SM_CYCLES; k <= METRIC_HW_STALL_WGMMA; k++) {
            printf(" %s %.5g", metric_table[k].name + 3, counted(values, i, (enum metric)k));
        }
        printf("\n");
        device_unload(s[i].module);
    }
    device_unload(spin.module);
    for (int i = 0; i < 4; i++) { /* of several modules with the same code it knows no places */
        struct subject alone = one(names[i], BLOCKS, 32 * WARPS, 2048);
        must(subject_load(&alone), names[i]);
        samples_of(&(struct device_count){alone.module, &alone.plan, &large}, names[i]);
        device_unload(alone.module);
    }
    spin = one("spinner:op", 132, 128, 0);
    must(subject_load(&spin), "load after counting");
    if (!clock_it(arena, &spin, 0, 100)) {
        return;
    }
    CHECK(fabs(graph_us() / before - 1) < 0.02, "the graph's clock before and after: %.3f, %.3f us",
          before, graph_us());
    CHECK(fabs(stats_quantile(got.timing.span_us, got.timing.span_count, 0.5) / span_before - 1) < 0.01,
          "the records' clock before and after: %.3f, %.3f us", span_before,
          stats_quantile(got.timing.span_us, got.timing.span_count, 0.5));
    device_unload(spin.module);
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_new();
    struct hello hello;
    int64_t t;
    int status = 0;
    pid_t lock;
    struct subject s;

    self = argv[0], cubin_path = argv[1];
    if (argc < 2 || !file_read(argv[1], 64 << 20, &cubin, &err)) {
        fprintf(stderr, "usage: device_smoke CUBIN: %s\n", err.what);
        return 2;
    }
    if (argc == 4)
        return run_case(argv[3]);
    if (argc == 3 && strcmp(argv[2], "--counters") == 0) { /* nothing else */
        if (!device_open(arena, "0", &hello, &err)) {
            printf("FAIL  open: %s (%s)\n", err.what, err.hint);
            return 1;
        }
        make_sets(1, 8, 512, 64, 1000, 4096);
        counters(arena);
        device_close();
        return failures != 0;
    }

    expect_case("illegal", 10 + DEVICE_ILLEGAL);
    expect_case("misaligned", 10 + DEVICE_ILLEGAL);
    expect_case("trap", 10 + DEVICE_TRAPPED);
    expect_case("measure-trap", 10 + DEVICE_TRAPPED);
    expect_case("junk", 0);
    endless_case();

    t = clock_now_us();
    if (!device_open(arena, "0", &hello, &err)) {
        printf("FAIL  open: %s (%s)\n", err.what, err.hint);
        return 1;
    }
    printf("      opened in %.0f ms: %s %s, sm_%lld, %lld SMs, %lld B shared; '%s'\n", ms_since(t),
           hello.device, hello.device_id, (long long)hello.device_arch, (long long)hello.device_sms,
           (long long)hello.device_smem_max, hello.version);
    printf("      [lock] ");
    lock = start_case("lock");
    make_sets(1, 8, 512, 64, 1000, 4096);
    waitpid(lock, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a second judge is kept out (we are %ld)",
          (long)getpid());
    refusals();
    memory();
    zero_call();
    scrub(&hello);
    costs();
    probe_sensors();
    probe_memory();
    s = one("empty:o", 1, 32, 0);
    must(subject_load(&s), "load");
    must(device_call(s.module, &s.plan, &sets[0], &err), "call");
    probe_hold(&s);
    device_unload(s.module);
    probe_memsets();
    probe_phases();
    probe_rest();
    candidate(arena, "1x8x512x64", 0, 4);
    candidate(arena, "1x8x512x64", 1, 3);
    candidate(arena, "1x8x512x64:causal:lse", 0, 1);
    candidate(arena, "1x4/2x71/301x64", 0, 1);
    candidate(arena, "2x16x2048x128", 0, 1);
    probe_sensors();
    timings(arena, &hello);
    churn(arena);
    counters(arena);
    t = clock_now_us();
    device_close();
    printf("      closed in %.0f ms\n%s, %d failures\n", ms_since(t),
           failures ? "FAILED" : "PASSED", failures);
    return failures != 0;
}
