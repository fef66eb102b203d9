#include "base/folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool folder_make(const char *path, struct err *err)
{
    char part[PATH_MAX];

    if (strlen(path) >= sizeof part) {
        return err_set(err, ERR_USER, "the path '%.80s…' is too long", path);
    }
    memcpy(part, path, strlen(path) + 1);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL) {
            *slash = '\0';
        }
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            return err_sys(err, "cannot make the folder '%s'", part);
        }
        if (slash == NULL) {
            return true;
        }
        *slash = '/';
    }
}

bool folder_cache(char folder[PATH_MAX], struct err *err)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"EVO_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "/evo"}, {"HOME", "/.cache/evo"}};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *base = getenv(places[i].variable);

        if (base != NULL && *base != '\0') {
            snprintf(folder, PATH_MAX, "%s%s", base, places[i].below);
            return true;
        }
    }
    return err_set(err, ERR_USER, "none of EVO_CACHE_DIR, XDG_CACHE_HOME and HOME is set");
}
