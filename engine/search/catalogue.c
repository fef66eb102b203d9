#include "search/catalogue.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/space.h"
#include "search/mutate.h"

/* ---- coordinates ---- */

/* A number's place between the least and the largest of its gene. */
static void scale_gene(const struct gene *gene, float *at)
{
    double low = (double)gene->values[0], high = (double)gene->values[gene->count - 1];
    bool logarithm = low > 0 && high >= 4 * low;
    double from = logarithm ? log2(low) : low, to = logarithm ? log2(high) : high;

    for (int i = 0; i < gene->count; i++) {
        double value = (double)gene->values[i];

        at[i] = !(to > from) ? (float)i /* too large to tell apart */
                             : (float)(((logarithm ? log2(value) : value) - from) / (to - from));
    }
}

/* The odd part of each value, as a share of the largest by logarithms; false: it tells nothing. */
static bool scale_odd_parts(const struct gene *gene, float *at)
{
    int powers = 0;
    double most = 0;

    for (int i = 0; i < gene->count; i++) {
        int64_t odd = gene->values[i];

        if (gene->kind == GENE_CHOICE || odd <= 0) {
            return false;
        }
        while (odd % 2 == 0) {
            odd /= 2;
        }
        powers += odd == 1;
        at[i] = (float)log2((double)odd);
        most = fmax(most, (double)at[i]);
    }
    for (int i = 0; i < gene->count && most > 0; i++) {
        at[i] = (float)((double)at[i] / most);
    }
    return powers >= 2 && powers < gene->count && gene->count > 2;
}

/* The logarithm of a product, from 0 at the least that its factors allow; 1 is what a factor spans
 * on average. */
static void scale_product(const struct family *family, const struct product *product,
                          struct axes *axes, int at)
{
    double low = 0, high = 0, unit;

    axes->products[at].count = product->count;
    for (int i = 0; i < product->count; i++) {
        const struct gene *gene = &family->genes[product->slots[i]];
        float *logs = axes->logs[product->slots[i]];
        double power = product->powers[i], ends[2];

        for (int value = 0; value < gene->count; value++) {
            logs[value] = (float)log2((double)gene->values[value]);
        }
        ends[0] = power * (double)logs[0];
        ends[1] = power * (double)logs[gene->count - 1];
        low += fmin(ends[0], ends[1]);
        high += fmax(ends[0], ends[1]);
        axes->products[at].genes[i] = product->slots[i];
    }
    unit = (high - low) / product->count;
    for (int i = 0; i < product->count; i++) {
        axes->products[at].weights[i] = (float)(product->powers[i] / unit);
    }
    axes->products[at].from = (float)(low / unit);
}

static void add_products(const struct family *family, int most, struct axes *axes)
{
    struct product products[FAMILY_PRODUCTS_MAX];
    int count = family_products(family, products);

    axes->single = axes->dims;
    for (int i = 0; i < count && axes->dims < most; i++) {
        scale_product(family, &products[i], axes, i);
        axes->label[axes->dims++] = false;
    }
}

void axes_of_family(const struct family *family, bool origin, struct axes *axes)
{
    int most = SURROGATE_DIMS_MAX - origin;

    axes->dims = 0;
    for (int i = 0; i < family->gene_count; i++) {
        const struct gene *gene = &family->genes[i];
        int dim = axes->dims;

        if (gene->count < 2) {
            continue;
        }
        axes->gene[dim] = i;
        axes->label[dim] = gene->kind == GENE_CHOICE;
        for (int at = 0; axes->label[dim] && at < gene->count; at++) {
            axes->at[dim][at] = (float)at;
        }
        if (!axes->label[dim]) {
            scale_gene(gene, axes->at[dim]);
        }
        axes->dims++;
    }
    axes->plain = axes->dims;
    for (int i = 0; i < family->gene_count && axes->dims < most; i++) {
        if (scale_odd_parts(&family->genes[i], axes->at[axes->dims])) {
            axes->gene[axes->dims] = i;
            axes->label[axes->dims++] = false;
        }
    }
    add_products(family, most, axes);
    axes->origin = origin ? axes->dims : -1;
    if (origin) {
        axes->label[axes->dims++] = true;
    }
}

