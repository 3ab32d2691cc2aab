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

/* Does `work` for all of `count`, by several threads where there are many. False: the first part that
 * failed is in `failed`; others may have done theirs. */
_Bool in_parts(size_t count, void (*work)(struct part *), void *data, struct part *failed);

#endif
