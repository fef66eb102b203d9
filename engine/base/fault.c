#include "base/fault.h"

#ifdef EVO_FAULTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMES_MAX = 64 };

static void announce(const char *name)
{
    static const char *seen[NAMES_MAX];
    static size_t count;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(seen[i], name) == 0) {
            return;
        }
    }
    if (count < NAMES_MAX) {
        seen[count++] = name;
        fprintf(stderr, "fault-point %s\n", name);
    }
}

void fault_point(const char *name)
{
    static unsigned long passed;
    const char *wanted = getenv("EVO_FAULT");
    size_t length = strlen(name);

    if (getenv("EVO_FAULT_LIST") != NULL) {
        announce(name);
    }
    if (wanted == NULL || strncmp(wanted, name, length) != 0 ||
        (wanted[length] != '\0' && wanted[length] != ':')) {
        return;
    }
    if (++passed >= (wanted[length] == ':' ? strtoul(wanted + length + 1, NULL, 10) : 1)) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

#else
typedef int fault_is_compiled_out; /* ISO C wants a declaration in every file */
#endif
