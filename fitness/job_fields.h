/*
 * job_fields -- how the messages of job.h are read: fields, and words of a line, each checked.
 *
 * For job.c, job_judge.c and job_duel.c alone. What is wrong with a message is told with its verb
 * and the field; a reader of words cuts the next one off *rest and is false when it is not there or
 * not what it should be. Memory: the message's, or the caller's arena.
 */
#ifndef EVO_FITNESS_JOB_FIELDS_H
#define EVO_FITNESS_JOB_FIELDS_H

#include "fitness/job.h"

/* The index of `text` among `count` names, or -1. */
int name_index(const char *const *names, int count, const char *text);

bool field_verb(const struct message *message, const char *verb, struct err *err);
const char *field_text(const struct message *message, const char *key); /* "": there is none */
bool field_name(const struct message *message, const char *key, const char *const *names, int count,
                int *value, struct err *err);
bool field_verdict(const struct message *message, const char *key, enum verdict *verdict,
                   struct err *err);
bool field_count(const struct message *message, const char *key, int64_t low, int64_t high,
                 int *value, struct err *err);
bool field_bool(const struct message *message, const char *key, bool *value, struct err *err);
bool field_ms(const struct message *message, const char *key, double *ms, struct err *err);
bool field_secret(const struct message *message, uint64_t *secret, struct err *err);

/* Both are false: there are more lines of a kind than fit, or one is not as it should be. */
bool field_too_many(const struct message *message, const char *what, struct err *err);
bool field_malformed(const struct message *message, const char *key, const char *line,
                     struct err *err);

const char *word_next(char **rest); /* NULL: there is none */
bool word_i64(char **rest, int64_t *value);
bool word_f64(char **rest, double *value);
bool word_f64_or_none(char **rest, double *value);

/* A number that may be absent: "nan" on the wire. */
bool parse_f64_or_nan(const char *text, double *value);
const char *text_of_f64(struct arena *arena, double value);
bool parse_hex64(const char *text, uint64_t *value); /* sixteen lower-case digits */

/* All of an image but its key, which stands in a field; and both. */
void field_put_image(struct arena *arena, struct message *message, int index,
                     const struct judge_image *image);
bool field_image(struct arena *arena, const struct message *message, int index,
                 const char *code_key, struct judge_image *image, struct err *err);

#endif
