/* Extended attributes, by path without following a final link, and by open file. */
#define _GNU_SOURCE
#include "syscalls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* The file that a call is about: a path, or an open file. */
struct target {
  bool by_path;
  struct name path;
  int fd;
};

static bool read_target(const struct arguments *args, bool by_path, struct target *target) {
  target->by_path = by_path;
  return by_path ? read_name(args, 0, &target->path) : read_int(args, 0, &target->fd);
}

static const char *path_of(const struct target *target) {
  return target->by_path ? target->path.text : NULL;
}

static ssize_t get_value(const struct target *target, const char *name, void *value, size_t size) {
  if (target->by_path) return lgetxattr(target->path.text, name, value, size);
  return fgetxattr(target->fd, name, value, size);
}

static ssize_t list_names(const struct target *target, char *names, size_t size) {
  if (target->by_path) return llistxattr(target->path.text, names, size);
  return flistxattr(target->fd, names, size);
}

/* Values and lists are at most 64 KiB (XATTR_SIZE_MAX, XATTR_LIST_MAX); most are tiny. */
#define SMALL 256
#define LARGEST 65536

static napi_value get_xattr(napi_env env, napi_callback_info info, bool by_path) {
  struct arguments args = arguments_of(env, info);
  struct target target;
  struct name name;
  char small[SMALL];
  if (!read_target(&args, by_path, &target) || !read_name(&args, 1, &name)) return NULL;
  ssize_t size = get_value(&target, name.text, small, sizeof small);
  if (size >= 0) return buffer(env, small, (size_t)size);
  if (errno != ERANGE) return throw_errno(env, "getxattr", path_of(&target));
  char *large = malloc(LARGEST);
  if (large == NULL) return throw_errno(env, "getxattr", path_of(&target));
  size = get_value(&target, name.text, large, LARGEST);
  napi_value result = size < 0 ? throw_errno(env, "getxattr", path_of(&target))
                               : buffer(env, large, (size_t)size);
  free(large);
  return result;
}

/* Splits the kernel's NUL-separated list. */
static napi_value name_list(napi_env env, const char *names, size_t size) {
  napi_value list;
  napi_create_array(env, &list);
  uint32_t count = 0;
  for (const char *name = names; name < names + size; name += strlen(name) + 1) {
    napi_set_element(env, list, count++, buffer(env, name, strlen(name)));
  }
  return list;
}

static napi_value list_xattrs(napi_env env, napi_callback_info info, bool by_path) {
  struct arguments args = arguments_of(env, info);
  struct target target;
  char small[SMALL];
  if (!read_target(&args, by_path, &target)) return NULL;
  ssize_t size = list_names(&target, small, sizeof small);
  if (size >= 0) return name_list(env, small, (size_t)size);
  if (errno != ERANGE) return throw_errno(env, "listxattr", path_of(&target));
  char *large = malloc(LARGEST);
  if (large == NULL) return throw_errno(env, "listxattr", path_of(&target));
  size = list_names(&target, large, LARGEST);
  napi_value result = size < 0 ? throw_errno(env, "listxattr", path_of(&target))
                               : name_list(env, large, (size_t)size);
  free(large);
  return result;
}

static napi_value set_xattr(napi_env env, napi_callback_info info, bool by_path) {
  struct arguments args = arguments_of(env, info);
  struct target target;
  struct name name;
  const void *value;
  size_t size;
  if (!read_target(&args, by_path, &target) || !read_name(&args, 1, &name) ||
      !read_bytes(&args, 2, &value, &size)) {
    return NULL;
  }
  int failed = by_path ? lsetxattr(target.path.text, name.text, value, size, 0)
                       : fsetxattr(target.fd, name.text, value, size, 0);
  return failed != 0 ? throw_errno(env, "setxattr", name.text) : undefined(env);
}

static napi_value remove_xattr(napi_env env, napi_callback_info info, bool by_path) {
  struct arguments args = arguments_of(env, info);
  struct target target;
  struct name name;
  if (!read_target(&args, by_path, &target) || !read_name(&args, 1, &name)) return NULL;
  int failed = by_path ? lremovexattr(target.path.text, name.text)
                       : fremovexattr(target.fd, name.text);
  return failed != 0 ? throw_errno(env, "removexattr", name.text) : undefined(env);
}

#define BY_PATH_AND_FD(operation)                                                  \
  static napi_value l##operation(napi_env env, napi_callback_info info) {          \
    return operation(env, info, true);                                             \
  }                                                                                \
  static napi_value f##operation(napi_env env, napi_callback_info info) {          \
    return operation(env, info, false);                                            \
  }

BY_PATH_AND_FD(get_xattr)
BY_PATH_AND_FD(set_xattr)
BY_PATH_AND_FD(list_xattrs)
BY_PATH_AND_FD(remove_xattr)

const struct binding xattr_bindings[] = {
    {"lgetxattr", lget_xattr},       {"fgetxattr", fget_xattr},
    {"lsetxattr", lset_xattr},       {"fsetxattr", fset_xattr},
    {"llistxattr", llist_xattrs},    {"flistxattr", flist_xattrs},
    {"lremovexattr", lremove_xattr}, {"fremovexattr", fremove_xattr},
    {NULL, NULL},
};
