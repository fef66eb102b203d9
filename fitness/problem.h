/*
 * problem -- one attention computation: its shape, its type, its memory.
 *
 * O = softmax(scale · Q Kᵀ + mask) V for every batch and head. Causal masks are aligned to the
 * bottom right: query i sees keys j <= i + kv_len - q_len. A row that sees no key gives zeros (and
 * a log-sum-exp of -inf). kv_heads divides heads; query head h reads key head h / (heads /
 * kv_heads).
 *
 * The text form is BxHxSxD, or BxH/KxQ/SxD with its own key heads and key length, followed by
 * options after colons:   1x8x512x64   4x32/8x4096x128:causal   2x8x100/300x64:causal:bf16:lse:bshd
 *
 * Shared by engine and workers. No state.
 */
#ifndef EVO_FITNESS_PROBLEM_H
#define EVO_FITNESS_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    PROBLEM_TEXT_MAX = 96,
    PROBLEM_DIM_MAX = 1 << 20,     /* batch, heads, lengths: a grid and an int hold any of them */
    PROBLEM_HEAD_DIM_MAX = 512,    /* the widest head that any known model has is 512 */
    PROBLEM_ELEMENTS_LOG2_MAX = 33, /* of one tensor: 16 GiB of half; four of them fill a GPU */
};

enum dtype { DTYPE_F16, DTYPE_BF16 };

struct problem {
    int64_t batch, heads, kv_heads, q_len, kv_len, head_dim;
    enum dtype dtype;
    bool causal;
    bool lse; /* also write the natural log-sum-exp of each row, float [batch, heads, q_len] */
    bool sequence_first; /* memory is [B, S, H, D] instead of [B, H, S, D] */
};

/* The kernel's by-value argument `problem`; templates/include/attention.cuh has its mirror. */
struct problem_args {
    int32_t batch, heads, kv_heads, q_len, kv_len, head_dim;
    float scale; /* 1/sqrt(head_dim) */
    int32_t reserved;
    /* Element strides of batch, head and row in Q, K, V and O; columns are contiguous. */
    int64_t q[3], k[3], v[3], o[3];
};

/* Strict: no blanks, no leading zeros, options once each, in any order. */
bool problem_parse(const char *text, struct problem *problem, struct err *err);
/* The canonical text: problem_parse of it gives an equal problem. */
void problem_text(const struct problem *problem, char text[PROBLEM_TEXT_MAX]);
bool problem_equal(const struct problem *a, const struct problem *b);
/* Same machine code: everything a kernel has fixed at compile time is equal. */
bool problem_same_static(const struct problem *a, const struct problem *b);

struct problem_args problem_args(const struct problem *problem);
double problem_scale(const struct problem *problem);
int64_t problem_q_elements(const struct problem *problem); /* of Q, and of O */
int64_t problem_kv_elements(const struct problem *problem); /* of K, and of V */
int64_t problem_rows(const struct problem *problem);        /* batch · heads · q_len */
/* 4·B·H·Sq·Skv·D; causal counts the visible pairs only. */
double problem_flops(const struct problem *problem);
double problem_bytes(const struct problem *problem); /* Q, K, V read once, O written once */

/* The variables that launches may read, in the order of their values. */
enum launch_variable {
    LAUNCH_BATCH,    /* batch */
    LAUNCH_HEADS,    /* heads */
    LAUNCH_KV_HEADS, /* kv_heads */
    LAUNCH_Q_LEN,    /* q_len */
    LAUNCH_KV_LEN,   /* kv_len */
    LAUNCH_SMS,      /* sms: multiprocessors of the device */
    LAUNCH_VARIABLES,
};

extern const char *const launch_variable_names[LAUNCH_VARIABLES];

#endif
