/* One block of a tar: what an entry is like. As tar/fields.ts draws it. */
#ifndef TAR_HEADER_H
#define TAR_HEADER_H

enum { BLOCK = 512, LONGEST_NAME = 100, LONGEST_PREFIX = 155 };

struct header {
  char name[LONGEST_NAME], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
  char link_name[100], magic[8], user[32], group[32], dev_major[8], dev_minor[8];
  char prefix[LONGEST_PREFIX], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a block");

#endif
