/*
 * bench_emu_memory -- what an access of a warp costs in the emulated device's memory.
 *
 *     bench_emu_memory [MILLIONS [RATIO]]
 *
 * MILLIONS (1) warp accesses of each pattern, by four warps in turn with a barrier after every 8
 * of each, without sanitizers, with the cheap one and with all. Prints nanoseconds a warp access.
 * Fails when shared memory is, in the mean of its patterns, more than RATIO times (not checked
 * when not given) slower with all than with none.
 */
#include "base/clock.h"
#include "../unit/emu_rig.h"

enum { WARPS = 4, SHARED_BYTES = 192 << 10, EACH = 8 };

struct shape {
    const char *name;
    bool shared, write, read_only;
    unsigned bytes, vector;
    int64_t stride;
    bool ring; /* order by single lanes' clocks instead of barriers */
};

static const struct shape shapes[] = {
    {"ld.shared.b32, a row", true, false, false, 4, 1, 4, false},
    {"ld.shared.v4.b32, a row", true, false, false, 4, 4, 16, false},
    {"ld.shared.b32, one place", true, false, false, 4, 1, 0, false},
    {"ld.shared.b32, padded rows", true, false, false, 4, 1, 132, false},
    {"ld.shared.b32, a row, ring", true, false, false, 4, 1, 4, true},
    {"st.shared.b32, a row", true, true, false, 4, 1, 4, false},
    {"st.shared.b16, a row", true, true, false, 2, 1, 2, false},
    {"st.shared.v4.b32, a row", true, true, false, 4, 4, 16, false},
    {"st.shared.b32, padded rows", true, true, false, 4, 1, 132, false},
    {"ld.global.v4.b32, input", false, false, true, 4, 4, 16, false},
    {"ld.global.v4.b32, workspace", false, false, false, 4, 4, 16, false},
    {"st.global.v4.b32, output", false, true, false, 4, 4, 16, false},
};

static void order(struct rig *rig, const struct shape *shape)
{
    if (!shape->ring) {
        rig_barrier(rig, 0);
        return;
    }
    for (int w = 0; w < WARPS; w++) { /* an elected lane arrives, the next warp waits */
        struct clock **clock = &rig->barrier[rig->generation++ & 1];

        memory_warp_sync(&rig->warps[0][w], UINT32_MAX);
        memory_release(&rig->warps[0][w], 1, clock);
        memory_acquire(&rig->warps[0][(w + 1) % WARPS], UINT32_MAX, *clock);
    }
}

/* Nanoseconds a warp access. */
static double measure(const struct shape *shape, unsigned sanitize, long accesses)
{
    struct rig *rig = rig_new((struct rig_shape){1, 1, WARPS, SHARED_BYTES, sanitize});
    const struct op *op = rig_op(rig, 1, shape->name, shape->bytes, shape->vector, ACCESS_WEAK);
    uint64_t buffer = memory_buffer(rig->memory, SHARED_BYTES, "B"), address[LANES];
    unsigned size = shape->bytes * shape->vector;
    uint64_t reach = (uint64_t)shape->stride * (LANES - 1) + size, at = 0;
    int64_t start;
    double ns;

    memory_host_fill(rig->memory, buffer, 1, SHARED_BYTES);
    memory_buffer_access(rig->memory, buffer,
                         shape->read_only ? BUFFER_READ_ONLY : BUFFER_READ_WRITE);
    rig_begin(rig);
    for (uint64_t i = 0; i < SHARED_BYTES; i += LANES * 4) {
        for (uint64_t lane = 0; lane < LANES; lane++) {
            address[lane] = i + lane * 4;
        }
        memory_store(&rig->warps[0][0], rig_op(rig, 2, "st", 4, 1, ACCESS_WEAK), UINT32_MAX,
                     address, SPACE_SHARED, 0);
    }
    rig_barrier(rig, 0);
    rig->found = 0;
    start = clock_now_us();
    for (long done = 0; done < accesses; done += WARPS * EACH) {
        for (int w = 0; w < WARPS; w++) {
            for (int i = 0; i < EACH; i++) {
                at = at + reach + size <= SHARED_BYTES - reach
                         ? (at + reach + size - 1) / size * size
                         : 0;
                for (uint64_t lane = 0; lane < LANES; lane++) {
                    address[lane] =
                        (shape->shared ? 0 : buffer) + at + lane * (uint64_t)shape->stride;
                }
                if (shape->write) {
                    memory_store(&rig->warps[0][w], op, UINT32_MAX, address,
                                 shape->shared ? SPACE_SHARED : SPACE_GLOBAL, 0);
                } else {
                    memory_load(&rig->warps[0][w], op, UINT32_MAX, address,
                                shape->shared ? SPACE_SHARED : SPACE_GLOBAL);
                }
            }
        }
        order(rig, shape);
    }
    ns = (double)(clock_now_us() - start) * 1e3 / (double)accesses;
    if (rig->found > 0) {
        fprintf(stderr, "%s: %s\n", shape->name, rig->findings[0].text);
        exit(1);
    }
    rig_end(rig);
    rig_free(rig);
    return ns;
}

int main(int argc, char **argv)
{
    double millions = argc > 1 ? atof(argv[1]) : 1, ratio = argc > 2 ? atof(argv[2]) : 0;
    double off_sum = 0, on_sum = 0;

    printf("%-30s %8s %8s %8s %6s   ns a warp access\n", "", "off", "init", "all", "ratio");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        double off = measure(&shapes[i], SANITIZE_BOUNDS, (long)(millions * 1e6));
        double init =
            measure(&shapes[i], SANITIZE_BOUNDS | SANITIZE_INITIALISED, (long)(millions * 1e6));
        double all = measure(&shapes[i], SANITIZE_ALL, (long)(millions * 1e6));

        printf("%-30s %8.1f %8.1f %8.1f %6.1f\n", shapes[i].name, off, init, all, all / off);
        off_sum += shapes[i].shared ? off : 0;
        on_sum += shapes[i].shared ? all : 0;
    }
    printf("shared memory, all patterns: %.1f times slower with all sanitizers\n",
           on_sum / off_sum);
    if (ratio > 0 && on_sum > ratio * off_sum) {
        fprintf(stderr, "bench_emu_memory: slower than %.1f times\n", ratio);
        return 1;
    }
    return 0;
}
