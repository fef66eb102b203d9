#include "fitness/cubin.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

/*
 * What is where in a cubin (ELF64, ABI version 8; toolkits 12 and 13):
 *
 *   symbol, type FUNC, st_other & 0x10      a kernel; its section holds its code, callees included
 *   .nv.info          records on functions: registers, stack
 *   .nv.info.K        records on kernel K: launch bounds, barriers, parameters
 *   .nv.shared.K      its static shared memory, on sm_90 and later with 1024 bytes of the system's
 *   .nv.constantN[.K] constant banks: 0 parameters, 3 user constants, 4 addresses
 *   .nv.global[.init] __device__ variables, writable
 *   .nv.merc.*        what ptxas keeps to adapt code to relatives of the chip (sm_100 and later)
 *
 * A record is u8 format, u8 attribute, u16 value; of format 4, `value` bytes follow.
 */
enum {
    MACHINE_CUDA = 190,
    FLAGS_OF_CHIP = 0x00ffffff, /* the byte above tells which debugging sections there are */
    SYMBOL_IS_KERNEL = 0x10,
    SECTIONS_MAX = 4096, /* a kernel makes about five */
    SYMBOLS_MAX = 1 << 16,
    NAME_BYTES_MAX = 8192, /* mangled names are long, but not that long */
    RESERVED_SMEM_ARCH = 90, /* from here on .nv.shared.K counts the system's bytes too */
    RESERVED_SMEM_BYTES = 1024,
};

enum record_format { FORMAT_NONE = 1, FORMAT_BYTE, FORMAT_HALF, FORMAT_PAYLOAD };

