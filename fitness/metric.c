#include "fitness/metric.h"

#include <string.h>

const struct metric_row metric_table[METRIC_COUNT] = {
    [METRIC_REGISTERS] = {"registers", "1", "", "static:registers",
                          "registers of a thread, the most of any kernel of the call"},
    [METRIC_SPILL_BYTES] = {"spill_bytes", "B", "less", "static:spill",
                            "bytes of registers stored to and loaded from local memory"},
    [METRIC_STACK_BYTES] = {"stack_bytes", "B", "less", "static:stack",
                            "local memory of a thread: arrays that did not fit registers, spills"},
    [METRIC_SMEM_STATIC_BYTES] = {"smem_static_bytes", "B", "", "static:smem",
                                  "shared memory of a block that the source declares"},
    [METRIC_SMEM_DYNAMIC_BYTES] = {"smem_dynamic_bytes", "B", "", "static:launch",
                                   "shared memory of a block that the launch asks for"},
    [METRIC_CODE_BYTES] = {"code_bytes", "B", "less", "static:code",
                           "machine code of all kernels of the call"},
    [METRIC_OCCUPANCY] = {"occupancy", "%", "", "driver",
                          "warps that fit a multiprocessor, of the most it can hold"},
    [METRIC_SM_CLOCK_MHZ] = {"sm_clock_mhz", "MHz", "", "nvml",
                             "clock of the multiprocessors while samples were taken"},
    [METRIC_POWER_W] = {"power_w", "W", "", "nvml", "power of the board while samples were taken"},
    [METRIC_TEMPERATURE_C] = {"temperature_c", "C", "", "nvml",
                              "of the device while samples were taken"},
    [METRIC_THROTTLE_REASONS] = {"throttle_reasons", "1", "", "nvml",
                                 "NVML's bits while samples were taken; 4: the power limit, a "
                                 "sustained regime; without it: a burst"},
    [METRIC_GRAPH_US] = {"graph_us", "us", "less", "event",
                         "time of a call back to back, launch gaps included: clock 2, median"},
    [METRIC_COMPILE_MS] = {"compile_ms", "ms", "less", "clock",
                           "time of a compile worker: source to machine code"},
    [METRIC_GATE_MS] = {"gate_ms", "ms", "less", "clock", "time of the correctness gate"},
    [METRIC_GATE_DRAW_MS] = {"gate_draw_ms", "ms", "less", "clock",
                             "of that: inputs drawn by the host"},
    [METRIC_GATE_MOVE_MS] = {"gate_move_ms", "ms", "less", "clock",
                             "of that: inputs brought to the device"},
    [METRIC_GATE_CALL_MS] = {"gate_call_ms", "ms", "less", "clock",
                             "of that: poison, garbage and the candidate's calls"},
    [METRIC_GATE_LOOK_MS] = {"gate_look_ms", "ms", "less", "clock",
                             "of that: outputs, guards and inputs looked at"},
    [METRIC_GATE_REFERENCE_MS] = {"gate_reference_ms", "ms", "less", "clock",
                                  "of that: the FP64 reference of its rows, by the host"},
    [METRIC_GATE_COMPARE_MS] = {"gate_compare_ms", "ms", "less", "clock",
                                "of that: outputs against reference and baseline"},
    [METRIC_MEASURE_MS] = {"measure_ms", "ms", "less", "clock", "time spent taking samples"},
    [METRIC_CHECK_MS] = {"check_ms", "ms", "less", "clock",
                         "time spent on what timed calls left behind, and their inputs"},
    [METRIC_FLOOR_US] = {"floor_us", "us", "", "nvml",
                         "below it no call can be, by the device's peaks at its clock: physics"},
    [METRIC_EMU_BLOCKS] = {"emu_blocks", "1", "", "model", "blocks of all grids of the call"},
    [METRIC_EMU_SAMPLED_BLOCKS] = {"emu_sampled_blocks", "1", "", "model",
                                   "blocks that were run for the modelled time"},
    [METRIC_EMU_WARP_OPS] = {"emu_warp_ops", "1", "less", "model",
                             "PTX instructions of warps, of the whole call"},
    [METRIC_EMU_SHARED_WAVEFRONTS] = {"emu_shared_wavefronts", "1", "less", "model",
                                      "passes through shared memory, of the whole call"},
    [METRIC_EMU_BANK_CONFLICTS] = {"emu_bank_conflicts", "1", "less", "model",
                                   "those beyond what the bytes alone would need"},
    [METRIC_EMU_L2_SECTORS] = {"emu_l2_sectors", "1", "less", "model",
                               "sectors of 32 bytes from beyond L1, of the whole call"},
    [METRIC_EMU_TENSOR_FLOPS] = {"emu_tensor_flops", "1", "", "model",
                                 "FLOP on tensor cores, of the whole call"},
};

enum metric metric_find(const char *name)
{
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        if (strcmp(metric_table[metric].name, name) == 0) {
            return (enum metric)metric;
        }
    }
    return METRIC_COUNT;
}
