#include "fitness/counters.h"

/* How many warps wait for a reason, for each instruction issued. */
#define STALLED(reason)                                                                            \
    "smsp__average_warps_issue_stalled_" reason "_per_issue_active.ratio"

static const struct counter table[] = {
    {"sm__cycles_active.avg", METRIC_HW_SM_CYCLES},
    {"smsp__inst_executed.sum", METRIC_HW_INSTRUCTIONS},
    {"sm__inst_executed_pipe_xu.sum", METRIC_HW_SPECIAL_OPS},
    {"sm__warps_active.avg.pct_of_peak_sustained_active", METRIC_HW_OCCUPANCY},
    {"sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active", METRIC_HW_TENSOR},
    {"dram__bytes_read.sum", METRIC_HW_DRAM_READ},
    {"dram__bytes_write.sum", METRIC_HW_DRAM_WRITE},
    {"lts__t_sectors_srcunit_tex.sum", METRIC_HW_L2_SECTORS},
    {"l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum", METRIC_HW_BANK_CONFLICTS},
    {"l1tex__data_pipe_lsu_wavefronts_mem_shared.sum", METRIC_HW_SHARED_WAVEFRONTS},
    /* From here on the full set. */
    {"smsp__issue_active.avg.pct_of_peak_sustained_active", METRIC_HW_ISSUE},
    {"sm__inst_executed_pipe_tensor.sum", METRIC_HW_TENSOR_OPS},
    {"sm__inst_executed_pipe_tensor_op_gmma.sum", METRIC_HW_WGMMA_OPS},
    {"sm__inst_executed_pipe_fma.sum", METRIC_HW_FMA_OPS},
    {"sm__inst_executed_pipe_alu.sum", METRIC_HW_ALU_OPS},
    {"sm__inst_executed_pipe_lsu.sum", METRIC_HW_LSU_OPS},
    {"lts__t_sectors_lookup_hit.sum", METRIC_HW_L2_HITS},
    {"lts__t_sectors_lookup_miss.sum", METRIC_HW_L2_MISSES},
    {STALLED("long_scoreboard"), METRIC_HW_STALL_LONG},
    {STALLED("short_scoreboard"), METRIC_HW_STALL_SHORT},
    {STALLED("barrier"), METRIC_HW_STALL_BARRIER},
    {STALLED("wait"), METRIC_HW_STALL_WAIT},
    {STALLED("math_pipe_throttle"), METRIC_HW_STALL_MATH},
    {STALLED("mio_throttle"), METRIC_HW_STALL_MIO},
    {STALLED("gmma"), METRIC_HW_STALL_WGMMA},
};

enum { ALL = sizeof table / sizeof *table, ONE = 10 };

const struct counter *counters_of(enum counter_set set, int *count)
{
    *count = set == COUNTERS_ONE ? ONE : ALL;
    return table;
}
