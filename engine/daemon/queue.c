#include "daemon/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct queue {
    struct flight *ring; /* place p is ring[p % window] */
    int window;
    int64_t oldest, next; /* oldest <= p < next are in flight */
};

#define TO(stage) (1u << (stage))

static const unsigned legal[STAGE_COUNT] = {
    [STAGE_NONE] = TO(STAGE_RENDER),
    [STAGE_RENDER] = TO(STAGE_COMPILE) | TO(STAGE_JUDGE) | TO(STAGE_TWIN) | TO(STAGE_DECIDED),
    [STAGE_COMPILE] = TO(STAGE_COMPILING) | TO(STAGE_DECIDED),
    [STAGE_COMPILING] = TO(STAGE_COMPILE) | TO(STAGE_JUDGE) | TO(STAGE_TWIN) | TO(STAGE_DECIDED),
    [STAGE_JUDGE] = TO(STAGE_JUDGING),
    [STAGE_JUDGING] = TO(STAGE_JUDGE) | TO(STAGE_DECIDED),
    [STAGE_TWIN] = TO(STAGE_DECIDED),
    [STAGE_DECIDED] = TO(STAGE_PROMOTE),
    [STAGE_PROMOTE] = TO(STAGE_PROMOTING),
    [STAGE_PROMOTING] = TO(STAGE_PROMOTE) | TO(STAGE_DECIDED),
};

struct queue *queue_new(int window)
{
    struct queue *queue = xcalloc(1, sizeof *queue);

    assert(window > 0);
    queue->window = window;
    queue->ring = xcalloc((size_t)window, sizeof *queue->ring);
    return queue;
}

static void flight_clear(struct flight *flight)
{
    for (int i = 0; i < flight->image_count; i++) {
        free(flight->images[i].source);
        arena_free(flight->images[i].arena);
    }
    arena_free(flight->arena);
    memset(flight, 0, sizeof *flight);
}

void queue_free(struct queue *queue)
{
    if (queue == NULL) {
        return;
    }
    for (int i = 0; i < queue->window; i++) {
        flight_clear(&queue->ring[i]);
    }
    free(queue->ring);
    free(queue);
}

struct flight *queue_add(struct queue *queue, int64_t place)
{
    struct flight *flight = &queue->ring[place % queue->window];

    if (queue->oldest == queue->next) { /* empty: begin wherever the run stands */
        queue->oldest = queue->next = place;
    }
    assert(place == queue->next && place - queue->oldest < queue->window);
    assert(flight->stage == STAGE_NONE);
    queue->next++;
    flight->place = place;
    flight->arena = arena_new();
    flight->reason = flight->quarantine = "";
    queue_move(flight, STAGE_RENDER);
    return flight;
}

struct flight *queue_at(struct queue *queue, int64_t place)
{
    return place >= queue->oldest && place < queue->next ? &queue->ring[place % queue->window]
                                                         : NULL;
}

struct flight *queue_first(struct queue *queue, enum stage stage)
{
    for (int64_t place = queue->oldest; place < queue->next; place++) {
        struct flight *flight = &queue->ring[place % queue->window];

        if (flight->stage == stage) {
            return flight;
        }
    }
    return NULL;
}

static bool same_key(const struct judgement_key *a, const struct judgement_key *b)
{
    return hash_equal(&a->code_key, &b->code_key) && hash_equal(&a->plan_key, &b->plan_key) &&
           hash_equal(&a->workload, &b->workload) && a->environment == b->environment &&
           a->gate_version == b->gate_version;
}

struct flight *queue_twin(struct queue *queue, const struct flight *self, enum stage stage)
{
    for (int64_t place = queue->oldest; place < queue->next; place++) {
        struct flight *flight = &queue->ring[place % queue->window];

        if (flight != self && flight->stage == stage && same_key(&flight->key, &self->key)) {
            return flight;
        }
    }
    return NULL;
}

int queue_waiting(const struct queue *queue, enum stage stage)
{
    int count = 0;

    for (int64_t place = queue->oldest; place < queue->next; place++) {
        count += queue->ring[place % queue->window].stage == stage;
    }
    return count;
}

int queue_count(const struct queue *queue) { return (int)(queue->next - queue->oldest); }

void queue_move(struct flight *flight, enum stage to)
{
    assert(legal[flight->stage] & TO(to));
    flight->stage = to;
}

void queue_settle(struct queue *queue, int64_t place)
{
    struct flight *flight = queue_at(queue, place);

    assert(flight != NULL && place == queue->oldest && flight->stage == STAGE_DECIDED);
    flight_clear(flight);
    queue->oldest++;
}
