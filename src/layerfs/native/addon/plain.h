/* A plain file copied, or read: what the calls for one and those for many share. */
#ifndef PLAIN_H
#define PLAIN_H

#include <sys/types.h>

/* As `CopyNumbers` of syscalls.ts has them; a mode or an owner below 0 is the source's own. */
enum { MODE, UID, GID, SECONDS, NANOSECONDS, KEEPS_TIME, NUMBERS };

/* As `copyStatus` of syscalls.ts has them. */
enum { IS_DONE, IS_NOT_PLAIN, IS_GONE, IS_IN_THE_WAY, IS_NOT_WANTED };

/* One of the answers above, or -1: errno, of `call`. But for IS_DONE, and after a call that failed
 * late, there is no copy. */
int copy_plain(int from_fd, const char *from_name, int to_fd, const char *to_name,
               const double *numbers, const char **call);

/* How many bytes the file has, up to `size`; -1: it has more, is no plain file of one name, or cannot
 * be read. */
ssize_t read_plain(int dir_fd, const char *name, void *data, size_t size);

#endif
