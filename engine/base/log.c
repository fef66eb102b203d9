#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void log_line(const char *module, const char *format, ...)
{
    char line[2048], stamp[16];
    time_t now = time(NULL);
    struct tm local;
    va_list ap;

    localtime_r(&now, &local);
    strftime(stamp, sizeof stamp, "%H:%M:%S", &local);
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    fprintf(stderr, "%s %s: %s\n", stamp, module, line); /* one write: lines never interleave */
}
