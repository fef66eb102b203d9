#include "fitness/physics.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

static const double MARGIN = 0.95;

/*
 * Of one multiprocessor, in a clock: dense FP16 tensor operations (from the vendor's peak over
 * multiprocessors and boost clock, FP16 sums where those are faster), and bytes from L2.
 */
static const struct {
    int64_t arch;
    double flops, l2_bytes;
} rates[] = {
    {70, 1024, 64},  {75, 1024, 64},  {80, 2048, 64},  {86, 1024, 64},
    {87, 2048, 64},  {89, 1024, 64},  {90, 4096, 64},  {100, 8192, 64},
    {103, 8192, 64}, {110, 8192, 64}, {120, 2048, 64}, {121, 2048, 64},
};

enum { RATES = sizeof rates / sizeof *rates };

static bool is_known(double value) { return isfinite(value) && value > 0; }

/* Microseconds; 0 when a rate is not known. */
static double over(double amount, double per_us)
{
    return is_known(per_us) && amount > 0 ? amount / per_us : 0;
}

static int rate_find(int64_t arch)
{
    int at = 0;

    while (at < RATES && rates[at].arch != arch) {
        at++;
    }
    return at;
}

double physics_flops(int64_t arch)
{
    int at = rate_find(arch);

    return at < RATES ? rates[at].flops : 0;
}

double physics_l2_bytes(int64_t arch)
{
    int at = rate_find(arch);

    return at < RATES ? rates[at].l2_bytes : 0;
}

struct physics_floor physics_floor(const struct physics_device *device,
                                   const struct problem *problem, bool cold)
{
    struct physics_floor floor = {0};
    double bytes = problem_bytes(problem), flops = problem_flops(problem);
    double flops_us = 0, l2_us = 0, far = cold ? bytes : bytes - (double)device->l2_bytes;
    double dram_us = cold || device->l2_bytes > 0 ? over(far, device->dram_gb_s * 1e3) : 0;
    int at = rate_find(device->arch);

    if (at < RATES && device->sms > 0 && is_known(device->clock_mhz)) {
        double clocks_us = (double)device->sms * device->clock_mhz;

        flops_us = over(flops, clocks_us * rates[at].flops);
        l2_us = over(bytes, clocks_us * rates[at].l2_bytes);
    }
    floor.us = MARGIN * fmax(flops_us, fmax(l2_us, dram_us));
    if (floor.us <= 0) {
        floor.us = 0;
        snprintf(floor.text, sizeof floor.text, "nothing is known of the device's peaks");
    } else if (flops_us >= l2_us && flops_us >= dram_us) {
        snprintf(floor.text, sizeof floor.text,
                 "%.4g GFLOP at %lld x %.0f FLOP x %.0f MHz = %.4g TFLOP/s take %.4g us",
                 flops / 1e9, (long long)device->sms, rates[at].flops, device->clock_mhz,
                 (double)device->sms * rates[at].flops * device->clock_mhz / 1e6, flops_us);
    } else if (dram_us >= l2_us) {
        snprintf(floor.text, sizeof floor.text,
                 "%.4g MB from DRAM (%.4g MB%s) at %.0f GB/s take %.4g us", far / 1e6, bytes / 1e6,
                 cold ? "" : ", less what L2 holds", device->dram_gb_s, dram_us);
    } else {
        snprintf(floor.text, sizeof floor.text,
                 "%.4g MB at %lld x %.0f B x %.0f MHz = %.4g GB/s from L2 take %.4g us",
                 bytes / 1e6, (long long)device->sms, rates[at].l2_bytes, device->clock_mhz,
                 (double)device->sms * rates[at].l2_bytes * device->clock_mhz / 1e3, l2_us);
    }
    return floor;
}

bool physics_follows_memory(const struct physics_device *device, const struct problem *problem)
{
    double far = problem_bytes(problem) - (double)device->l2_bytes;
    double clocks_us = (double)device->sms * device->clock_mhz;

    return over(far, device->dram_gb_s * 1e3) >
           over(problem_flops(problem), clocks_us * physics_flops(device->arch)) / 2;
}
