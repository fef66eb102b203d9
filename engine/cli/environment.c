#include "cli/environment.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/str.h"
#include "daemon/planted.h"
#include "daemon/setup.h"
#include "daemon/trial.h"
#include "fitness/nvml.h"

enum {
    FILE_BYTES_MAX = 64 * 1024, /* of what the driver says about itself */
    GPUS_MAX = 32,
    PROCESSES_MIN = 512, /* a run's workers and their threads, and room for others */
    FILES_MIN = 1024,    /* two pipes a worker, 256 workers */
};
static const int64_t DISK_LOW = INT64_C(2) << 30, DISK_NONE = INT64_C(100) << 20;

const char *const health_names[] = {"good", "note", "bad"};

struct look {
    struct arena *arena;
    bool emulated;
    struct environment *environment;
};

static void find(struct look *look, enum health health, const char *name, const char *advice,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

static void find(struct look *look, enum health health, const char *name, const char *advice,
                 const char *format, ...)
{
    struct environment *environment = look->environment;
    va_list ap;

    if (environment->count == ENVIRONMENT_MAX) {
        return;
    }
    va_start(ap, format);
    environment->findings[environment->count++] =
        (struct finding){health, name, arena_vprintf(look->arena, format, ap), advice};
    va_end(ap);
}

/* What only a search on a GPU needs is no more than a note to one that has none. */
static enum health for_gpu(const struct look *look)
{
    return look->emulated ? HEALTH_NOTE : HEALTH_BAD;
}

/* A small file of the kernel's; NULL if there is none. */
static const char *read_text(struct arena *arena, const char *path)
{
    struct buf text = {0};
    struct err ignored;
    const char *copy = NULL;

    if (file_read(path, FILE_BYTES_MAX, &text, &ignored)) {
        copy = arena_dup(arena, text.data);
    }
    buf_free(&text);
    return copy;
}

/* What follows "KEY" and blanks in a line that begins with it; NULL when there is no such line. */
static const char *value_of(struct arena *arena, const char *text, const char *key)
{
    for (; text != NULL && *text != '\0'; text += strcspn(text, "\n"), text += *text == '\n') {
        if (str_starts(text, key)) {
            text += strlen(key);
            text += strspn(text, " \t");
            return arena_text(arena, text, strcspn(text, "\n"));
        }
    }
    return NULL;
}

/* ---- the driver ---- */

static void look_at_driver(struct look *look)
{
    const char *text = read_text(look->arena, "/proc/driver/nvidia/version");
    const char *version = value_of(look->arena, text, "NVRM version:");

    if (version != NULL) {
        find(look, HEALTH_GOOD, "driver", "", "%s", version);
    } else {
        find(look, for_gpu(look), "driver",
             look->emulated ? "" : "install NVIDIA's driver, or use '--device emu'",
             "no NVIDIA driver is loaded%s",
             look->emulated ? ": kernels run on the emulated device" : "");
    }
}

static void look_at_gpus(struct look *look)
{
    DIR *folder = opendir("/proc/driver/nvidia/gpus");
    struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        const char *text, *model;

        if (entry->d_name[0] == '.') {
            continue;
        }
        text = read_text(look->arena, arena_printf(look->arena,
                                                   "/proc/driver/nvidia/gpus/%s/information",
                                                   entry->d_name));
        model = value_of(look->arena, text, "Model:");
        find(look, HEALTH_GOOD, "GPU", "", "%s at %s", model != NULL ? model : "a GPU",
             entry->d_name);
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

/* Counters guide and do not score, so that they are forbidden is no more than a note. */
static void look_at_counters(struct look *look)
{
    const char *text = read_text(look->arena, "/proc/driver/nvidia/params");
    const char *restricted = value_of(look->arena, text, "RmProfilingAdminOnly:");

    if (restricted == NULL) {
        return;
    }
    if (strcmp(restricted, "0") == 0 || geteuid() == 0) {
        find(look, HEALTH_GOOD, "counters", "", "hardware counters may be read");
    } else {
        find(look, HEALTH_NOTE, "counters",
             "put 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' into "
             "/etc/modprobe.d/nvidia.conf and load the module again, or run as root",
             "the driver refuses hardware counters to this user; the search does without");
    }
}

/* ---- clocks, by the driver's own library ---- */

static void look_at_clock(struct look *look, const struct nvml *nvml, int index)
{
    struct nvml_device *device = nvml_device_at(nvml, index);
    struct nvml_reading now = {.sm_clock_mhz = NAN};
    double most = NAN;
    char name[NVML_NAME_TEXT];

    if (device != NULL) {
        nvml_name(nvml, device, name);
        nvml_read(nvml, device, &now);
        most = nvml_clock_max_mhz(nvml, device);
    }
    if (isnan(now.sm_clock_mhz) || isnan(most)) {
        find(look, HEALTH_NOTE, "clocks", "", "GPU %d does not say its clocks", index);
    } else if (nvml_is_hot(now.reasons)) {
        find(look, HEALTH_BAD, "clocks", "let it cool down, or look after its cooling",
             "GPU %d (%s) slows down for heat: %.0f °C, SM at %.0f of %.0f MHz", index, name,
             now.temperature_c, now.sm_clock_mhz, most);
    } else {
        find(look, HEALTH_GOOD, "clocks", "", "GPU %d (%s): SM at %.0f of %.0f MHz, %.0f °C%s",
             index, name, now.sm_clock_mhz, most, now.temperature_c,
             nvml_is_capped(now.reasons) ? ", at its power limit" : "");
    }
}

static void look_at_clocks(struct look *look)
{
    struct nvml *nvml = nvml_open();

    if (nvml == NULL && !look->emulated) {
        find(look, HEALTH_NOTE, "clocks",
             "libnvidia-ml.so.1 comes with the driver; see that the loader finds it",
             "NVML does not work: clocks, power and throttling are not recorded");
    }
    for (int i = 0; nvml != NULL && i < nvml_count(nvml) && i < GPUS_MAX; i++) {
        look_at_clock(look, nvml, i);
    }
    nvml_close(nvml);
}

/* ---- programs and files ---- */

static void look_at_judges(struct look *look)
{
    static const struct {
        const char *program, *what;
        bool gpu;
    } judges[] = {{"evo-judge-cuda", "judges kernels on GPUs, with CUPTI's clock", true},
                  {"evo-judge-emu", "judges kernels on the emulated device", false}};
    struct err err;

    for (size_t i = 0; i < sizeof judges / sizeof *judges; i++) {
        if (setup_program(look->arena, judges[i].program, &err) != NULL) {
            find(look, HEALTH_GOOD, "judge", "", "%s %s", judges[i].program, judges[i].what);
        } else {
            find(look, judges[i].gpu != look->emulated ? HEALTH_BAD : HEALTH_NOTE, "judge",
                 judges[i].gpu ? "it is built where the toolkit has libcuda's stub and CUPTI: set "
                                 "CUDA_HOME and configure again"
                               : "build it again",
                 "%s is not beside this program", judges[i].program);
        }
    }
}

/* Compiles a little of everything that templates use: NVRTC, its headers, the worker, its cache. */
static void look_at_compiler(struct look *look)
{
    static const char source[] = "#include \"cuda_fp16.h\"\n#include \"mma.h\"\n"
                                 "extern \"C\" __global__ void kernel(__half *out)\n"
                                 "{ *out = __float2half(1); }\n";
    struct compile_job job = {.source = source,
                              .source_bytes = sizeof source - 1,
                              .name = "doctor.cu",
                              .arch = "sm_90a",
                              .entries = {"kernel"},
                              .entry_count = 1};
    struct built built;
    struct hello hello;
    struct err err = {0};

    if (!trial_compile_by(look->arena, &job, &built, &hello, &err)) {
        find(look, HEALTH_BAD, "compiler", arena_dup(look->arena, err.hint), "%s", err.what);
    } else if (built.verdict != VERDICT_NONE) {
        find(look, HEALTH_BAD, "compiler",
             "set CUDA_HOME to a whole toolkit: its headers are needed",
             "%s does not compile what templates include: %s", hello.version, built.reason);
    } else {
        find(look, HEALTH_GOOD, "compiler", "", "%s, with the toolkit's headers", hello.version);
        find(look, strstr(hello.sandbox, "no ") != NULL ? HEALTH_NOTE : HEALTH_GOOD, "sandbox",
             strstr(hello.sandbox, "no ") != NULL
                 ? "a kernel of Linux 5.13 or later with Landlock and seccomp has both"
                 : "",
             "compilers and judges are held by %s", hello.sandbox);
    }
}

static void look_at_templates(struct look *look)
{
    struct template_set *set = template_set_new(look->arena);
    const char *folder, *cheats;
    struct planted *list;
    struct err err = {0};
    int families = 0, count;

    folder = templates_folder(look->arena, &err);
    if (folder == NULL || !template_set_load(set, folder, &err)) {
        find(look, HEALTH_BAD, "templates", arena_dup(look->arena, err.hint), "%s", err.what);
        return;
    }
    for (int i = 0; i < set->count; i++) {
        families += !str_starts(set->files[i].name, "include/");
    }
    find(look, HEALTH_GOOD, "templates", "", "%d families in '%s'", families, folder);
    cheats = planted_folder(look->arena, &err);
    if (cheats == NULL || !planted_read_all(look->arena, cheats, &list, &count, &err)) {
        find(look, HEALTH_BAD, "cheats", arena_dup(look->arena, err.hint), "%s", err.what);
    } else {
        find(look, HEALTH_GOOD, "cheats", "", "%d planted kernels in '%s'", count, cheats);
    }
}

static void look_at_cache(struct look *look)
{
    char folder[PATH_MAX];
    struct err err = {0};

    if (!folder_cache(folder, &err) || !folder_make(folder, &err)) {
        find(look, HEALTH_NOTE, "cache", "set EVO_CACHE_DIR to a folder that can be written",
             "%s: every start compiles everything again", err.what);
    } else if (access(folder, W_OK) != 0) {
        find(look, HEALTH_NOTE, "cache", "set EVO_CACHE_DIR to a folder that can be written",
             "'%s' cannot be written: every start compiles everything again", folder);
    } else {
        find(look, HEALTH_GOOD, "cache", "", "compiled code is kept in '%s'", folder);
    }
}

/* ---- what the system leaves ---- */

static void look_at_disk(struct look *look)
{
    struct statvfs facts;
    char folder[PATH_MAX];

    if (getcwd(folder, sizeof folder) == NULL || statvfs(folder, &facts) != 0) {
        find(look, HEALTH_NOTE, "disk", "", "the space of this folder cannot be told");
        return;
    }
    int64_t bytes = (int64_t)facts.f_bavail * (int64_t)facts.f_frsize;
    enum health health = bytes < DISK_NONE ? HEALTH_BAD
                         : bytes < DISK_LOW ? HEALTH_NOTE
                                            : HEALTH_GOOD;
    find(look, health, "disk",
         health == HEALTH_GOOD ? "" : "make room, or keep the database elsewhere: --db FILE",
         "%.1f GiB free for the database in '%s'", (double)bytes / 0x1p30, folder);
}

static const char *limit_text(struct arena *arena, rlim_t value)
{
    return value == RLIM_INFINITY ? "no limit"
                                  : arena_printf(arena, "%llu", (unsigned long long)value);
}

static void look_at_limits(struct look *look)
{
    static const struct {
        int resource;
        const char *what, *option;
        rlim_t least;
    } limits[] = {
        {RLIMIT_NPROC, "processes and threads of this user", "ulimit -u", PROCESSES_MIN},
        {RLIMIT_NOFILE, "open files of a process", "ulimit -n", FILES_MIN},
    };

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit;

        if (getrlimit(limits[i].resource, &limit) != 0) {
            continue;
        }
        bool enough = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= limits[i].least;
        find(look, enough ? HEALTH_GOOD : HEALTH_NOTE, "limits",
             enough ? ""
                    : arena_printf(look->arena, "'%s %llu' before the start", limits[i].option,
                                   (unsigned long long)limits[i].least),
             "%s: %s", limits[i].what, limit_text(look->arena, limit.rlim_cur));
    }
}

/* Pinned memory counts against this limit on some drivers only; a search pins a few pages. */
static void look_at_locked_memory(struct look *look)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        bool enough = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= 64 * 1024;

        find(look, enough ? HEALTH_GOOD : HEALTH_NOTE, "limits",
             enough ? "" : "'ulimit -l 64' before the start", "bytes of locked memory: %s",
             limit_text(look->arena, limit.rlim_cur));
    }
}

void environment_look(struct arena *arena, bool emulated, struct environment *environment)
{
    struct look look = {arena, emulated, environment};

    environment->count = 0;
    look_at_driver(&look);
    look_at_gpus(&look);
    look_at_counters(&look);
    look_at_clocks(&look);
    look_at_compiler(&look);
    look_at_judges(&look);
    look_at_templates(&look);
    look_at_cache(&look);
    look_at_disk(&look);
    look_at_limits(&look);
    look_at_locked_memory(&look);
}