enum record_attribute {
    INFO_MAX_THREADS = 0x05,
    INFO_PARAM_CBANK = 0x0a,
    INFO_REQUIRED_THREADS = 0x10,
    INFO_FRAME_SIZE = 0x11,
    INFO_MIN_STACK_SIZE = 0x12,
    INFO_PARAM_BYTES = 0x19,
    INFO_MAX_STACK_SIZE = 0x23,
    INFO_REGISTERS = 0x2f,
    INFO_BARRIERS = 0x4c,
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a cubin is read as it lies in memory");

struct section {
    Elf64_Shdr head;
    const char *name;
    const uint8_t *data; /* NULL for NOBITS */
};

struct symbol {
    Elf64_Sym entry;
    const char *name;
    const struct section *section; /* NULL when undefined or absolute */
};

struct elf {
    const uint8_t *data;
    size_t size;
    Elf64_Ehdr head;
    struct section *sections;
    size_t section_count;
    struct symbol *symbols;
    size_t symbol_count;
};

struct record {
    int format, attribute, value;
    const uint8_t *payload; /* of format 4 */
    size_t size;
};

static bool broken(struct err *err, const char *what)
{
    return err_set(err, ERR_SYSTEM, "malformed cubin: %s", what);
}

/* The text at `offset` of a string table; NULL when it is not inside or does not end. */
static const char *table_text(const struct section *table, uint64_t offset)
{
    size_t left;

    if (table->head.sh_type != SHT_STRTAB || offset >= table->head.sh_size) {
        return NULL;
    }
    left = table->head.sh_size - offset;
    if (memchr(table->data + offset, '\0', left < NAME_BYTES_MAX ? left : NAME_BYTES_MAX) == NULL) {
        return NULL;
    }
    return (const char *)table->data + offset;
}

static bool read_sections(struct arena *arena, struct elf *elf, struct err *err)
{
    uint64_t at = elf->head.e_shoff;

    elf->section_count = elf->head.e_shnum;
    if (elf->head.e_shentsize != sizeof(Elf64_Shdr) || elf->section_count == 0 ||
        elf->section_count > SECTIONS_MAX || elf->head.e_shstrndx >= elf->section_count) {
        return broken(err, "bad table of sections");
    }
    if (at > elf->size || elf->size - at < elf->section_count * sizeof(Elf64_Shdr)) {
        return broken(err, "the table of sections is cut short");
    }
    elf->sections = arena_alloc(arena, elf->section_count * sizeof *elf->sections);
    for (size_t i = 0; i < elf->section_count; i++) {
        struct section *section = &elf->sections[i];

        memcpy(&section->head, elf->data + at + i * sizeof(Elf64_Shdr), sizeof(Elf64_Shdr));
        if (section->head.sh_type == SHT_NOBITS) {
            continue;
        }
        if (section->head.sh_offset > elf->size ||
            elf->size - section->head.sh_offset < section->head.sh_size) {
            return broken(err, "a section lies outside");
        }
        section->data = elf->data + section->head.sh_offset;
    }
    for (size_t i = 0; i < elf->section_count; i++) {
        elf->sections[i].name = table_text(&elf->sections[elf->head.e_shstrndx],
                                           elf->sections[i].head.sh_name);
        if (elf->sections[i].name == NULL) {
            return broken(err, "a section has no name");
        }
    }
    return true;
}

static const struct section *section_find(const struct elf *elf, const char *prefix,
                                          const char *rest)
{
    size_t length = strlen(prefix);

    for (size_t i = 0; i < elf->section_count; i++) {
        const char *name = elf->sections[i].name;

        if (strncmp(name, prefix, length) == 0 && strcmp(name + length, rest) == 0) {
            return &elf->sections[i];
        }
    }
    return NULL;
}

static bool read_symbols(struct arena *arena, struct elf *elf, struct err *err)
{
    const struct section *table = section_find(elf, ".symtab", "");

    if (table == NULL || table->head.sh_type != SHT_SYMTAB ||
        table->head.sh_link >= elf->section_count) {
        return broken(err, "no table of symbols");
    }
    elf->symbol_count = table->head.sh_size / sizeof(Elf64_Sym);
    if (elf->symbol_count > SYMBOLS_MAX) {
        return broken(err, "too many symbols");
    }
    elf->symbols = arena_alloc(arena, elf->symbol_count * sizeof *elf->symbols);
    for (size_t i = 0; i < elf->symbol_count; i++) {
        struct symbol *symbol = &elf->symbols[i];
        uint16_t home;

        memcpy(&symbol->entry, table->data + i * sizeof(Elf64_Sym), sizeof(Elf64_Sym));
        symbol->name = table_text(&elf->sections[table->head.sh_link], symbol->entry.st_name);
        if (symbol->name == NULL) {
            return broken(err, "a symbol has no name");
        }
        home = symbol->entry.st_shndx;
        if (home == SHN_UNDEF || home == SHN_ABS || home == SHN_COMMON) {
            continue;
        }
        if (home >= elf->section_count) {
            return broken(err, "a symbol lies outside");
        }
        symbol->section = &elf->sections[home];
    }
    return true;
}

static bool elf_open(struct arena *arena, const void *data, size_t size, struct elf *elf,
                     struct err *err)
{
    *elf = (struct elf){.data = data, .size = size};
    if (size < sizeof elf->head) {
        return broken(err, "too short");
    }
    memcpy(&elf->head, data, sizeof elf->head);
    if (memcmp(elf->head.e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->head.e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->head.e_ident[EI_DATA] != ELFDATA2LSB || elf->head.e_machine != MACHINE_CUDA) {
        return broken(err, "not 64-bit machine code for a GPU");
    }
    return read_sections(arena, elf, err) && read_symbols(arena, elf, err);
}

/* Steps through a section's records. False at the end; *ok tells a clean end from a broken one. */
static bool record_next(const struct section *section, size_t *at, struct record *record, bool *ok)
{
    const uint8_t *data = section->data;
    size_t left = data ? section->head.sh_size - *at : 0;

    *ok = left == 0;
    if (left < 4) {
        return false;
    }
    data += *at;
    *record = (struct record){.format = data[0], .attribute = data[1],
                              .value = data[2] | data[3] << 8};
    *at += 4;
    if (record->format == FORMAT_PAYLOAD) {
        record->payload = data + 4;
        record->size = (size_t)record->value;
        if (left - 4 < record->size) {
            return false;
        }
        *at += record->size;
    }
    *ok = true;
    return true;
}

/* The i-th word of a payload; 0 beyond its end. */
static uint32_t payload_word(const struct record *record, size_t i)
{
    uint32_t word = 0;

    if (record->format == FORMAT_PAYLOAD && record->size >= 4 * i + 4) {
        memcpy(&word, record->payload + 4 * i, 4);
    }
    return word;
}

/* A dimension of 0 does not limit. */
static int64_t block_size(const struct record *record)
{
    int64_t product = 1;

    for (size_t i = 0; i < 3; i++) {
        uint32_t extent = payload_word(record, i);

        product *= extent > 1024 ? 1024 : extent ? extent : 1;
    }
    return product;
}

/* Registers and stack, recorded for all functions together. */
static bool read_module_info(const struct elf *elf, const struct symbol *kernel,
                             struct entry_facts *entry, struct err *err)
{
    const struct section *info = section_find(elf, ".nv.info", "");
    bool cumulative = false, ok = true;
    struct record record;

