/*
 * A plain file copied, or read, at once: as create-file.c, for what nearly all files are. Both say
 * when a file is none of those; it is then as if they had not been called.
 */
#define _GNU_SOURCE
#include "new-file.h"
#include "plain.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Copied through memory: cheaper than asking the kernel to, and holes of this size are no holes. */
#define SMALL_SIZE (128 * 1024)

struct place {
  int dir_fd;
  struct name name;
};

static bool read_place(napi_env env, const struct arguments *args, size_t index,
                       struct place *place) {
  struct arguments pair = {.env = env};
  return read_list(args, index, &pair) && read_int(&pair, 0, &place->dir_fd) &&
         read_name(&pair, 1, &place->name);
}

/* Whether any belongs to the file: a label is of the machine, and on some of them every file has one. A
 * file system without attributes answers an error. */
static bool has_attributes(int fd) {
  static const char label[] = "security.selinux";
  char names[sizeof label];
  const ssize_t size = flistxattr(fd, names, sizeof names);
  if (size < 0) return errno == ERANGE;
  return size > 0 && (size != sizeof label || memcmp(names, label, sizeof label) != 0);
}

/* The descriptor, or the negative of one of the answers above. O_NONBLOCK: should it be a FIFO by
 * now, the open returns. */
static int open_plain(int dir_fd, const char *name, struct stat *stat, off_t largest) {
  const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const int fd = openat(dir_fd, name, flags);
  if (fd < 0) return errno == ENOENT || errno == ELOOP ? -IS_GONE : -IS_NOT_PLAIN;
  if (fstat(fd, stat) == 0 && S_ISREG(stat->st_mode) && stat->st_nlink <= 1 &&
      stat->st_size <= largest && !has_attributes(fd)) {
    return fd;
  }
  close(fd);
  return -IS_NOT_PLAIN;
}

/* Up to `size` bytes, fewer at the end of the file; -1: errno. */
static ssize_t read_all(int fd, char *data, size_t size) {
  size_t length = 0;
  while (length < size) {
    const ssize_t count = read(fd, data + length, size - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) break;
    length += (size_t)count;
  }
  return (ssize_t)length;
}

static bool copy_content(int from, int to, size_t size, const char **call) {
  static _Thread_local char data[SMALL_SIZE];
  *call = "read";
  const ssize_t length = read_all(from, data, size);
  if (length < 0) return false;
  *call = "write";
  return write_all(to, data, (size_t)length);
}

/* A mode and an owner below 0, and a time that is kept, are the source's. */
static struct attributes attributes_of_copy(const double *numbers, const struct stat *source) {
  double own[NUMBERS];
  memcpy(own, numbers, sizeof own);
  if (own[MODE] < 0) own[MODE] = source->st_mode & 07777;
  if (own[UID] < 0) own[UID] = source->st_uid;
  if (own[GID] < 0) own[GID] = source->st_gid;
  struct attributes wanted = attributes_in(own);
  if (own[KEEPS_TIME] != 0) wanted.time = source->st_mtim;
  return wanted;
}

int copy_plain(int from_fd, const char *from_name, int to_fd, const char *to_name,
               const double *numbers, const char **call) {
  struct stat stat;
  const int source = open_plain(from_fd, from_name, &stat, SMALL_SIZE);
  if (source < 0) return -source;
  const struct attributes wanted = attributes_of_copy(numbers, &stat);
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  *call = "openat";
  const int target = openat(to_fd, to_name, flags, wanted.mode & 0777);
  if (target < 0) {
    const int failure = errno;
    close(source);
    errno = failure;
    return failure == EEXIST ? IS_IN_THE_WAY : -1;
  }
  const bool is_copied = copy_content(source, target, (size_t)stat.st_size, call) &&
                         set_attributes(target, &wanted, call);
  const int failure = errno;
  close(source);
  if (close(target) != 0 && is_copied) {
    *call = "close";
    return -1;
  }
  errno = failure;
  return is_copied ? IS_DONE : -1;
}

ssize_t read_plain(int dir_fd, const char *name, void *data, size_t size) {
  struct stat stat;
  const int fd = open_plain(dir_fd, name, &stat, (off_t)size);
  if (fd < 0) return -1;
  const ssize_t length = read_all(fd, data, size);
  close(fd);
  return length;
}

static napi_value call_copy_file(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct place from, to;
  const double *numbers;
  if (!read_place(env, &args, 0, &from) || !read_place(env, &args, 1, &to) ||
      !read_numbers(&args, 2, NUMBERS, &numbers)) {
    return NULL;
  }
  const char *call = NULL;
  const int status =
      copy_plain(from.dir_fd, from.name.text, to.dir_fd, to.name.text, numbers, &call);
  return status < 0 ? throw_errno(env, call, to.name.text) : number(env, status);
}

const struct binding copy_file_bindings[] = {
    {"copyFile", call_copy_file},
    {NULL, NULL},
};
