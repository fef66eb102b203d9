/*
 * latecopy -- the part of a jitter twin that makes copies come as late as they may.
 *
 * cp.async promises its bytes to a thread that has waited, to nobody else; but on the hardware
 * they are there a microsecond later, waited for or not. In a twin each thread keeps a ring of the
 * copies that it asked for, and moves the bytes itself where it waits for them (wait_group,
 * wait_all). What reads without waiting, or waits for one group too few, finds what was there
 * before, each time. What was never waited for when the thread ends does not come at all. Where an
 * mbarrier is to be told of them, nobody waits yet: there they are asked for, and the hardware
 * takes its time; unless nothing in the module ever waits for an mbarrier. Then bulk copies that
 * tell one do not come either. A full ring, or one of no places (so the twin is the kernel itself),
 * lets the instruction do its work as ever: copies may always come early.
 *
 * It knows what cp.async's operands mean, hence which registers have how many bits. Caller:
 * jitter.c, which finds the statements. The text is untrusted: what is not understood stays.
 */
#ifndef EVO_FITNESS_LATECOPY_H
#define EVO_FITNESS_LATECOPY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum {
    LATE_COPIES_MAX = 32, /* of a thread at a time; a power of two */
    LATE_REGISTERS_MAX = 256,
};

struct latecopy {
    struct late_register {
        const char *name; /* in the text */
        int length, depth;
        int bits;   /* 1: a predicate */
        long count; /* of name0, name1, ...; -1: it is one register */
    } registers[LATE_REGISTERS_MAX];
    int count;
    int labels; /* given out */
    bool asked; /* some instruction of the module waits for an mbarrier */
};

/* One instruction or declaration with its guard and its semicolon. */
struct late_statement {
    const char *text;
    size_t length;
};

enum late_kind {
    LATE_NONE,
    LATE_COPY,   /* cp.async.ca, cp.async.cg */
    LATE_COMMIT, /* of a group */
    LATE_WAIT,   /* for all groups but some */
    LATE_ALL,    /* for everything */
    LATE_ARRIVE, /* nobody waits here: an mbarrier will be told when everything is there */
    LATE_BULK,   /* a bulk or tensor copy of which an mbarrier is told */
};
enum late_kind late_kind_of(const char *opcode);

/* A .reg statement at some depth of braces; and the end of that scope. */
void late_declare(struct latecopy *late, struct late_statement statement, int depth);
void late_leave(struct latecopy *late, int depth);

/* Where a kernel begins: its ring. `variable` + 8 holds how many of its places are used. */
void late_entry(struct buf *twin, const char *variable);
/* In place of a copy. False: it was not understood, and nothing was put in. */
bool late_copy(struct latecopy *late, struct late_statement statement, struct buf *twin);
/* The same for a bulk copy in a module where nobody asks. */
bool late_bulk(struct late_statement statement, struct buf *twin);
/* After a commit. */
void late_commit(struct late_statement statement, struct buf *twin);
/* Before a wait or an arrival. */
void late_wait(struct latecopy *late, enum late_kind kind, struct late_statement statement,
               struct buf *twin);

#endif
