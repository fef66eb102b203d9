/*
 * empty -- a launch and nothing else: what a call costs at least, by both clocks.
 */
#include "include/evo.cuh"
#include "include/probe.cuh"

EVO_GENE(EVERYWHERE, flag, "1: a block on each multiprocessor, 0: one block")
EVO_LET(PER_ROUND, 1, "launches")
EVO_WORKSPACE(report, 4 * 32 * sms, poison, "1 from each thread that has the right result")
EVO_LAUNCH(probe, (EVERYWHERE == 1 ? sms : 1), 32, 0, (O, report, problem))

extern "C" __global__ void __launch_bounds__(32)
    probe(evo_half *, unsigned *report, evo_problem problem)
{
    probe_report(report, problem.kv_len > 0);
}
