/* A hash that JavaScript has opened, and a thread of ours may work on: see hash.c. */
#ifndef HASH_H
#define HASH_H

#include "syscalls.h"

struct hash;

/* An argument, a hash that no thread works on; NULL after throwing. */
struct hash *read_hash(const struct arguments *args, size_t index);

/* Told by JavaScript's thread: whether another one has it. */
void set_busy(struct hash *hash, bool is_busy);

bool update_hash(struct hash *hash, const void *data, size_t size);

#endif
