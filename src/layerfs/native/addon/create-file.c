/*
 * A small file at once: the one function here that is more than one system call. Six ways from
 * JavaScript into C and back cost more than the six calls of such a file (measured).
 */
#define _GNU_SOURCE
#include "new-file.h"

/* As `FileNumbers` of syscalls.ts has them. */
enum { DIR_FD, MODE, NUMBERS = 6 };

static napi_value call_create_file(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct name path;
  const void *content;
  size_t size;
  const double *numbers;
  if (!read_name(&args, 0, &path) || !read_bytes(&args, 1, &content, &size) ||
      !read_numbers(&args, 2, NUMBERS, &numbers)) {
    return NULL;
  }
  const struct attributes wanted = attributes_in(numbers + MODE);
  const struct new_file file = {(int)numbers[DIR_FD], path.text, content, size, &wanted};
  const char *syscall = NULL;
  return make_file(&file, &syscall) == DONE ? undefined(env) : throw_errno(env, syscall, path.text);
}

const struct binding create_file_bindings[] = {
    {"createFile", call_create_file},
    {NULL, NULL},
};