    for (size_t at = 0; info != NULL && record_next(info, &at, &record, &ok);) {
        uint32_t symbol = payload_word(&record, 0), value = payload_word(&record, 1);

        if (record.size != 8 || symbol >= elf->symbol_count || &elf->symbols[symbol] != kernel) {
            continue;
        }
        if (record.attribute == INFO_REGISTERS) {
            entry->registers = value;
        } else if (record.attribute == INFO_MIN_STACK_SIZE) { /* with callees, where known */
            entry->stack_bytes = value;
            cumulative = true;
        } else if (record.attribute == INFO_FRAME_SIZE && !cumulative) {
            entry->stack_bytes = value;
        }
    }
    return ok || broken(err, "bad record in '.nv.info'");
}

static bool read_kernel_info(const struct elf *elf, struct entry_facts *entry, struct err *err)
{
    const struct section *info = section_find(elf, ".nv.info.", entry->name);
    struct record record;
    bool ok = true;

    for (size_t at = 0; info != NULL && record_next(info, &at, &record, &ok);) {
        switch (record.attribute) {
        case INFO_MAX_THREADS:
        case INFO_REQUIRED_THREADS: entry->max_threads = block_size(&record); break;
        case INFO_PARAM_BYTES: entry->param_bytes = record.value; break;
        case INFO_BARRIERS: entry->barriers = record.value; break;
        default: break;
        }
    }
    return ok || broken(err, "bad record of a kernel");
}

static bool is_kernel(const struct symbol *symbol)
{
    return ELF64_ST_TYPE(symbol->entry.st_info) == STT_FUNC && symbol->section != NULL &&
           (symbol->entry.st_other & SYMBOL_IS_KERNEL) != 0;
}

/* C and mangled names; anything else would have been put there to confuse. */
static bool is_plain_name(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f) {
            return false;
        }
    }
    return *name != '\0';
}

static bool read_kernel(struct arena *arena, const struct elf *elf, const struct symbol *kernel,
                        struct cubin_facts *facts, struct err *err)
{
    const struct section *shared;
    struct entry_facts *entry;

    if (facts->entry_count == JOB_ENTRIES_MAX) {
        return err_set(err, ERR_USER, "the cubin holds more than %d kernels", JOB_ENTRIES_MAX);
    }
    if (!is_plain_name(kernel->name)) {
        return broken(err, "a kernel's name is not plain text");
    }
    entry = &facts->entries[facts->entry_count++];
    entry->name = arena_dup(arena, kernel->name);
    entry->code_bytes = (int64_t)kernel->section->head.sh_size;
    shared = section_find(elf, ".nv.shared.", entry->name);
    if (shared != NULL) {
        int64_t reserved = facts->arch >= RESERVED_SMEM_ARCH ? RESERVED_SMEM_BYTES : 0;
        int64_t bytes = (int64_t)(shared->head.sh_size & INT64_MAX);

        entry->static_smem_bytes = bytes > reserved ? bytes - reserved : 0;
    }
    return read_module_info(elf, kernel, entry, err) && read_kernel_info(elf, entry, err);
}