struct point axes_point(const struct axes *axes, const struct genome *genome)
{
    struct point point = {{0}};

    for (int d = 0; d < axes->single; d++) {
        point.at[d] = axes->at[d][genome->at[axes->gene[d]]];
    }
    for (int d = axes->single; d < axes->dims && d != axes->origin; d++) {
        float sum = -axes->products[d - axes->single].from;

        for (int i = 0; i < axes->products[d - axes->single].count; i++) {
            int gene = axes->products[d - axes->single].genes[i];

            sum += axes->products[d - axes->single].weights[i] * axes->logs[gene][genome->at[gene]];
        }
        point.at[d] = sum;
    }
    return point;
}

int axes_odd(const struct axes *axes, const struct genome *genome)
{
    int count = 0;

    for (int d = axes->plain; d < axes->single; d++) {
        count += axes->at[d][genome->at[axes->gene[d]]] > 0;
    }
    return count;
}

/* ---- the list ---- */

uint64_t genome_key(const struct genome *genome)
{
    uint64_t key = 0xcbf29ce484222325u ^ genome->family;

    for (int i = 0; i < GENES_MAX; i++) {
        key = (key ^ genome->at[i]) * 0x100000001b3u;
    }
    key ^= key >> 32; /* a multiplication carries upwards only */
    key *= 0xd6e8feb86659fd93u;
    key ^= key >> 32;
    return key != 0 ? key : 1;
}

struct catalogue *catalogue_new(const struct family *family, bool origin)
{
    struct catalogue *catalogue = xcalloc(1, sizeof *catalogue);

    axes_of_family(family, origin, &catalogue->axes);
    catalogue->mask = 1023;
    catalogue->slots = xcalloc(catalogue->mask + 1u, sizeof *catalogue->slots);
    return catalogue;
}

void catalogue_free(struct catalogue *catalogue)
{
    if (catalogue == NULL) {
        return;
    }
    free(catalogue->genomes);
    free(catalogue->numerics);
    free(catalogue->taken);
    free(catalogue->cloud.at);
    free(catalogue->slots);
    free(catalogue);
}

void catalogue_clear(struct catalogue *catalogue)
{
    catalogue->count = catalogue->cloud.count = 0;
    memset(catalogue->slots, 0, (catalogue->mask + 1u) * sizeof *catalogue->slots);
}

static uint32_t slot_of(const struct catalogue *catalogue, const struct genome *genome)
{
    uint32_t slot = (uint32_t)genome_key(genome) & catalogue->mask;

    while (catalogue->slots[slot] != 0 &&
           memcmp(&catalogue->genomes[catalogue->slots[slot] - 1], genome, sizeof *genome) != 0) {
        slot = (slot + 1) & catalogue->mask;
    }
    return slot;
}

int catalogue_find(const struct catalogue *catalogue, const struct genome *genome)
{
    return (int)catalogue->slots[slot_of(catalogue, genome)] - 1;
}

static void grow(struct catalogue *catalogue)
{
    size_t room = catalogue->room > 0 ? (size_t)catalogue->room * 2 : 1024;

    catalogue->genomes = xrealloc(catalogue->genomes, room * sizeof *catalogue->genomes);
    catalogue->numerics = xrealloc(catalogue->numerics, room);
    catalogue->taken = xrealloc(catalogue->taken, room * sizeof *catalogue->taken);
    catalogue->room = (int)room;
    free(catalogue->slots);
    catalogue->mask = (uint32_t)(4 * room - 1);
    catalogue->slots = xcalloc(4 * room, sizeof *catalogue->slots);
    for (int i = 0; i < catalogue->count; i++) {
        catalogue->slots[slot_of(catalogue, &catalogue->genomes[i])] = (uint32_t)i + 1;
    }
}

