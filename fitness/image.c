#include "fitness/image.h"

#include "fitness/cubin.h"

bool image_check(struct arena *arena, const struct judge_image *image, enum verdict *verdict,
                 const char **reason, struct err *err)
{
    struct cubin_facts *facts = arena_alloc(arena, sizeof(*facts));
    char want[HASH_HEX + 1], got[HASH_HEX + 1];

    *verdict = VERDICT_NONE;
    if (!cubin_read(arena, image->cubin, image->cubin_bytes, facts, err)) {
        return false;
    }
    if (!hash_equal(&facts->code_key, &image->code_key)) {
        hash_to_hex(&image->code_key, want);
        hash_to_hex(&facts->code_key, got);
        return err_set(err, ERR_SYSTEM,
                       "it is not what was compiled: its code key is %.16s, the job says %.16s",
                       got, want);
    }
    if (facts->writable_state_bytes > 0) {
        *reason = arena_printf(arena,
                               "the module has %lld bytes of __device__ variables, memory from one "
                               "launch to the next: a candidate may have none",
                               (long long)facts->writable_state_bytes);
        *verdict = VERDICT_INVALID;
    } else if (*facts->calls_out != '\0') {
        *reason =
            arena_printf(arena, "the module calls '%s', which it does not hold", facts->calls_out);
        *verdict = VERDICT_INVALID;
    }
    return *verdict == VERDICT_NONE;
}