static bool is_writable_state(const struct section *section)
{
    return (section->head.sh_flags & SHF_WRITE) != 0 &&
           strncmp(section->name, ".nv.shared.", 11) != 0 &&
           strncmp(section->name, ".nv.merc.", 9) != 0; /* those are second descriptions */
}

/* A section without bytes may claim any size: bounded, so that no sum overflows. */
static int64_t state_bytes(const struct section *section)
{
    const uint64_t bound = UINT64_C(1) << 40;

    return (int64_t)(section->head.sh_size < bound ? section->head.sh_size : bound);
}

/* "…, release 13.0, V13.0.88" in the note that ptxas leaves. */
static const char *read_tool(struct arena *arena, const struct elf *elf)
{
    const struct section *note = section_find(elf, ".note.nv.tkinfo", "");
    size_t size = note != NULL && note->data != NULL ? note->head.sh_size : 0;

    for (size_t i = 1; i + 1 < size; i++) {
        if (note->data[i] == 'V' && note->data[i - 1] == ' ' && note->data[i + 1] >= '0' &&
            note->data[i + 1] <= '9') {
            const char *text = (const char *)note->data + i;
            size_t length = 1;

            while (i + length < size && strchr("0123456789.", text[length]) != NULL &&
                   text[length] != '\0') {
                length++;
            }
            return arena_text(arena, text, length);
        }
    }
    return "";
}

/*
 * The code key.
 *
 * Everything that is loaded (SHF_ALLOC) is hashed with its name, flags, alignment, size and bytes,
 * in the order of the names; so are the relocations into it and the records of .nv.info. Numbers of
 * symbols become their names: debugging sections shift the numbers and nothing else. Sections that
 * are not loaded (line tables, notes with the command line, call graph) stay out.
 */
static bool is_loaded(const struct section *section)
{
    return (section->head.sh_flags & SHF_ALLOC) != 0;
}

static bool is_info(const struct section *section)
{
    return strcmp(section->name, ".nv.info") == 0 || strncmp(section->name, ".nv.info.", 9) == 0;
}

static void hash_symbol(struct hasher *hasher, const struct elf *elf, uint64_t index)
{
    const struct symbol *symbol = index < elf->symbol_count ? &elf->symbols[index] : NULL;

    hash_text(hasher, "symbol", symbol ? symbol->name : "");
    hash_text(hasher, "home", symbol && symbol->section ? symbol->section->name : "");
    hash_i64(hasher, "value", symbol ? (int64_t)symbol->entry.st_value : -1);
}

static void hash_relocations(struct hasher *hasher, const struct elf *elf,
                             const struct section *section)
{
    size_t count = section->data ? section->head.sh_size / sizeof(Elf64_Rela) : 0;

    for (size_t i = 0; i < count; i++) {
        Elf64_Rela rela;

        memcpy(&rela, section->data + i * sizeof rela, sizeof rela);
        hash_i64(hasher, "at", (int64_t)rela.r_offset);
        hash_i64(hasher, "type", (int64_t)ELF64_R_TYPE(rela.r_info));
        hash_i64(hasher, "addend", rela.r_addend);
        hash_symbol(hasher, elf, ELF64_R_SYM(rela.r_info));
    }
}