bool catalogue_add(struct catalogue *catalogue, const struct genome *genome, int numerics)
{
    uint32_t slot;

    if (catalogue->count == catalogue->room) {
        grow(catalogue);
    }
    slot = slot_of(catalogue, genome);
    if (catalogue->slots[slot] != 0) {
        return false;
    }
    catalogue->genomes[catalogue->count] = *genome;
    catalogue->numerics[catalogue->count] = (uint8_t)numerics;
    catalogue->taken[catalogue->count] = false;
    catalogue->slots[slot] = (uint32_t)++catalogue->count;
    return true;
}

static void place_point(struct catalogue *catalogue, int at)
{
    struct point point = axes_point(&catalogue->axes, &catalogue->genomes[at]);

    for (int d = 0; d < catalogue->axes.dims; d++) {
        catalogue->cloud.at[(size_t)d * (size_t)catalogue->cloud.stride + (size_t)at] =
            point.at[d];
    }
}

void catalogue_close(struct catalogue *catalogue, int room)
{
    struct cloud *cloud = &catalogue->cloud;
    int most = catalogue->count > room ? catalogue->count : room;

    cloud->count = catalogue->count;
    cloud->stride = (most + CLOUD_LANES - 1) / CLOUD_LANES * CLOUD_LANES;
    free(cloud->at);
    cloud->at = xcalloc((size_t)catalogue->axes.dims * (size_t)cloud->stride + 1,
                        sizeof *cloud->at);
    for (int i = 0; i < catalogue->count; i++) {
        place_point(catalogue, i);
    }
}

bool catalogue_append(struct catalogue *catalogue, const struct genome *genome, int numerics)
{
    if (catalogue->count == catalogue->cloud.stride ||
        !catalogue_add(catalogue, genome, numerics)) {
        return false;
    }
    catalogue->cloud.count = catalogue->count;
    place_point(catalogue, catalogue->count - 1);
    return true;
}

/* ---- every legal genome ---- */

static bool add_legal(struct catalogue *catalogue, const struct search_space *space,
                      const struct genome *genome)
{
    int numerics;

    if (space_meets(space, genome, &numerics)) {
        if (catalogue->count == CATALOGUE_MAX) {
            return false;
        }
        catalogue_add(catalogue, genome, numerics);
    }
    return true;
}

/* The genome of a recorded row, if the family still has its values (family_restrict). */
static bool genome_of_row(const struct family *family, const struct space_row *row,
                          struct genome *genome)
{
    for (int i = 0; i < family->gene_count; i++) {
        int at = 0;

        while (at < family->genes[i].count && family->declared[i][at] != row->at[i]) {
            at++;
        }
        if (at == family->genes[i].count) {
            return false;
        }
        genome->at[i] = (uint8_t)at;
    }
    return true;
}

static bool list_rows(struct catalogue *catalogue, const struct search_space *space, int index)
{
    const struct family *family = space->families[index];

    for (int64_t i = 0; i < family->space->row_count; i++) {
        struct genome genome = {.family = (uint16_t)index};

        if (genome_of_row(family, &family->space->rows[i], &genome) &&
            !add_legal(catalogue, space, &genome)) {
            return false;
        }
    }
    return true;
}

static bool list_combinations(struct catalogue *catalogue, const struct search_space *space,
                              int index)
{
    const struct family *family = space->families[index];
    struct genome genome = {.family = (uint16_t)index};
    int64_t total = 1;

    for (int i = 0; i < family->gene_count; i++) {
        total *= family->genes[i].count;
        if (total > CATALOGUE_LOOK_MAX) {
            return false;
        }
    }
    do {
        if (!add_legal(catalogue, space, &genome)) {
            return false;
        }
    } while (genome_next(family, &genome));
    return true;
}

bool catalogue_list(struct catalogue *catalogue, const struct search_space *space, int family)
{
    bool whole = space->families[family]->space != NULL
                     ? list_rows(catalogue, space, family)
                     : list_combinations(catalogue, space, family);

    if (whole) {
        catalogue_close(catalogue, 0);
    } else {
        catalogue_clear(catalogue);
    }
    return whole;
}
