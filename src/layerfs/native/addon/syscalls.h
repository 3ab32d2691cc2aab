/*
 * Shared by the parts of the addon: reading arguments, throwing Node's kind of error.
 *
 * Every system call is one function of shape `napi_value name(napi_env, napi_callback_info)`: read
 * the arguments, call, throw or return. A reader that fails has thrown already; its caller returns
 * NULL at once.
 */
#ifndef SYSCALLS_H
#define SYSCALLS_H

#include <limits.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ARGUMENTS 6

/* A file name or path as the kernel takes it: bytes up to the first NUL. */
struct name {
  char text[PATH_MAX + 1];
};

/* The arguments of the running call. */
struct arguments {
  napi_env env;
  size_t count;
  napi_value values[MAX_ARGUMENTS];
};

struct arguments arguments_of(napi_env env, napi_callback_info info);

bool read_int(const struct arguments *args, size_t index, int *result);
bool read_int64(const struct arguments *args, size_t index, int64_t *result);
bool read_name(const struct arguments *args, size_t index, struct name *result);
bool read_bytes(const struct arguments *args, size_t index, const void **data, size_t *size);

/* The members of an array argument, as arguments of their own: `[dirFd, path]`. */
bool read_list(const struct arguments *args, size_t index, struct arguments *members);

/* Whether an argument is null or undefined. */
bool is_absent(const struct arguments *args, size_t index);

/* Throws what errno says: `ENOENT: No such file or directory, openat2 'path'`. Returns NULL. */
napi_value throw_errno(napi_env env, const char *syscall, const char *path);

/* As throw_errno, with `detail` (the kernel's own words) at the end of the message. */
napi_value throw_errno_detail(napi_env env, const char *syscall, const char *detail);

napi_value number(napi_env env, int64_t value);
napi_value buffer(napi_env env, const void *data, size_t size);
napi_value undefined(napi_env env);

struct binding {
  const char *name;
  napi_callback function;
};

/* Tables that end with a NULL name, one per part. */
extern const struct binding file_bindings[];
extern const struct binding create_file_bindings[];
extern const struct binding read_ahead_bindings[];
extern const struct binding metadata_bindings[];
extern const struct binding xattr_bindings[];
extern const struct binding mount_bindings[];
extern const struct binding relay_bindings[];
extern const struct binding receive_bindings[];
extern const struct binding list_bindings[];
extern const struct binding compress_bindings[];
extern const struct binding copy_file_bindings[];
extern const struct binding socket_bindings[];
extern const struct binding hash_bindings[];
extern const struct binding copy_files_bindings[];
extern const struct binding pack_files_bindings[];
extern const struct binding file_lines_bindings[];
extern const struct binding place_files_bindings[];

#endif
