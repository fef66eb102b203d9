/*
 * Where registers lie: cells that are never alive together share a place.
 *
 * Cells are alive from the first to the last op of an interval that covers every op at which they
 * hold a value that may be read; cells whose intervals do not meet may share a place of the same
 * width. Operands of one op never share one, so a function need not care what it writes first. A
 * guarded write does not end what was there before. A cell that is alive at the entry may be read
 * before it is written: it has its place to itself from the start, so that the sanitizer can tell.
 * What a wgmma touches stays alive to every later wait for wgmmas, as it is touched until then.
 */
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/core.h"

enum {
    LIVENESS_BITS_MAX = 1 << 28
}; /* of the sets of one kind; beyond, every cell has its own place */

struct graph {
    const struct op *ops;
    int op_count;
    int *block_of; /* of each op that begins one; -1 */
    int *begins;   /* the first op of each block; one more: op_count */
    int count;
    size_t words; /* of a set of cells */
    uint64_t *in, *use, *def;
    uint64_t *wgmma; /* the cells that wgmmas touch */
};

static bool is_part(const struct op *op, const char *first, const char *second)
{
    return op->text != NULL && strcmp(op->text->parts[0], first) == 0 && op->text->part_count > 1 &&
           strcmp(op->text->parts[1], second) == 0;
}

static bool ends_block(const struct op *op)
{
    return op->run == control_branch || op->run == control_branch_table ||
           op->run == control_exit || op->run == control_trap;
}

static bool is_cell(const struct cells *cells, uint32_t slot)
{
    return slot != SLOT_NONE && (slot & PREDICATE) == 0 && !cells->all[slot].constant;
}

static void set_add(uint64_t *set, uint32_t item) { set[item / 64] |= UINT64_C(1) << item % 64; }
static bool set_has(const uint64_t *set, uint32_t item) { return set[item / 64] >> item % 64 & 1; }

/* What the op reads beyond op->src: what wgmmas touch, at a wait for them. */
static void op_uses(const struct cells *cells, const struct graph *graph, const struct op *op,
                    uint64_t *use, const uint64_t *def)
{
    for (int i = 0; i < op->src_count; i++) {
        if (is_cell(cells, op->src[i]) && !set_has(def, op->src[i])) {
            set_add(use, op->src[i]);
        }
    }
    if (is_part(op, "wgmma", "wait_group")) {
        for (size_t w = 0; w < graph->words; w++) {
            use[w] |= graph->wgmma[w] & ~def[w];
        }
    }
    if (is_part(op, "wgmma", "mma_async")) { /* its accumulators are read too, but by scale-d */
        for (int i = 0; i < op->dst_count; i++) {
            if (is_cell(cells, op->dst[i]) && !set_has(def, op->dst[i])) {
                set_add(use, op->dst[i]);
            }
        }
    }
}

static void blocks_find(struct graph *graph)
{
    for (int i = 0; i <= graph->op_count; i++) {
        graph->block_of[i] = -1;
    }
    graph->block_of[0] = 0;
    for (int i = 0; i < graph->op_count; i++) {
        const struct op *op = &graph->ops[i];
        if (op->run == control_branch) {
            graph->block_of[op->target] = 0;
        } else if (op->run == control_branch_table) {
            const struct branch_table *table = op->extra;
            for (int t = 0; t < table->count; t++) {
                graph->block_of[table->targets[t]] = 0;
            }
        }
        if (ends_block(op)) {
            graph->block_of[i + 1] = 0;
        }
    }
    graph->count = 0;
    for (int i = 0; i < graph->op_count; i++) {
        if (graph->block_of[i] == 0) {
            graph->begins[graph->count] = i;
            graph->block_of[i] = graph->count++;
        }
    }
    graph->begins[graph->count] = graph->op_count;
}

static bool is_listed(const struct op *op, uint32_t slot)
{
    for (int i = 0; i < op->dst_count + op->src_count; i++) {
        if (slot == (i < op->dst_count ? op->dst[i] : op->src[i - op->dst_count])) {
            return true;
        }
    }
    return false;
}

static void blocks_sum(const struct cells *cells, struct graph *graph)
{
    int touched = 0;
    for (int b = 0; b < graph->count; b++) {
        uint64_t *use = graph->use + (size_t)b * graph->words;
        uint64_t *def = graph->def + (size_t)b * graph->words;
        for (int i = graph->begins[b]; i < graph->begins[b + 1]; i++) {
            const struct op *op = &graph->ops[i];
            op_uses(cells, graph, op, use, def);
            for (; touched < cells->touched_count && cells->touched[touched].op == i; touched++) {
                uint32_t cell = (uint32_t)cells->touched[touched].cell;
                if (!is_listed(op, cell) && !set_has(def, cell)) {
                    set_add(use, cell);
                }
            }
            for (int d = 0; d < op->dst_count; d++) {
                if (is_cell(cells, op->dst[d]) && op->guard == SLOT_NONE) {
                    set_add(def, op->dst[d]);
                }
            }
        }
    }
}

