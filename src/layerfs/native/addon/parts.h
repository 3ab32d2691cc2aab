/* Work on many things that are alike, split among the processors. */
#ifndef PARTS_H
#define PARTS_H

#include <stddef.h>

/* What a thread does: `start` up to `end`. Where it fails it says which call did, and of what. */
struct part {
  void *data;
  size_t start, end;
  const char *call, *name;
  int failure;
};

/* So many files copied or read take as long as a thread does to start. */
enum { FILES_WORTH_A_THREAD = 32 };

/* Does `work` for all of `count`, by several threads where each has so many that it is `worth` it. False:
 * the first part that failed is in `failed`; others may have done theirs. */
_Bool in_parts(size_t count, size_t worth, void (*work)(struct part *), void *data,
               struct part *failed);

#endif
