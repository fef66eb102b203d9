// One. Two
#if 1 /* a
*/
#define X "/*" \
 y
#endif
#include "include/evo.cuh"
#pragma once
int n = 1'000, c = '\'', e = 0x1e+1;
#include "f.cuh"
EVO_GENE(F, flag, "one")
extern "C" { __global__ void k(); }
EVO_LAUNCH(k, (1), 1, 0, (O))
