/* The compile worker as the engine sees it: a process that is sent frames. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/proc.h"
#include "base/str.h"
#include "fitness/cubin.h"
#include "fitness/job.h"

enum { ANSWER_MS = 120 * 1000 };

static const char good[] =
    "extern \"C\" __global__ void __launch_bounds__(128) scale(const float *x, float *y, int n,\n"
    "                                                          float a)\n"
    "{\n"
    "    __shared__ float s[256];\n"
    "    int i = blockIdx.x * 128 + threadIdx.x;\n"
    "    s[threadIdx.x] = i < n ? x[i] : 0.0f;\n"
    "    __syncthreads();\n"
    "    if (i < n)\n"
    "        y[i] = a * s[127 - threadIdx.x];\n"
    "}\n";

static char cache[64]; /* the folder of this run's cache */

struct peer {
    struct proc proc;
    struct arena *arena;
    struct buf wire;
    struct hello hello;
};

static struct message *receive(struct peer *peer)
{
    int64_t deadline = clock_now_ms() + ANSWER_MS;
    struct message *message = NULL;
    struct err err = {0};
    char chunk[65536];

    for (;;) {
        struct pollfd stream = {.fd = peer->proc.from, .events = POLLIN};
        ssize_t got;

        if (!frame_take(&peer->wire, peer->arena, &message, &err)) {
            fail_msg("%s", err.what);
        }
        if (message != NULL) {
            return message;
        }
        assert_true(poll(&stream, 1, (int)(deadline - clock_now_ms())) > 0);
        got = read(peer->proc.from, chunk, sizeof chunk);
        if (got == 0) {
            return NULL; /* it has ended */
        }
        assert_true(got > 0 || errno == EAGAIN);
        buf_add(&peer->wire, chunk, got > 0 ? (size_t)got : 0);
    }
}

static void send_job(struct peer *peer, const struct compile_job *job)
{
    const struct message *message = compile_encode(peer->arena, job);
    struct buf wire = {0};
    size_t done = 0;

    message_encode(message, &wire);
    while (done < wire.length) {
        struct pollfd stream = {.fd = peer->proc.to, .events = POLLOUT};
        ssize_t put;

        assert_true(poll(&stream, 1, ANSWER_MS) > 0);
        put = write(peer->proc.to, wire.data + done, wire.length - done);
        assert_true(put > 0 || errno == EAGAIN);
        done += put > 0 ? (size_t)put : 0;
    }
    buf_free(&wire);
}

static void peer_start(struct peer *peer, const char *option, const char *value)
{
    char *argv[] = {EVO_BINARY_DIR "/bin/evo-compile", "--cache", cache, (char *)option,
                    (char *)value, NULL};
    struct err err = {0};
    struct message *message;

    *peer = (struct peer){.arena = arena_new()};
    assert_true(proc_spawn(&peer->proc, argv, &err));
    message = receive(peer);
    assert_non_null(message);
    assert_true(hello_decode(peer->arena, message, &peer->hello, &err));
}

/* Hangs up and returns how the worker ended. */
static int peer_end(struct peer *peer)
{
    int64_t deadline = clock_now_ms() + ANSWER_MS;
    const struct timespec nap = {.tv_nsec = 1000 * 1000};
    int status = -1;

    close(peer->proc.to);
    peer->proc.to = -1;
    while (!proc_reap(&peer->proc, &status)) {
        assert_true(clock_now_ms() < deadline);
        nanosleep(&nap, NULL);
    }
    buf_free(&peer->wire);
    arena_free(peer->arena);
    return status;
}