/* in(successor) into `out`; false when nothing was added. */
static bool flow_from(const struct graph *graph, uint64_t *out, int op)
{
    const uint64_t *in = graph->in + (size_t)graph->block_of[op] * graph->words;
    bool grew = false;
    for (size_t w = 0; w < graph->words; w++) {
        grew |= (in[w] & ~out[w]) != 0;
        out[w] |= in[w];
    }
    return grew;
}

static void flow_out(const struct graph *graph, int block, uint64_t *out)
{
    int end = graph->begins[block + 1];
    const struct op *last = &graph->ops[end - 1];
    if (last->run == control_branch) {
        flow_from(graph, out, last->target);
    } else if (last->run == control_branch_table) {
        const struct branch_table *table = last->extra;
        for (int t = 0; t < table->count; t++) {
            flow_from(graph, out, table->targets[t]);
        }
    }
    bool falls = !ends_block(last) || last->guard != SLOT_NONE || last->run == control_branch_table;
    if (falls && end < graph->op_count) {
        flow_from(graph, out, end);
    }
}

static void flow(struct graph *graph)
{
    uint64_t *out = xcalloc(graph->words, sizeof *out);
    for (bool changed = true; changed;) {
        changed = false;
        for (int b = graph->count - 1; b >= 0; b--) {
            uint64_t *in = graph->in + (size_t)b * graph->words;
            const uint64_t *use = graph->use + (size_t)b * graph->words;
            const uint64_t *def = graph->def + (size_t)b * graph->words;
            memset(out, 0, graph->words * sizeof *out);
            flow_out(graph, b, out);
            for (size_t w = 0; w < graph->words; w++) {
                uint64_t now = use[w] | (out[w] & ~def[w]);
                changed |= now != in[w];
                in[w] = now;
            }
        }
    }
    free(out);
}

static void touch(struct cell *cell, int at)
{
    if (cell->first < 0 || at < cell->first) {
        cell->first = at;
    }
    if (at > cell->last) {
        cell->last = at;
    }
}

static void touch_set(const struct cells *cells, const uint64_t *set, size_t words, int at)
{
    for (size_t w = 0; w < words; w++) {
        for (uint64_t rest = set[w]; rest != 0; rest &= rest - 1) {
            touch(&cells->all[w * 64 + (size_t)__builtin_ctzll(rest)], at);
        }
    }
}

/* Intervals: a cell alive into a block is alive where the block begins and where any before it
 * ends. */
static void intervals_find(const struct cells *cells, const struct graph *graph)
{
    uint64_t *out = xcalloc(graph->words, sizeof *out);
    for (int i = 0; i < cells->touched_count; i++) {
        touch(&cells->all[cells->touched[i].cell], cells->touched[i].op);
    }
    for (int b = 0; b < graph->count; b++) {
        memset(out, 0, graph->words * sizeof *out);
        flow_out(graph, b, out);
        touch_set(cells, out, graph->words, graph->begins[b + 1] - 1);
        touch_set(cells, graph->in + (size_t)b * graph->words, graph->words, graph->begins[b]);
        for (int i = graph->begins[b]; i < graph->begins[b + 1]; i++) {
            const struct op *op = &graph->ops[i];
            for (int k = 0; k < op->src_count; k++) {
                if (is_cell(cells, op->src[k])) {
                    touch(&cells->all[op->src[k]], i);
                }
            }
            for (int k = 0; k < op->dst_count; k++) {
                if (is_cell(cells, op->dst[k])) {
                    touch(&cells->all[op->dst[k]], i);
                }
            }
            if (is_part(op, "wgmma", "wait_group")) {
                touch_set(cells, graph->wgmma, graph->words, i);
            }
        }
    }
    free(out);
}

static void open_find(const struct cells *cells, const struct graph *graph)
{
    for (int i = 0; i < cells->count; i++) {
        cells->all[i].open = set_has(graph->in, (uint32_t)i);
    }
}

static void wgmma_find(const struct cells *cells, struct graph *graph)
{
    for (int i = 0; i < graph->op_count; i++) {
        const struct op *op = &graph->ops[i];
        if (!is_part(op, "wgmma", "mma_async")) {
            continue;
        }
        for (int k = 0; k < op->dst_count + op->src_count; k++) {
            uint32_t slot = k < op->dst_count ? op->dst[k] : op->src[k - op->dst_count];
            if (is_cell(cells, slot)) {
                set_add(graph->wgmma, slot);
            }
        }
    }
}

