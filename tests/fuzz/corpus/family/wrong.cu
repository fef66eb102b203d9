#include "evo.cuh"
EVO_GNE(A, pow2(3, 1), "")
EVO_CHOICE(A, (), doc)
EVO_LAUNCH(k, (1, 2), 32, (1), (Q
