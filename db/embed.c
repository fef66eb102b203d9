/*
 * evo-embed -- turns the .sql files into one C header, when evo is built.
 *
 *     evo-embed OUT.h schema.sql queries.sql migrate/0002_NAME.sql ...
 *
 * The header holds `enum statement` (one constant for each `-- :name candidate_insert` of
 * queries.sql) and, for the one file that defines STATEMENT_TEXTS before it includes it, the names
 * and texts of the statements, schema.sql, and the migrations in order of their numbers.
 * Migrations are numbered without a gap from 2, since schema.sql is version 1.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATEMENTS_MAX = 512, MIGRATIONS_MAX = 998, NAME_MAX_BYTES = 64 };

struct statement {
    char name[NAME_MAX_BYTES];
    char *text; /* NUL-terminated inside the file's text; ends where the next one begins */
    int line;
};

static char *schema;
static struct statement statements[STATEMENTS_MAX];
static int statement_count;
static char *migrations[MIGRATIONS_MAX + 2]; /* by version */
static int version_max = 1;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "evo-embed: ");
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t length = 0, room = 0, got;

    if (file == NULL) {
        fail("cannot open '%s': %s", path, strerror(errno));
    }
    do {
        room += 65536;
        text = realloc(text, room + 1);
        if (text == NULL) {
            fail("out of memory");
        }
        got = fread(text + length, 1, room - length, file);
        length += got;
    } while (length == room);
    if (ferror(file)) {
        fail("cannot read '%s': %s", path, strerror(errno));
    }
    fclose(file);
    text[length] = '\0';
    if (strlen(text) != length) {
        fail("'%s' holds a NUL", path);
    }
    return text;
}

static void name_take(const char *path, int line, const char *text, char name[NAME_MAX_BYTES])
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

    if (length == 0 || length >= NAME_MAX_BYTES || text[length + strspn(text + length, " \r")]) {
        fail("%s:%d: a name is small letters, digits and '_'", path, line);
    }
    memcpy(name, text, length);
    name[length] = '\0';
    for (int i = 0; i < statement_count; i++) {
        if (strcmp(statements[i].name, name) == 0) {
            fail("%s:%d: '%s' is already the name of line %d", path, line, name,
                 statements[i].line);
        }
    }
}

/* Splits the text at its names. Comment lines stay out: they are for readers of the .sql. */
static void queries_split(const char *path, char *text)
{
    char *out = NULL; /* where the next kept line goes: the text is compacted in place */
    int line_number = 0;

    for (char *line = text, *next; line != NULL; line = next) {
        char *end = strchr(line, '\n');

        next = end == NULL ? NULL : end + 1;
        if (end != NULL) {
            *end = '\0';
        }
        line_number++;
        if (strncmp(line, "-- :name ", 9) == 0) {
            struct statement *statement = &statements[statement_count];

            if (statement_count == STATEMENTS_MAX) {
                fail("%s:%d: more than %d statements", path, line_number, STATEMENTS_MAX);
            }
            name_take(path, line_number, line + 9, statement->name);
            statement->line = line_number;
            statement->text = out = line;
            *out = '\0';
            statement_count++;
        } else if (strncmp(line, "--", 2) != 0 && line[strspn(line, " \t\r")] != '\0') {
            size_t length = strlen(line);

            if (out == NULL) {
                fail("%s:%d: a statement without '-- :name'", path, line_number);
            }
            memmove(out, line, length);
            out += length;
            *out++ = '\n';
            *out = '\0';
        }
    }
    for (int i = 0; i < statement_count; i++) {
        if (statements[i].text[0] == '\0') {
            fail("%s:%d: '%s' has no statement", path, statements[i].line, statements[i].name);
        }
    }
}

static void file_take(const char *path)
{
    const char *base = strrchr(path, '/');
    char *text = read_whole(path);

    base = base == NULL ? path : base + 1;
    if (strcmp(base, "schema.sql") == 0) {
        schema = text;
    } else if (strcmp(base, "queries.sql") == 0) {
        queries_split(path, text);
    } else if (strspn(base, "0123456789") == 4 && strchr("_-.", base[4]) != NULL) {
        int version = atoi(base);

        if (version < 2 || version > MIGRATIONS_MAX + 1 || migrations[version] != NULL) {
            fail("'%s': its number is taken or below 2", path);
        }
        migrations[version] = text;
        version_max = version > version_max ? version : version_max;
    } else {
        fail("'%s' is neither schema.sql, queries.sql nor a migration NNNN_NAME.sql", path);
    }
}

static void put_literal(FILE *out, const char *text)
{
    if (*text == '\0') {
        fputs("    \"\"\n", out);
    }
    while (*text != '\0') {
        fputs("    \"", out);
        for (; *text != '\0' && *text != '\n'; text++) {
            if (*text == '"' || *text == '\\' || *text == '?') {
                fprintf(out, "\\%c", *text);
            } else if (isprint((unsigned char)*text)) {
                fputc(*text, out);
            } else {
                fprintf(out, "\\%03o", (unsigned)(unsigned char)*text);
            }
        }
        text += *text == '\n';
        fputs("\\n\"\n", out);
    }
}

static void put_header(FILE *out)
{
    fputs("/* Made by evo-embed from db/ *.sql; do not edit. */\n"
          "#ifndef EVO_DB_QUERIES_H\n#define EVO_DB_QUERIES_H\n\n#include <stddef.h>\n\nenum "
          "statement {\n",
          out);
    for (int i = 0; i < statement_count; i++) {
        fputs("    STATEMENT_", out);
        for (const char *c = statements[i].name; *c != '\0'; c++) {
            fputc(toupper((unsigned char)*c), out);
        }
        fputs(",\n", out);
    }
    fprintf(out,
            "    STATEMENT_COUNT\n};\n\n"
            "enum { SCHEMA_VERSION = %d, MIGRATION_FIRST = 2 };\n\n#ifdef STATEMENT_TEXTS\n\n"
            "static const struct {\n    const char *name, *text;\n"
            "} statement_texts[STATEMENT_COUNT] = {\n",
            version_max);
    for (int i = 0; i < statement_count; i++) {
        fprintf(out, "    {\"%s\",\n", statements[i].name);
        put_literal(out, statements[i].text);
        fputs("    },\n", out);
    }
    fputs("};\n\nstatic const char schema_text[] =\n", out);
    put_literal(out, schema);
    fputs(";\n\n/* [i] leads from version MIGRATION_FIRST + i - 1 to the next; NULL ends it. */\n"
          "static const char *const migration_texts[] = {\n",
          out);
    for (int version = 2; version <= version_max; version++) {
        if (migrations[version] == NULL) {
            fail("there is a migration %04d but no %04d", version_max, version);
        }
        put_literal(out, migrations[version]);
        fputs("    ,\n", out);
    }
    fputs("    NULL,\n};\n\n#endif\n#endif\n", out);
}

int main(int argc, char **argv)
{
    FILE *out;

    if (argc < 3) {
        fail("usage: evo-embed OUT.h FILE.sql...");
    }
    for (int i = 2; i < argc; i++) {
        file_take(argv[i]);
    }
    if (schema == NULL || statement_count == 0) {
        fail("schema.sql or queries.sql is missing");
    }
    out = fopen(argv[1], "w");
    if (out == NULL) {
        fail("cannot create '%s': %s", argv[1], strerror(errno));
    }
    put_header(out);
    if (ferror(out) || fclose(out) != 0) {
        remove(argv[1]);
        fail("cannot write '%s'", argv[1]);
    }
    return 0; /* the texts live as long as the process */
}
