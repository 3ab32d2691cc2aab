/*
 * The bytes that a gzip file holds, all its members one after the other. For layers, most of which
 * are gzip.
 *
 * 1. The file is hostile: as inflate.h says, and a header may be of any length.
 * 2. Of a member's trailer the size is checked, the sum is not: whoever reads a layer knows a digest.
 * 3. Behind the last member may be zeros, as writers to tapes left them.
 *
 * Spec: RFC 1952.
 */
#ifndef GZIP_FILE_H
#define GZIP_FILE_H

#include "inflate.h"

#include <sys/types.h>

/* So many bytes of the file, fewer at its end; -1: errno. */
ssize_t read_at(int fd, off_t at, uint8_t *bytes, size_t size);

#define GZIP_INPUT (256 << 10)

/* All zero but for the descriptor: nothing was read. */
struct gzip_file {
  int fd;
  /* What makes no sense in the file, once reading has failed; NULL: errno says why it did. */
  const char *damage;
  bool is_in_member, is_over;
  /* Of the member, so far; its trailer has no more bits of it. */
  uint32_t size;
  /* Where the last piece ends: the next one refers back to it. */
  const uint8_t *last_end;
  /* Where in the file the input ends. */
  off_t input_end;
  struct inflate_io io;
  struct inflater inflater;
  uint8_t input[GZIP_INPUT];
};

/*
 * Fills `target` behind its first INFLATE_WINDOW bytes, which are for this function: how many bytes;
 * 0 at the end; -1 where it fails. What the last call filled must be as it was.
 */
ssize_t read_gzip(struct gzip_file *file, uint8_t *target, size_t size);

#endif
