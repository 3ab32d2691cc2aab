/*
 * A small file at once: the one function here that is more than one system call. Six ways from
 * JavaScript into C and back cost more than the six calls of such a file (measured).
 */
#define _GNU_SOURCE
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* As `FileNumbers` of syscalls.ts has them. */
enum { DIR_FD, MODE, UID, GID, SECONDS, NANOSECONDS, NUMBERS };

struct new_file {
  const double *numbers;
  const void *content;
  size_t size;
};

static bool read_numbers(const struct arguments *args, size_t index, const double **numbers) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *start = NULL;
  napi_get_typedarray_info(args->env, args->values[index], &type, &length, &start, NULL, NULL);
  *numbers = start;
  if (type == napi_float64_array && length == NUMBERS) return true;
  napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected six numbers");
  return false;
}

static bool write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data += written;
    size -= (size_t)written;
  }
  return true;
}

/* Each call names itself in `syscall` before it can fail. Owner and mode are mostly right from the
 * start; asking is cheaper than setting both. Owner first: setting it clears setuid. */
static bool fill(int fd, const struct new_file *file, const char **syscall) {
  const double *numbers = file->numbers;
  const uid_t uid = (uid_t)numbers[UID];
  const gid_t gid = (gid_t)numbers[GID];
  const mode_t mode = (mode_t)numbers[MODE];
  const struct timespec time = {(time_t)numbers[SECONDS], (long)numbers[NANOSECONDS]};
  const struct timespec times[2] = {time, time};
  struct stat now;
  *syscall = "write";
  if (!write_all(fd, file->content, file->size)) return false;
  *syscall = "fstat";
  if (fstat(fd, &now) != 0) return false;
  const bool is_owned = now.st_uid == uid && now.st_gid == gid;
  *syscall = "fchown";
  if (!is_owned && fchown(fd, uid, gid) != 0) return false;
  *syscall = "fchmod";
  if ((!is_owned || (now.st_mode & 07777) != mode) && fchmod(fd, mode) != 0) return false;
  *syscall = "futimens";
  return futimens(fd, times) == 0;
}

static napi_value call_create_file(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct name path;
  struct new_file file;
  if (!read_name(&args, 0, &path) || !read_bytes(&args, 1, &file.content, &file.size) ||
      !read_numbers(&args, 2, &file.numbers)) {
    return NULL;
  }
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const int fd = openat((int)file.numbers[DIR_FD], path.text, flags,
                        (mode_t)file.numbers[MODE] & 0777);
  if (fd < 0) return throw_errno(env, "openat", path.text);
  const char *syscall = NULL;
  const bool is_filled = fill(fd, &file, &syscall);
  const int failure = errno;
  if (close(fd) != 0 && is_filled) return throw_errno(env, "close", path.text);
  errno = failure;
  return is_filled ? undefined(env) : throw_errno(env, syscall, path.text);
}

const struct binding create_file_bindings[] = {
    {"createFile", call_create_file},
    {NULL, NULL},
};
