#include "daemon/devices.h"

#include <string.h>

#include "base/str.h"

/* CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
static const struct device_facts {
    int64_t arch, smem_max, sms; /* sms: of the largest common model, for launches by grid size */
} device_facts[] = {
    {80, 166912, 108}, {86, 101376, 84},  {87, 166912, 16},  {89, 101376, 142},
    {90, 232448, 132}, {100, 232448, 148}, {103, 232448, 160}, {120, 101376, 188},
};

enum { DEVICE_FACTS = sizeof device_facts / sizeof *device_facts };

struct hello device_described(int64_t arch, int64_t smem_max, int64_t sms)
{
    return (struct hello){
        .protocol = JOB_PROTOCOL, .role = ROLE_JUDGE, .backend = "", .version = "", .device = "",
        .device_id = "", .device_arch = arch, .device_smem_max = smem_max, .device_sms = sms,
    };
}

bool device_of_arch(const char *arch, struct hello *hello)
{
    char digits[8] = "";
    int64_t number;

    arch += str_starts(arch, "sm_") ? 3 : 0;
    for (size_t i = 0; arch[i] >= '0' && arch[i] <= '9' && i + 1 < sizeof digits; i++) {
        digits[i] = arch[i];
        digits[i + 1] = '\0';
    }
    arch += strlen(digits);
    if (!str_to_i64(digits, &number) || (*arch != '\0' && strcmp(arch, "a") != 0)) {
        return false;
    }
    for (int i = 0; i < DEVICE_FACTS; i++) {
        if (device_facts[i].arch == number) {
            *hello = device_described(number, device_facts[i].smem_max, device_facts[i].sms);
            return true;
        }
    }
    return false;
}

const char *device_arch_names(struct arena *arena)
{
    struct buf text = {0};
    const char *names;

    for (int i = 0; i < DEVICE_FACTS; i++) {
        buf_printf(&text, "%ssm_%lld", i > 0 ? " " : "", (long long)device_facts[i].arch);
    }
    names = arena_dup(arena, text.data);
    buf_free(&text);
    return names;
}
