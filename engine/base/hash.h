/*
 * hash -- BLAKE2b-256 over labelled fields.
 *
 * A field is hashed with its label and length, so that no two lists of fields share a digest by
 * running into each other. The digests name sources, programs and cache entries for ever: changing
 * what goes into one changes its label.
 */
#ifndef EVO_BASE_HASH_H
#define EVO_BASE_HASH_H

#include <sodium/crypto_generichash.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HASH_BYTES = 32, HASH_HEX = 2 * HASH_BYTES };

struct hash {
    uint8_t bytes[HASH_BYTES];
};

struct hasher {
    crypto_generichash_state state;
};

void hash_begin(struct hasher *hasher, const char *purpose);
void hash_field(struct hasher *hasher, const char *label, const void *data, size_t size);
void hash_text(struct hasher *hasher, const char *label, const char *text);
void hash_i64(struct hasher *hasher, const char *label, int64_t value);
struct hash hash_end(struct hasher *hasher);

bool hash_equal(const struct hash *a, const struct hash *b);
bool hash_is_zero(const struct hash *hash); /* "not known yet" */
void hash_to_hex(const struct hash *hash, char hex[HASH_HEX + 1]);
bool hash_from_hex(const char *hex, struct hash *hash);

#endif
