#include "base/hash.h"

#include <assert.h>
#include <sodium/utils.h>
#include <string.h>

void hash_begin(struct hasher *hasher, const char *purpose)
{
    int rc = crypto_generichash_init(&hasher->state, NULL, 0, HASH_BYTES);

    assert(rc == 0);
    (void)rc;
    hash_text(hasher, "purpose", purpose);
}

void hash_field(struct hasher *hasher, const char *label, const void *data, size_t size)
{
    uint64_t length = size;
    uint8_t little[8];

    for (int i = 0; i < 8; i++) {
        little[i] = (uint8_t)(length >> 8 * i);
    }
    crypto_generichash_update(&hasher->state, (const uint8_t *)label, strlen(label) + 1);
    crypto_generichash_update(&hasher->state, little, sizeof little);
    crypto_generichash_update(&hasher->state, data, size);
}

void hash_text(struct hasher *hasher, const char *label, const char *text)
{
    hash_field(hasher, label, text, strlen(text));
}

void hash_i64(struct hasher *hasher, const char *label, int64_t value)
{
    uint8_t little[8];

    for (int i = 0; i < 8; i++) {
        little[i] = (uint8_t)((uint64_t)value >> 8 * i);
    }
    hash_field(hasher, label, little, sizeof little);
}

struct hash hash_end(struct hasher *hasher)
{
    struct hash hash;

    crypto_generichash_final(&hasher->state, hash.bytes, HASH_BYTES);
    return hash;
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a->bytes, b->bytes, HASH_BYTES) == 0;
}

bool hash_is_zero(const struct hash *hash)
{
    static const struct hash zero;

    return hash_equal(hash, &zero);
}

void hash_to_hex(const struct hash *hash, char hex[HASH_HEX + 1])
{
    sodium_bin2hex(hex, HASH_HEX + 1, hash->bytes, HASH_BYTES);
}

bool hash_from_hex(const char *hex, struct hash *hash)
{
    size_t length;

    return strlen(hex) == HASH_HEX &&
           sodium_hex2bin(hash->bytes, HASH_BYTES, hex, HASH_HEX, NULL, &length, NULL) == 0 &&
           length == HASH_BYTES;
}