/* False: the sets would be too large, and nothing is known. */
static bool liveness(const struct cells *cells)
{
    struct graph graph = {
        .ops = cells->ops, .op_count = cells->op_count, .words = ((size_t)cells->count + 63) / 64};
    graph.block_of = xmalloc(((size_t)graph.op_count + 1) * sizeof *graph.block_of);
    graph.begins = xmalloc(((size_t)graph.op_count + 2) * sizeof *graph.begins);
    blocks_find(&graph);
    size_t bits = (size_t)graph.count * graph.words;
    bool done = bits <= LIVENESS_BITS_MAX / 64;
    if (done) {
        graph.in = xcalloc(bits * 3 + graph.words + 1, sizeof *graph.in);
        graph.use = graph.in + bits;
        graph.def = graph.use + bits;
        graph.wgmma = graph.def + bits;
        wgmma_find(cells, &graph);
        blocks_sum(cells, &graph);
        flow(&graph);
        intervals_find(cells, &graph);
        open_find(cells, &graph);
        free(graph.in);
    }
    free(graph.block_of);
    free(graph.begins);
    return done;
}

/* ---- places of cells ---- */

static int width_class(unsigned bytes)
{
    return bytes <= 2 ? 0 : bytes <= 4 ? 1 : bytes <= 8 ? 2 : 3;
}

/* Places by intervals: at each op the cells that begin there take one, then those that end give
 * theirs back. */
static uint64_t places_by_interval(const struct cells *cells)
{
    int ops = cells->op_count, count = cells->count;
    int *begins = xmalloc(((size_t)ops + 1) * sizeof *begins);
    int *ends = xmalloc(((size_t)ops + 1) * sizeof *ends);
    int *next_begin = xmalloc(((size_t)count + 1) * sizeof *next_begin);
    int *next_end = xmalloc(((size_t)count + 1) * sizeof *next_end);
    uint32_t *free_slots[4];
    int free_count[4] = {0};
    uint64_t top = 0;
    for (int c = 0; c < 4; c++) {
        free_slots[c] = xmalloc(((size_t)count + 1) * sizeof *free_slots[c]);
    }
    memset(begins, 0xff, ((size_t)ops + 1) * sizeof *begins);
    memset(ends, 0xff, ((size_t)ops + 1) * sizeof *ends);
    for (int i = count - 1; i >= 0; i--) {
        struct cell *cell = &cells->all[i];
        if (!cell->constant && cell->first >= 0) {
            next_begin[i] = begins[cell->first];
            begins[cell->first] = i;
            next_end[i] = ends[cell->last];
            ends[cell->last] = i;
        }
    }
    for (int at = 0; at < ops; at++) {
        for (int i = begins[at]; i >= 0; i = next_begin[i]) {
            int class = width_class(cells->all[i].bytes);
            if (free_count[class] > 0) {
                cells->all[i].slot = free_slots[class][--free_count[class]];
            } else {
                cells->all[i].slot = (uint32_t)top;
                top += (uint64_t)LANES * 2 << class;
            }
        }
        for (int i = ends[at]; i >= 0; i = next_end[i]) {
            int class = width_class(cells->all[i].bytes);
            free_slots[class][free_count[class]++] = cells->all[i].slot;
        }
    }
    for (int i = 0; i < count; i++) { /* known to nobody but a unit, perhaps */
        if (!cells->all[i].constant && cells->all[i].first < 0) {
            cells->all[i].slot = (uint32_t)top;
            top += (uint64_t)LANES * 2 << width_class(cells->all[i].bytes);
        }
    }
    for (int c = 0; c < 4; c++) {
        free(free_slots[c]);
    }
    free(begins);
    free(ends);
    free(next_begin);
    free(next_end);
    return top;
}

static uint64_t place_each(const struct cells *cells, uint64_t top, bool constants)
{
    for (int i = 0; i < cells->count; i++) {
        struct cell *cell = &cells->all[i];
        if (cell->constant == constants) {
            cell->slot = top > UINT32_MAX / 2 ? 0 : (uint32_t)top;
            top += (uint64_t)LANES * 2 << width_class(cell->bytes);
        }
    }
    return top;
}

uint64_t cells_place(const struct cells *cells)
{
    uint64_t top = liveness(cells) ? places_by_interval(cells) : place_each(cells, 0, false);
    return place_each(cells, top, true);
}
