/*
 * A disk that fails: preloaded into a program, it counts what changes files below FAILING_DISK and makes
 * one such call fail, or all from there on.
 *
 *   FAILING_DISK        the directory, absolute and without links
 *   FAILING_DISK_AT     the call that fails, counted from 1; 0: none
 *   FAILING_DISK_ERROR  its errno
 *   FAILING_DISK_FOR    `ever` when all later ones fail too: a full disk, not a bad block
 *   FAILING_DISK_COUNT  where the number of calls is written when the program ends
 *
 * Calls are counted over all threads, and not in programs that it starts. Deleting is not counted: it needs no space, and what cannot be
 * deleted stays for the next who cleans.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *root;
static size_t root_length;
static long fail_at;
static int fail_errno;
static bool fail_for_ever;
static const char *count_path;
static atomic_long calls;

__attribute__((constructor)) static void begin(void) {
  root = getenv("FAILING_DISK");
  /* env(1), which looks for node, becomes it. */
  if (root == NULL || strcmp(program_invocation_short_name, "node") != 0) {
    root = NULL;
    return;
  }
  root_length = strlen(root);
  fail_at = atol(getenv("FAILING_DISK_AT"));
  fail_errno = atoi(getenv("FAILING_DISK_ERROR"));
  const char *how_long = getenv("FAILING_DISK_FOR");
  fail_for_ever = how_long != NULL && strcmp(how_long, "ever") == 0;
  const char *count = getenv("FAILING_DISK_COUNT");
  count_path = count == NULL ? NULL : strdup(count);
  root = strdup(root);
  /* Not for those that it starts. */
  static const char *const names[] = {"LD_PRELOAD",         "FAILING_DISK",     "FAILING_DISK_AT",
                                      "FAILING_DISK_ERROR", "FAILING_DISK_FOR", "FAILING_DISK_COUNT"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
}

__attribute__((destructor)) static void end(void) {
  if (count_path == NULL) return;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, count_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  char text[24];
  int length = snprintf(text, sizeof text, "%ld", atomic_load(&calls));
  syscall(SYS_write, fd, text, (size_t)length);
  syscall(SYS_close, fd);
}

/* Whether this call is the one. */
static bool fails(void) {
  long call = atomic_fetch_add(&calls, 1) + 1;
  if (fail_at == 0 || call < fail_at || (call > fail_at && !fail_for_ever)) return false;
  errno = fail_errno;
  return true;
}

static bool is_below(const char *path) {
  return strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == '\0');
}

static bool fd_is_below(int fd) {
  if (root == NULL) return false;
  char link[32], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = '\0';
  return is_below(path);
}

static bool at_is_below(int dir_fd, const char *path) {
  if (root == NULL || path == NULL) return false;
  if (path[0] == '/') return is_below(path);
  return dir_fd != AT_FDCWD && fd_is_below(dir_fd);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FD(type, name, parameters, fd, arguments)      \
  type name parameters {                                   \
    static __typeof__(&name) real;                         \
    if (real == NULL) real = REAL(name);                   \
    if (fd_is_below(fd) && fails()) return -1;             \
    return real arguments;                                 \
  }
#define ON_PATH(type, name, parameters, dir_fd, path, arguments) \
  type name parameters {                                          \
    static __typeof__(&name) real;                                \
    if (real == NULL) real = REAL(name);                          \
    if (at_is_below(dir_fd, path) && fails()) return -1;          \
    return real arguments;                                        \
  }

ON_FD(ssize_t, write, (int fd, const void *from, size_t size), fd, (fd, from, size))
ON_FD(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), fd, (fd, from, size, at))
ON_FD(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), fd,
      (fd, from, size, at))
ON_FD(ssize_t, writev, (int fd, const struct iovec *from, int count), fd, (fd, from, count))
ON_FD(ssize_t, pwritev, (int fd, const struct iovec *from, int count, off_t at), fd,
      (fd, from, count, at))
ON_FD(ssize_t, pwritev64, (int fd, const struct iovec *from, int count, off64_t at), fd,
      (fd, from, count, at))
ON_FD(ssize_t, copy_file_range,
      (int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags), out,
      (in, in_at, out, out_at, size, flags))
ON_FD(int, fsync, (int fd), fd, (fd))
ON_FD(int, fdatasync, (int fd), fd, (fd))
ON_FD(int, syncfs, (int fd), fd, (fd))
ON_FD(int, ftruncate, (int fd, off_t size), fd, (fd, size))
ON_FD(int, ftruncate64, (int fd, off64_t size), fd, (fd, size))
ON_PATH(int, mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
ON_PATH(int, mkdirat, (int dir, const char *path, mode_t mode), dir, path, (dir, path, mode))
ON_PATH(int, mknodat, (int dir, const char *path, mode_t mode, dev_t device), dir, path,
        (dir, path, mode, device))
ON_PATH(int, symlink, (const char *target, const char *path), AT_FDCWD, path, (target, path))
ON_PATH(int, symlinkat, (const char *target, int dir, const char *path), dir, path,
        (target, dir, path))
ON_PATH(int, link, (const char *from, const char *path), AT_FDCWD, path, (from, path))
ON_PATH(int, linkat, (int from_dir, const char *from, int dir, const char *path, int flags), dir,
        path, (from_dir, from, dir, path, flags))
ON_PATH(int, rename, (const char *from, const char *path), AT_FDCWD, path, (from, path))
ON_PATH(int, renameat, (int from_dir, const char *from, int dir, const char *path), dir, path,
        (from_dir, from, dir, path))
ON_PATH(int, fsetxattr,
        (int fd, const char *name, const void *value, size_t size, int flags), fd, "",
        (fd, name, value, size, flags))

/* Only those that may make a file. */
#define ON_OPEN(name, fixed, arguments, dir_fd, path)                  \
  int name fixed {                                                      \
    static int (*real)fixed;                                            \
    if (real == NULL) real = (int (*)fixed)dlsym(RTLD_NEXT, #name);     \
    mode_t mode = 0;                                                    \
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {   \
      va_list rest;                                                     \
      va_start(rest, flags);                                            \
      mode = va_arg(rest, mode_t);                                      \
      va_end(rest);                                                     \
      if (at_is_below(dir_fd, path) && fails()) return -1;              \
    }                                                                   \
    return real arguments;                                              \
  }
ON_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD, path)
ON_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD, path)
ON_OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir, path)
ON_OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir, path)

/* What has no function in older C libraries goes through here. */
long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (real == NULL) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list rest;
  va_start(rest, number);
  long arguments[6];
  for (int i = 0; i < 6; i++) arguments[i] = va_arg(rest, long);
  va_end(rest);
  const char *path = (const char *)arguments[1];
  bool changes =
      (number == SYS_renameat2 && at_is_below((int)arguments[2], (const char *)arguments[3])) ||
      (number == SYS_openat2 && (*(unsigned long long *)arguments[2] & O_CREAT) != 0 &&
       at_is_below((int)arguments[0], path)) ||
      (number == SYS_utimensat && at_is_below((int)arguments[0], path));
  if (changes && fails()) return -1;
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
              arguments[5]);
}
