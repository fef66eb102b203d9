/*
 * metric -- the table of what can be known about a candidate besides its verdict.
 *
 * One row a metric; a name is for ever, rows are only added. A metric that could not be read is
 * NaN with its reason, never 0.
 */
#ifndef EVO_FITNESS_METRIC_H
#define EVO_FITNESS_METRIC_H

enum metric {
    METRIC_REGISTERS,
    METRIC_SPILL_BYTES,
    METRIC_STACK_BYTES,
    METRIC_SMEM_STATIC_BYTES,
    METRIC_SMEM_DYNAMIC_BYTES,
    METRIC_CODE_BYTES,
    METRIC_OCCUPANCY,    /* resident warps of the device's maximum, percent, by the driver */
    METRIC_SM_CLOCK_MHZ, /* while timed */
    METRIC_POWER_W,
    METRIC_TEMPERATURE_C,
    METRIC_THROTTLE_REASONS, /* NVML's bits; 4: the power limit held the clocks down */
    METRIC_OTHER_PROCESSES,
    METRIC_GRAPH_US, /* clock 2, median */
    METRIC_FRESH_US, /* clock 1, of calls that saw their inputs for the first time: median */
    METRIC_COMPILE_MS,
    METRIC_GATE_MS, /* what the correctness gate cost, and its parts in verify.h's order */
    METRIC_GATE_DRAW_MS,
    METRIC_GATE_MOVE_MS,
    METRIC_GATE_CALL_MS,
    METRIC_GATE_LOOK_MS,
    METRIC_GATE_REFERENCE_MS,
    METRIC_GATE_COMPARE_MS,
    METRIC_TWIN_MS, /* at a promotion */
    METRIC_RACE_MS,
    METRIC_COUNT_MS,
    METRIC_MEASURE_MS,
    METRIC_CHECK_MS,
    METRIC_FLOOR_US,   /* below it no call can be, by the device's peaks at its clock: physics */
    METRIC_EMU_BLOCKS, /* what an emulated device counted; from its sampled blocks, scaled to the
                          grid */
    METRIC_EMU_SAMPLED_BLOCKS,
    METRIC_EMU_WARP_OPS,
    METRIC_EMU_SHARED_WAVEFRONTS,
    METRIC_EMU_BANK_CONFLICTS,
    METRIC_EMU_L2_SECTORS,
    METRIC_EMU_TENSOR_FLOPS,
    METRIC_EMU_SPECIAL_OPS,
    METRIC_HW_SM_CYCLES, /* hardware counters, of one call with warm caches */
    METRIC_HW_INSTRUCTIONS,
    METRIC_HW_ISSUE,
    METRIC_HW_OCCUPANCY,
    METRIC_HW_TENSOR,
    METRIC_HW_TENSOR_OPS,
    METRIC_HW_WGMMA_OPS,
    METRIC_HW_SPECIAL_OPS,
    METRIC_HW_FMA_OPS,
    METRIC_HW_ALU_OPS,
    METRIC_HW_LSU_OPS,
    METRIC_HW_DRAM_READ,
    METRIC_HW_DRAM_WRITE,
    METRIC_HW_L2_SECTORS,
    METRIC_HW_L2_HITS,
    METRIC_HW_L2_MISSES,
    METRIC_HW_SHARED_WAVEFRONTS,
    METRIC_HW_BANK_CONFLICTS,
    METRIC_HW_STALL_LONG, /* warps that wait, for each instruction issued */
    METRIC_HW_STALL_SHORT,
    METRIC_HW_STALL_BARRIER,
    METRIC_HW_STALL_WAIT,
    METRIC_HW_STALL_MATH,
    METRIC_HW_STALL_MIO,
    METRIC_HW_STALL_WGMMA,
    METRIC_PC_SAMPLES, /* what warps were doing whenever somebody looked (stalls.h) */
    METRIC_PC_ISSUING,
    METRIC_PC_READY,
    METRIC_PC_LONG,
    METRIC_PC_SHORT,
    METRIC_PC_BARRIER,
    METRIC_PC_MEMBAR,
    METRIC_PC_WAIT,
    METRIC_PC_MATH,
    METRIC_PC_MIO,
    METRIC_PC_LSU,
    METRIC_PC_TEX,
    METRIC_PC_WGMMA,
    METRIC_PC_BRANCH,
    METRIC_PC_DISPATCH,
    METRIC_PC_FETCH,
    METRIC_PC_CONSTANT,
    METRIC_PC_SLEEP,
    METRIC_PC_DRAIN,
    METRIC_PC_MISC,
    METRIC_PC_HOTTEST,
    METRIC_PC_HOTTEST_AT,
    METRIC_COUNT,
};

struct metric_row {
    const char *name, *unit;
    const char *better; /* "less", "more" or "" */
    const char *source; /* static:…, event, nvml, clock, driver, model, cupti, sampling */
    const char *doc;
};

extern const struct metric_row metric_table[METRIC_COUNT];

/* METRIC_COUNT when unknown. */
enum metric metric_find(const char *name);

#endif