static bool hash_records(struct hasher *hasher, const struct elf *elf,
                         const struct section *section, struct err *err)
{
    struct record record;
    bool ok = true;

    for (size_t at = 0; record_next(section, &at, &record, &ok);) {
        const uint8_t *payload = record.payload;
        size_t size = record.size;

        hash_i64(hasher, "attribute", record.attribute << 8 | record.format);
        switch (record.attribute) {
        case INFO_REGISTERS:
        case INFO_FRAME_SIZE:
        case INFO_MIN_STACK_SIZE:
        case INFO_MAX_STACK_SIZE:
        case INFO_PARAM_CBANK: /* these begin with the number of a symbol */
            if (size >= 4) {
                hash_symbol(hasher, elf, payload_word(&record, 0));
                payload += 4;
                size -= 4;
            }
            break;
        default: break;
        }
        hash_i64(hasher, "record", record.value);
        hash_field(hasher, "payload", payload ? payload : (const uint8_t *)"", size);
    }
    return ok || broken(err, "bad record");
}

static bool hash_section(struct hasher *hasher, const struct elf *elf,
                         const struct section *section, struct err *err)
{
    const Elf64_Shdr *head = &section->head;

    hash_text(hasher, "section", section->name);
    if (is_info(section)) {
        return hash_records(hasher, elf, section, err);
    }
    if (head->sh_type == SHT_RELA) {
        hash_relocations(hasher, elf, section);
        return true;
    }
    hash_i64(hasher, "flags", (int64_t)head->sh_flags);
    hash_i64(hasher, "align", (int64_t)head->sh_addralign);
    hash_i64(hasher, "size", (int64_t)head->sh_size);
    if (section->data != NULL) {
        hash_field(hasher, "bytes", section->data, head->sh_size);
    }
    return true;
}

static bool matters(const struct elf *elf, const struct section *section)
{
    bool relocates = section->head.sh_type == SHT_RELA || section->head.sh_type == SHT_REL;

    if (relocates) {
        return section->head.sh_info < elf->section_count &&
               is_loaded(&elf->sections[section->head.sh_info]);
    }
    return is_loaded(section) || is_info(section);
}

static int by_name(const void *a, const void *b)
{
    const struct section *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);

    return order ? order : (*x > *y) - (*x < *y);
}

static bool hash_code(struct arena *arena, const struct elf *elf, struct hash *key,
                      struct err *err)
{
    const struct section **order = arena_alloc(arena, elf->section_count * sizeof *order);
    struct hasher hasher;
    size_t count = 0;

    for (size_t i = 0; i < elf->section_count; i++) {
        if (matters(elf, &elf->sections[i])) {
            order[count++] = &elf->sections[i];
        }
    }
    qsort(order, count, sizeof *order, by_name);
    hash_begin(&hasher, "evo.code.1");
    hash_i64(&hasher, "chip", elf->head.e_flags & FLAGS_OF_CHIP);
    for (size_t i = 0; i < count; i++) {
        if (!hash_section(&hasher, elf, order[i], err)) {
            return false;
        }
    }
    *key = hash_end(&hasher);
    return true;
}

bool cubin_read(struct arena *arena, const void *data, size_t size, struct cubin_facts *facts,
                struct err *err)
{
    struct elf elf;

    *facts = (struct cubin_facts){.calls_out = ""};
    if (!elf_open(arena, data, size, &elf, err)) {
        return false;
    }
    facts->arch = elf.head.e_flags >> 8 & 0xff; /* 0x5a04 in the low bytes: 90 */
    facts->tool = read_tool(arena, &elf);
    for (size_t i = 0; i < elf.symbol_count; i++) {
        const struct symbol *symbol = &elf.symbols[i];

        if (is_kernel(symbol) && !read_kernel(arena, &elf, symbol, facts, err)) {
            return false;
        }
        if (ELF64_ST_TYPE(symbol->entry.st_info) == STT_FUNC && symbol->section == NULL) {
            facts->calls_out = arena_dup(arena, symbol->name);
        }
    }
    for (size_t i = 0; i < elf.section_count; i++) {
        if (is_writable_state(&elf.sections[i])) {
            facts->writable_state_bytes += state_bytes(&elf.sections[i]);
        }
    }
    return hash_code(arena, &elf, &facts->code_key, err);
}
