/* What copy-file.c and copy-files.c share: a plain file copied. */
#ifndef PLAIN_H
#define PLAIN_H

/* As `CopyNumbers` of syscalls.ts has them; an owner below 0 is the source's own. */
enum { MODE, UID, GID, SECONDS, NANOSECONDS, KEEPS_TIME, NUMBERS };

/* As `copyStatus` of syscalls.ts has them. */
enum { IS_DONE, IS_NOT_PLAIN, IS_GONE, IS_IN_THE_WAY, IS_NOT_WANTED };

/* One of the answers above, or -1: errno, of `call`. But for IS_DONE, and after a call that failed
 * late, there is no copy. */
int copy_plain(int from_fd, const char *from_name, int to_fd, const char *to_name,
               const double *numbers, const char **call);

#endif
