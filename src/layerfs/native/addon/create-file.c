/*
 * A small file at once: the one function here that is more than one system call. Six ways from
 * JavaScript into C and back cost more than the six calls of such a file (measured).
 */
#define _GNU_SOURCE
#include "new-file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* As `FileNumbers` of syscalls.ts has them. */
enum { DIR_FD, MODE, NUMBERS = 6 };

struct new_file {
  const double *numbers;
  const void *content;
  size_t size;
};

/* Each call names itself before it can fail. */
static bool fill(int fd, const struct new_file *file, const char **call) {
  const struct attributes wanted = attributes_in(file->numbers + MODE);
  *call = "write";
  return write_all(fd, file->content, file->size) && set_attributes(fd, &wanted, call);
}

static napi_value call_create_file(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct name path;
  struct new_file file;
  if (!read_name(&args, 0, &path) || !read_bytes(&args, 1, &file.content, &file.size) ||
      !read_numbers(&args, 2, NUMBERS, &file.numbers)) {
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
