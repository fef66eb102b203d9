/*
 * Jobs and answers: any message is read as every kind, or refused. What was read is written, and
 * must read again and be written as the same bytes. A program that was read is resolved, or not.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void resolve(struct arena *arena, const struct judge_job *job)
{
    for (int i = 0; i < job->problem_count && job->image_count > 0; i++) {
        struct plan plan;
        struct err err = {0};
        bool supported = true;

        if (plan_resolve(arena, &job->images[job->problems[i].image].program,
                         &job->problems[i].problem, 132, &plan, &supported, &err)) {
            require(supported && plan.kernel_count > 0);
            plan_hash(&plan);
        } else {
            require(err.kind != ERR_NONE);
        }
    }
}

/* Each reads a message as one kind and writes what it read; NULL: it is not of the kind. */

static struct message *as_hello(struct arena *arena, const struct message *message)
{
    struct hello hello;
    struct err err;

    return hello_decode(arena, message, &hello, &err) ? hello_encode(arena, &hello) : NULL;
}

static struct message *as_compile(struct arena *arena, const struct message *message)
{
    struct compile_job job;
    struct err err;

    return compile_decode(arena, message, &job, &err) ? compile_encode(arena, &job) : NULL;
}

static struct message *as_built(struct arena *arena, const struct message *message)
{
    struct built built;
    struct err err;

    return built_decode(arena, message, &built, &err) ? built_encode(arena, &built) : NULL;
}

static struct message *as_judge(struct arena *arena, const struct message *message)
{
    struct judge_job *job = arena_alloc(arena, sizeof *job);
    struct err err;

    if (!judge_decode(arena, message, job, &err)) {
        return NULL;
    }
    resolve(arena, job);
    return judge_encode(arena, job);
}

static struct message *as_result(struct arena *arena, const struct message *message)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct err err;

    return result_decode(arena, message, result, &err) ? result_encode(arena, result) : NULL;
}

static struct message *as_failure(struct arena *arena, const struct message *message)
{
    struct err failure, err;
    int64_t id;

    return failure_decode(message, &id, &failure, &err) ? failure_encode(arena, id, &failure)
                                                        : NULL;
}

static struct message *as_probe(struct arena *arena, const struct message *message)
{
    struct probe_job job;
    struct err err;

    return probe_decode(arena, message, &job, &err) ? probe_encode(arena, &job) : NULL;
}

static struct message *as_probed(struct arena *arena, const struct message *message)
{
    struct probe_result result;
    struct err err;

    return probed_decode(arena, message, &result, &err) ? probed_encode(arena, &result) : NULL;
}

static void check_kind(struct arena *arena, const struct message *message,
                       struct message *(*as)(struct arena *, const struct message *))
{
    struct message *written = as(arena, message), *received;
    struct buf once = {0}, twice = {0};
    struct err err;

    if (written == NULL) {
        return;
    }
    message_encode(written, &once);
    require(message_decode(arena, once.data + 4, once.length - 4, &received, &err));
    written = as(arena, received);
    require(written != NULL);
    message_encode(written, &twice);
    require(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message *(*const kinds[])(struct arena *, const struct message *) = {
        as_hello, as_compile, as_built, as_judge,
        as_result, as_probe,  as_probed, as_failure};
    struct arena *arena = arena_new();
    struct message *message;
    struct err err;

    if (message_decode(arena, (const char *)data, size, &message, &err)) {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            check_kind(arena, message, kinds[i]);
        }
    }
    arena_free(arena);
    return 0;
}
