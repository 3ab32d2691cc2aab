/* What was asked for, and how it is read: words that become lists and numbers. */
#include "sandbox.h"

#include <errno.h>
#include <stdlib.h>

struct sandbox sandbox;

/* The array with room for one more. It has grown at each power of two, so only there is it full. */
void *grow(void *array, size_t count, size_t size) {
  if ((count & (count - 1)) != 0) return array;
  void *bigger = realloc(array, (count == 0 ? 1 : 2 * count) * size);
  if (bigger == NULL) fail("read the operations", ENOMEM, "");
  return bigger;
}

void append(struct texts *list, char *text) {
  list->at = grow(list->at, list->count + 1, sizeof *list->at);
  list->at[list->count++] = text;
  list->at[list->count] = NULL;
}

unsigned long number(const char *text, unsigned long limit) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > limit) {
    fail("read the operations", EINVAL, text);
  }
  return value;
}
