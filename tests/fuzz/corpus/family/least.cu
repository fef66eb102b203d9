#include "evo.cuh"
EVO_LAUNCH(k, (1), 1, 0, (O))
