/*
 * How a directory is listed: list.c makes it, and who works on all of its entries reads it.
 *
 * Entries stand in the order of their bytes, each behind the other, native-endian:
 *
 *   0 u32 bytes of the entry, a multiple of 8     40 u64 inode         80 u32 mtime's nanoseconds
 *   4 u32 bytes of the name                       48 u64 size          84 u32 ctime's nanoseconds
 *   8 u32 mode, uid, gid, links                   56 u64 blocks        88 the name, and a zero or more
 *  24 u32 dev major, minor, rdev major, minor     64 i64 mtime, ctime
 */
#ifndef LIST_H
#define LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry {
  uint32_t size, name_size;
  uint32_t mode, uid, gid, links;
  uint32_t dev_major, dev_minor, rdev_major, rdev_minor;
  uint64_t ino, bytes, blocks;
  int64_t mtime, ctime;
  uint32_t mtime_nanoseconds, ctime_nanoseconds;
};

_Static_assert(sizeof(struct entry) == 88, "the layout above");

/* Whether a whole entry begins here, of so many bytes. */
bool read_entry(const char *bytes, size_t left, struct entry *entry);

/* How many there are, up to the first that is damaged. */
size_t count_entries(const char *bytes, size_t size);

#endif
