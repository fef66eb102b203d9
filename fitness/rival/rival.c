#include "fitness/rival/rival.h"

#include <string.h>

#include "fitness/rival/kinds.h"

const struct rival_kind *const rival_kinds[] = {
#ifdef EVO_HAVE_CUDNN
    &rival_cudnn,
#endif
#ifdef EVO_HAVE_CUBLAS
    &rival_cublas,
#endif
    NULL,
};

const struct rival_kind *rival_find(const char *name)
{
    for (int i = 0; rival_kinds[i] != NULL; i++) {
        if (strcmp(rival_kinds[i]->name, name) == 0) {
            return rival_kinds[i];
        }
    }
    return NULL;
}