static void build_job(struct peer *peer, struct compile_job *job, struct built *built)
{
    struct message *message;
    struct err err = {0};

    send_job(peer, job);
    message = receive(peer);
    assert_non_null(message);
    if (!built_decode(peer->arena, message, built, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(built->id, job->id);
}

static struct compile_job job_of(const char *source, const char *entry)
{
    static int64_t id = 1;
    struct compile_job job = {.id = id++, .source = source, .source_bytes = strlen(source),
                              .name = "test.cu", .arch = "sm_90a"};

    if (entry != NULL) {
        job.entries[job.entry_count++] = entry;
    }
    return job;
}

static void build_source(struct peer *peer, const char *source, const char *entry,
                         struct built *built)
{
    struct compile_job job = job_of(source, entry);

    build_job(peer, &job, built);
}

/* For tests that need one fresh answer. */
static void expect_refusal(const char *source, const char *entry, enum verdict verdict,
                           const char *reason)
{
    struct peer peer;
    struct built built;

    for (int round = 0; round < 2; round++) { /* the second comes from the cache */
        peer_start(&peer, NULL, NULL);
        build_source(&peer, source, entry, &built);
        assert_string_equal(verdict_names[built.verdict], verdict_names[verdict]);
        if (strstr(built.reason, reason) == NULL) {
            fail_msg("'%s' is not in '%s'", reason, built.reason);
        }
        assert_null(built.cubin);
        assert_int_equal(built.cached, round);
        assert_int_equal(peer_end(&peer), 0);
    }
}

static void a_worker_says_who_it_is(void **state)
{
    struct peer peer;

    (void)state;
    peer_start(&peer, NULL, NULL);
    assert_int_equal(peer.hello.protocol, JOB_PROTOCOL);
    assert_int_equal(peer.hello.role, ROLE_COMPILE);
    assert_string_equal(peer.hello.backend, "nvrtc");
    assert_true(str_starts(peer.hello.version, "nvrtc "));
    assert_non_null(strstr(peer.hello.version, " V"));
    assert_true(peer.hello.deterministic);
    assert_int_equal(peer_end(&peer), 0);
}

static void a_good_kernel_is_built_with_its_facts(void **state)
{
    struct peer peer;
    struct built built;
    struct cubin_facts facts;
    struct err err = {0};

    (void)state;
    peer_start(&peer, "--no-disk-cache", NULL);
    build_source(&peer, good, "scale", &built);
    assert_string_equal(built.reason, "");
    assert_int_equal(built.verdict, VERDICT_NONE);
    assert_false(built.cached);
    assert_int_equal(built.entry_count, 1);
    assert_string_equal(built.entries[0].name, "scale");
    assert_int_equal(built.entries[0].static_smem_bytes, 1024);
    assert_int_equal(built.entries[0].param_bytes, 24);
    assert_int_equal(built.entries[0].max_threads, 128);
    assert_int_equal(built.entries[0].barriers, 1);
    assert_int_equal(built.entries[0].stack_bytes, 0);
    assert_int_equal(built.entries[0].spill_store_bytes, 0);
    assert_in_range(built.entries[0].registers, 6, 40);
    assert_true(built.entries[0].code_bytes > 0);
    assert_non_null(strstr(built.log, "Compiling entry function 'scale'"));
    assert_null(strstr(built.log, "Compile time")); /* a log does not change from run to run */
    assert_non_null(strstr(built.ptx, ".entry scale"));
    assert_int_equal(strlen(built.ptx), built.ptx_bytes);
    assert_true(built.compile_ms > 0);
    assert_true(cubin_read(peer.arena, built.cubin, built.cubin_bytes, &facts, &err));
    assert_true(hash_equal(&facts.code_key, &built.code_key));
    assert_int_equal(facts.arch, 90);
    assert_int_equal(peer_end(&peer), 0);
}

static void comments_and_line_tables_do_not_change_the_code_key(void **state)
{
    struct buf commented = {0}, changed = {0};
    struct built plain, other;
    struct compile_job job;
    struct peer peer;

    (void)state;
    peer_start(&peer, "--no-disk-cache", NULL);
    buf_printf(&commented, "// a remark\n\n%s", good);
    buf_printf(&changed, "%s", good);
    strstr(changed.data, "127 - ")[2] = '6';
    build_source(&peer, good, "scale", &plain);
    build_source(&peer, commented.data, "scale", &other);
    assert_true(hash_equal(&plain.code_key, &other.code_key));
    job = job_of(good, "scale");
    job.options[job.option_count++] = "-lineinfo";
    build_job(&peer, &job, &other);
    assert_true(hash_equal(&plain.code_key, &other.code_key));
    assert_true(other.cubin_bytes > plain.cubin_bytes);
    build_source(&peer, changed.data, "scale", &other);
    assert_false(hash_equal(&plain.code_key, &other.code_key));
    job = job_of(good, "scale");
    job.arch = "sm_80";
    build_job(&peer, &job, &other);
    assert_int_equal(other.entries[0].static_smem_bytes, 1024);
    assert_false(hash_equal(&plain.code_key, &other.code_key));
    buf_free(&commented);
    buf_free(&changed);
    assert_int_equal(peer_end(&peer), 0);
}

static void the_toolkits_half_and_mma_headers_are_at_hand(void **state)
{
    static const char source[] =
        "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n#include <mma.h>\n"
        "extern \"C\" __global__ void k(const __half *a, float *c)\n"
        "{\n"
        "    using namespace nvcuda::wmma;\n"
        "    fragment<matrix_a, 16, 16, 16, __half, row_major> x;\n"
        "    fragment<matrix_b, 16, 16, 16, __half, row_major> y;\n"
        "    fragment<accumulator, 16, 16, 16, float> z;\n"
        "    load_matrix_sync(x, a, 16);\n    load_matrix_sync(y, a, 16);\n"
        "    fill_fragment(z, 0.0f);\n    mma_sync(z, x, y, z);\n"
        "    store_matrix_sync(c, z, 16, mem_row_major);\n"
        "}\n";
    struct peer peer;
    struct built built;

    (void)state;
    peer_start(&peer, NULL, NULL);
    build_source(&peer, source, "k", &built);
    assert_string_equal(built.reason, "");
    assert_non_null(strstr(built.ptx, "wmma.mma"));
    build_source(&peer, "#include <cuda_pipeline.h>\nextern \"C\" __global__ void k() {}\n", "k",
                 &built); /* through the include folder */
    assert_string_equal(built.reason, "");
    assert_int_equal(peer_end(&peer), 0);
}

static void a_syntax_error_is_told_by_its_first_line(void **state)
{
    static const char source[] = "extern \"C\" __global__ void k(int *o)\n{\n    *o = foo;\n"
                                 "    float x = \"a\";\n}\n";
    struct compile_job job = job_of(source, "k");
    struct built whole, front;
    struct peer peer;

    (void)state;
    expect_refusal(source, "k", VERDICT_NO_COMPILE,
                   "test.cu(3): error: identifier \"foo\" is undefined");
    peer_start(&peer, "--no-disk-cache", NULL);
    build_job(&peer, &job, &whole);
    job.syntax_first = true;
    build_job(&peer, &job, &front);
    assert_string_equal(whole.log, front.log); /* so that one cache entry serves both ways */
    job = job_of(good, "scale");
    job.syntax_first = true;
    build_job(&peer, &job, &whole);
    assert_string_equal(whole.reason, "");
    assert_int_equal(peer_end(&peer), 0);
}

static void what_only_ptxas_refuses_is_told_apart(void **state)
{
    (void)state;
    expect_refusal("extern \"C\" __global__ void k(int *o)\n{\n    __shared__ int s[70000];\n"
                   "    s[threadIdx.x] = o[0];\n    __syncthreads();\n"
                   "    o[threadIdx.x] = s[69999 - threadIdx.x];\n}\n",
                   "k", VERDICT_NO_COMPILE,
                   "ptxas: Entry function 'k' uses too much shared data");
    expect_refusal("extern \"C\" __global__ void k(int *o)\n{\n"
                   "    asm volatile(\"tcgen05.nothing;\");\n    o[0] = 1;\n}\n",
                   "k", VERDICT_NO_COMPILE, "ptxas: ptx line ");
}

static void an_unknown_option_is_refused_with_its_name(void **state)
{
    struct compile_job job = job_of(good, "scale");
    struct built built;
    struct peer peer;

    (void)state;
    job.options[job.option_count++] = "-no-such-option";
    peer_start(&peer, NULL, NULL);
    build_job(&peer, &job, &built);
    assert_int_equal(built.verdict, VERDICT_NO_COMPILE);
    assert_non_null(strstr(built.reason, "-no-such-option"));
    assert_int_equal(peer_end(&peer), 0);
}

static void state_that_lasts_between_launches_is_refused(void **state)
{
    (void)state;
    expect_refusal("__device__ int seen[100];\nextern \"C\" __global__ void k(int *o)\n{\n"
                   "    *o = atomicAdd(&seen[*o], 1);\n}\n",
                   "k", VERDICT_INVALID, "keeps 400 bytes of __device__ variables");
    expect_refusal("extern \"C\" __device__ void *malloc(size_t);\n"
                   "extern \"C\" __global__ void k(void **o)\n{\n    *o = malloc(8);\n}\n",
                   "k", VERDICT_INVALID, "calls 'malloc'");
}

static void a_missing_entry_is_refused(void **state)
{
    (void)state;
    expect_refusal("extern \"C\" __global__ void other(int *o) { *o = 1; }\n", "kernel",
                   VERDICT_INVALID, "holds no kernel 'kernel'");
    expect_refusal("__global__ void kernel(int *o) { *o = 1; }\n", "kernel", VERDICT_INVALID,
                   "holds no kernel 'kernel'"); /* its name is mangled */
}

static void spills_and_slow_wgmma_become_warnings(void **state)
{
    static const char source[] =
        "extern \"C\" __global__ void __launch_bounds__(1024) k(float *o, int n)\n{\n"
        "    float v[120];\n"
        "#pragma unroll\n    for (int i = 0; i < 120; i++) v[i] = o[i * n];\n"
        "    for (int j = 0; j < n; j++)\n"
        "#pragma unroll\n        for (int i = 0; i < 120; i++)\n"
        "            v[i] = v[i] * v[(i + 7) % 120] + v[(i * 5) % 120];\n"
        "#pragma unroll\n    for (int i = 0; i < 120; i++) o[i] = v[i];\n}\n";
    struct peer peer;
    struct built built;

    (void)state;
    peer_start(&peer, NULL, NULL);
    build_source(&peer, source, "k", &built);
    assert_string_equal(built.reason, "");
    assert_true(built.entries[0].spill_store_bytes > 0);
    assert_true(built.entries[0].spill_load_bytes > 0);
    assert_true(built.entries[0].stack_bytes > 0);
    assert_int_equal(built.entries[0].registers, 64);
    assert_non_null(strstr(built.warnings, "Registers are spilled to local memory"));
    assert_int_equal(peer_end(&peer), 0);
}

static void the_same_source_is_served_from_the_cache(void **state)
{
    static const char source[] =
        "extern \"C\" __global__ void k(int *o) { o[threadIdx.x] = 4711; }\n";
    struct built first, second;
    struct peer a, b;

    (void)state;
    peer_start(&a, NULL, NULL);
    build_source(&a, source, "k", &first);
    assert_false(first.cached);
    peer_start(&b, NULL, NULL); /* another process */
    build_source(&b, source, "k", &second);
    assert_true(second.cached);
    assert_string_equal(first.log, second.log);
    assert_int_equal(first.ptx_bytes, second.ptx_bytes);
    assert_memory_equal(first.ptx, second.ptx, first.ptx_bytes);
    assert_int_equal(first.cubin_bytes, second.cubin_bytes);
    assert_memory_equal(first.cubin, second.cubin, first.cubin_bytes);
    assert_memory_equal(&first.code_key, &second.code_key, sizeof first.code_key);
    assert_int_equal(second.entries[0].registers, first.entries[0].registers);
    assert_int_equal(peer_end(&a), 0);
    assert_int_equal(peer_end(&b), 0);
}

static void a_source_that_reads_other_files_is_not_cached(void **state)
{
    struct buf source = {0};
    struct built built;
    struct peer peer;
    char path[128];
    struct err err = {0};

    (void)state;
    snprintf(path, sizeof path, "%s/compile/aside.cuh", cache); /* elsewhere it may not look */
    buf_printf(&source, "#include \"%s\"\nextern \"C\" __global__ void k(int *o) { *o = N; }\n",
               path);
    peer_start(&peer, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        const char *text = i ? "#define N 222222\n" : "#define N 111111\n";

        assert_true(file_write(path, text, strlen(text), FILE_WHOLE, &err));
        build_source(&peer, source.data, "k", &built);
        assert_string_equal(built.reason, "");
        assert_false(built.cached);
        assert_non_null(strstr(built.ptx, i ? "222222" : "111111"));
    }
    buf_free(&source);
    assert_int_equal(peer_end(&peer), 0);
}

/* What a compiler's message would quote. */
static void a_source_does_not_see_the_users_files(void **state)
{
    static const char secret[] = "this is the secret 8472\n";
    struct buf source = {0};
    struct built built;
    struct peer peer;
    char path[128];
    struct err err = {0};

    (void)state;
    snprintf(path, sizeof path, "%s/secret.txt", cache);
    assert_true(file_write(path, secret, strlen(secret), FILE_WHOLE, &err));
    buf_printf(&source, "#include \"%s\"\nextern \"C\" __global__ void k(int *o) { *o = 1; }\n",
               path);
    peer_start(&peer, NULL, NULL);
    if (strstr(peer.hello.sandbox, "no landlock") != NULL) {
        print_message("this kernel has no Landlock\n");
        buf_free(&source);
        peer_end(&peer);
        skip();
    }
    build_source(&peer, source.data, "k", &built);
    assert_int_equal(built.verdict, VERDICT_NO_COMPILE);
    assert_non_null(strstr(built.reason, "cannot open source file"));
    assert_null(strstr(built.log, "8472"));
    buf_free(&source);
    assert_int_equal(peer_end(&peer), 0);
}

/* nftw has no argument for its callback. */
static off_t largest_bytes;
static char largest_path[4096];

static int note_largest(const char *path, const struct stat *facts, int kind, struct FTW *at)
{
    (void)at;
    if (kind == FTW_F && facts->st_size > largest_bytes) {
        largest_bytes = facts->st_size;
        snprintf(largest_path, sizeof largest_path, "%s", path);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *at)
{
    (void)facts;
    (void)kind;
    (void)at;
    return remove(path);
}

static void a_damaged_cache_entry_is_replaced(void **state)
{
    struct buf source = {0}, entry = {0};
    struct built first, second;
    struct err err = {0};
    struct peer peer;

    (void)state;
    buf_puts(&source, "extern \"C\" __global__ void k(int *o)\n{\n");
    for (int i = 0; i < 2000; i++) { /* the largest entry there is, to be found by its size */
        buf_printf(&source, "    o[%d] = %d;\n", 7 * i, i * i);
    }
    buf_puts(&source, "}\n");
    peer_start(&peer, NULL, NULL);
    build_source(&peer, source.data, "k", &first);
    largest_bytes = 0;
    assert_int_equal(nftw(cache, note_largest, 16, FTW_PHYS), 0);
    for (int way = 0; way < 3; way++) {
        entry.length = 0;
        assert_true(file_read(largest_path, 1 << 26, &entry, &err));
        if (way == 0) {
            entry.data[entry.length - 100] ^= 1; /* one bit */
        } else {
            entry.length = way == 1 ? entry.length / 2 : 0;
        }
        assert_true(file_write(largest_path, entry.data, entry.length, FILE_WHOLE, &err));
        build_source(&peer, source.data, "k", &second);
        assert_false(second.cached);
        assert_int_equal(first.cubin_bytes, second.cubin_bytes);
        assert_memory_equal(first.cubin, second.cubin, first.cubin_bytes);
        build_source(&peer, source.data, "k", &second);
        assert_true(second.cached);
        assert_memory_equal(first.cubin, second.cubin, first.cubin_bytes);
    }
    buf_free(&source);
    buf_free(&entry);
    assert_int_equal(peer_end(&peer), 0);
}

/* 2^(DEPTH + 1) classes: seconds of front end at 16, under a second at 13. */
#define SLOW(DEPTH)                                                                                \
    "template <int N, int M> struct f\n"                                                           \
    "{ enum { v = (int)f<N - 1, 2 * M>::v ^ (int)f<N - 1, 2 * M + 1>::v }; };\n"                   \
    "template <int M> struct f<0, M> { enum { v = M }; };\n"                                       \
    "extern \"C\" __global__ void k(int *o) { *o = f<" #DEPTH ", 1>::v; }\n"

static void a_source_that_takes_too_long_is_given_up(void **state)
{
    struct built built;
    struct peer peer;

    (void)state;
    peer_start(&peer, "--deadline-ms", "50");
    build_source(&peer, SLOW(13), "k", &built);
    assert_string_equal(verdict_names[built.verdict], "timeout");
    assert_non_null(strstr(built.reason, "50 ms"));
    build_source(&peer, "extern \"C\" __global__ void k() {}\n", "k", &built); /* it goes on */
    assert_true(built.verdict == VERDICT_NONE || built.verdict == VERDICT_TIMEOUT);
    assert_int_equal(peer_end(&peer), 0);
}

static void a_worker_ends_when_its_engine_is_gone(void **state)
{
    struct compile_job job = job_of(SLOW(16), "k");
    struct peer peer;
    int64_t start;

    (void)state;
    peer_start(&peer, "--no-disk-cache", NULL);
    assert_int_equal(peer_end(&peer), 0); /* while idle */
    peer_start(&peer, "--no-disk-cache", NULL);
    send_job(&peer, &job);
    start = clock_now_ms();
    assert_int_equal(peer_end(&peer), 0); /* in the middle of a job */
    assert_true(clock_now_ms() - start < 2000);
}

static void a_job_that_is_none_ends_the_worker_with_a_failure(void **state)
{
    struct err err = {0}, failure = {0};
    struct compile_job job = job_of(good, "scale");
    struct message *message;
    struct peer peer;
    int64_t id;
    int status;

    (void)state;
    job.arch = "compute_90a"; /* PTX alone is not what we run */
    peer_start(&peer, NULL, NULL);
    send_job(&peer, &job);
    message = receive(&peer);
    assert_non_null(message);
    assert_true(failure_decode(message, &id, &failure, &err));
    assert_int_equal(id, job.id);
    assert_non_null(strstr(failure.what, "compute_90a"));
    assert_null(receive(&peer));
    status = peer_end(&peer);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static int make_cache(void **state)
{
    (void)state;
    strcpy(cache, "/tmp/evo-test-compile-XXXXXX");
    return mkdtemp(cache) == NULL;
}

static int remove_cache(void **state)
{
    (void)state;
    return nftw(cache, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_says_who_it_is),
        cmocka_unit_test(a_good_kernel_is_built_with_its_facts),
        cmocka_unit_test(comments_and_line_tables_do_not_change_the_code_key),
        cmocka_unit_test(the_toolkits_half_and_mma_headers_are_at_hand),
        cmocka_unit_test(a_syntax_error_is_told_by_its_first_line),
        cmocka_unit_test(what_only_ptxas_refuses_is_told_apart),
        cmocka_unit_test(an_unknown_option_is_refused_with_its_name),
        cmocka_unit_test(state_that_lasts_between_launches_is_refused),
        cmocka_unit_test(a_missing_entry_is_refused),
        cmocka_unit_test(spills_and_slow_wgmma_become_warnings),
        cmocka_unit_test(the_same_source_is_served_from_the_cache),
        cmocka_unit_test(a_source_that_reads_other_files_is_not_cached),
        cmocka_unit_test(a_source_does_not_see_the_users_files),
        cmocka_unit_test(a_damaged_cache_entry_is_replaced),
        cmocka_unit_test(a_source_that_takes_too_long_is_given_up),
        cmocka_unit_test(a_worker_ends_when_its_engine_is_gone),
        cmocka_unit_test(a_job_that_is_none_ends_the_worker_with_a_failure),
    };

    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}
