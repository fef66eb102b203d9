/*
 * jitter -- a twin of a kernel whose warps lose time where races hide, and whose copies are late.
 *
 * A race that was always won in the gate is still there. The twin is the same PTX with a delay
 * where a kernel begins, after each barrier (bar, barrier, mbarrier arrivals), before each wait
 * for a copy (cp.async and bulk groups, mbarrier tests, wgmma groups) and before what starts a copy
 * that goes its own way (bulk and tensor copies, st.async): every warp sleeps there, or does not,
 * as a hash of the place, the warp and a seed has it. What cp.async brings can be held back until
 * it is waited for, see latecopy.h. Amplitude, seed and how many copies are held back are read from
 * a variable of the module, so one twin does for all of them, and with zeros it is the kernel that
 * it was made of. What synchronises as it should gives the same bits under every jitter.
 *
 * A delay is straight code between two instructions: no branch, no memory of the kernel's, and no
 * register that it could see. It works on text and knows nothing of the instructions but their
 * names (latecopy knows cp.async), so any PTX of ISA 6.3 or later has a twin. Where functions that
 * are called copy or wait, nothing is held back. The text is untrusted. No state.
 */
#ifndef EVO_FITNESS_JITTER_H
#define EVO_FITNESS_JITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum {
    JITTER_BYTES_MAX = 16 << 20, /* of the text */
    JITTER_SITES_MAX = 1 << 14,
    JITTER_WORDS = 4, /* of the variable: the most that a delay lasts, in ns; the seed; how many
                         copies a thread holds back; 0 */
    JITTER_NS_MAX = 1000000, /* more than this no kernel is made to wait at once */
};

/* An odd seed also looks at the clock: then a warp is not late at the same place every time. */
#define JITTER_VARIABLE "evo_jitter"

struct jitter_sites {
    int entries, barriers, waits, starts; /* delays put in */
    int held;                             /* cp.async that may be held back */
};

/* Appends the twin of `ptx` to *twin. False: the text is no PTX that could have one. */
bool jitter_twin(const char *ptx, size_t length, struct buf *twin, struct jitter_sites *sites,
                 struct err *err);

/*
 * The nth jitter, from 0: that one has no delays, but late copies. The others have amplitudes from
 * tens of ns, a barrier's time, to many tiles' time, each with late copies once and once without:
 * what is overwritten too early shows where copies are fast.
 */
enum { JITTER_AMPLITUDES = 4, JITTERS = 1 + 2 * JITTER_AMPLITUDES };
void jitter_words(int n, uint64_t key, uint32_t words[JITTER_WORDS]);

#endif
