#include "fitness/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A loop is a job; a sleeping thread joins it by taking one of its `wanted` places under the lock.
 * The caller withdraws the places that nobody took before it returns, so a thread that wakes late
 * finds none and never sees a job that is over.
 */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    int threads;         /* made so far */
    int wanted, running; /* places left in the present job, and taken */
    pool_task *task;
    void *context;
    int64_t count;
    _Atomic int64_t next;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .idle = PTHREAD_COND_INITIALIZER};

static void take_tasks(void)
{
    for (;;) {
        int64_t i = atomic_fetch_add(&pool.next, 1);

        if (i >= pool.count) {
            return;
        }
        pool.task(pool.context, i);
    }
}

static void *thread_main(void *unused)
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.wanted == 0) {
            pthread_cond_wait(&pool.wake, &pool.lock);
        }
        pool.wanted--;
        pool.running++;
        pthread_mutex_unlock(&pool.lock);
        take_tasks();
        pthread_mutex_lock(&pool.lock);
        if (--pool.running == 0) {
            pthread_cond_signal(&pool.idle);
        }
    }
    return unused;
}

/* Fewer threads than asked for only make the loop slower, so a failure here is not one. */
static void make_threads(int threads)
{
    pthread_attr_t attributes;

    if (pthread_attr_init(&attributes) != 0) {
        return;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (pool.threads < threads) {
        pthread_t thread;

        if (pthread_create(&thread, &attributes, thread_main, NULL) != 0) {
            break;
        }
        pool.threads++;
    }
    pthread_attr_destroy(&attributes);
}

void pool_run(pool_task *task, void *context, int64_t count, int threads)
{
    int helpers = (threads < POOL_THREADS_MAX ? threads : POOL_THREADS_MAX) - 1;

    if (helpers > count - 1) {
        helpers = (int)(count - 1);
    }
    if (helpers <= 0) {
        for (int64_t i = 0; i < count; i++) {
            task(context, i);
        }
        return;
    }
    pthread_mutex_lock(&pool.lock);
    assert(pool.running == 0 && "pool_run neither nests nor runs twice at once");
    make_threads(helpers);
    pool.task = task;
    pool.context = context;
    pool.count = count;
    atomic_store(&pool.next, 0);
    pool.wanted = helpers;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    take_tasks();
    pthread_mutex_lock(&pool.lock);
    pool.wanted = 0;
    while (pool.running > 0) {
        pthread_cond_wait(&pool.idle, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
}
