#include "evo.cuh"
EVO_GENE(A, range(0, 4), "")
EVO_REQUIRE(A != 4, "not four")
EVO_LET(B, 6 / (A * (A - 4)), "")
EVO_LET(C, A == 2 ? pow2(31) : 1, "")
EVO_REQUIRE(log2(B + 3) >= 0, "a logarithm")
EVO_NUMERICS(A)
EVO_LAUNCH(k, (q_len, heads * C, B), A, min(B, C), (Q, O, problem))
