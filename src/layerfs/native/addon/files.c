/* Names and directories: open, make, link, remove, rename, list. */
#define _GNU_SOURCE
#include "syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* openat2 answers EAGAIN when a rename raced with a walk that must stay inside; it then has to be
 * asked again. An attacker who renames forever gets an error, not a hang. */
#define OPEN_ATTEMPTS 128

static napi_value call_openat2(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), how_args;
  int dir_fd;
  struct name path;
  int64_t flags, mode, resolve;
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path) ||
      !read_list(&args, 2, &how_args) || !read_int64(&how_args, 0, &flags) ||
      !read_int64(&how_args, 1, &mode) || !read_int64(&how_args, 2, &resolve)) {
    return NULL;
  }
  struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC, .resolve = (uint64_t)resolve};
  if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) how.mode = (uint64_t)mode;
  long fd = -1;
  for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
    fd = syscall(SYS_openat2, dir_fd, path.text, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return fd < 0 ? throw_errno(env, "openat2", path.text) : number(env, fd);
}

static napi_value call_mkdirat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd, mode;
  struct name path;
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path) || !read_int(&args, 2, &mode)) {
    return NULL;
  }
  if (mkdirat(dir_fd, path.text, (mode_t)mode) != 0) return throw_errno(env, "mkdirat", path.text);
  return undefined(env);
}

static napi_value call_mknodat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), node;
  int dir_fd, mode, device_major, device_minor;
  struct name path;
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path) || !read_list(&args, 2, &node) ||
      !read_int(&node, 0, &mode) || !read_int(&node, 1, &device_major) ||
      !read_int(&node, 2, &device_minor)) {
    return NULL;
  }
  /* The kernel takes 32 bits; none is cut off in silence, for that would be another device. */
  const dev_t device = makedev((unsigned)device_major, (unsigned)device_minor);
  if (device > UINT32_MAX) errno = EINVAL;
  if (device > UINT32_MAX || mknodat(dir_fd, path.text, (mode_t)mode, device) != 0) {
    return throw_errno(env, "mknodat", path.text);
  }
  return undefined(env);
}

static napi_value call_symlinkat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd;
  struct name target, path;
  if (!read_name(&args, 0, &target) || !read_int(&args, 1, &dir_fd) ||
      !read_name(&args, 2, &path)) {
    return NULL;
  }
  if (symlinkat(target.text, dir_fd, path.text) != 0) {
    return throw_errno(env, "symlinkat", path.text);
  }
  return undefined(env);
}

/* Reads `[dirFd, path], [dirFd, path], flags`. */
static bool read_pair(napi_env env, napi_callback_info info, int fds[2], struct name paths[2],
                      int *flags) {
  struct arguments args = arguments_of(env, info), from, to;
  return read_list(&args, 0, &from) && read_list(&args, 1, &to) && read_int(&from, 0, &fds[0]) &&
         read_name(&from, 1, &paths[0]) && read_int(&to, 0, &fds[1]) &&
         read_name(&to, 1, &paths[1]) && read_int(&args, 2, flags);
}

static napi_value call_linkat(napi_env env, napi_callback_info info) {
  int fds[2], flags;
  struct name paths[2];
  if (!read_pair(env, info, fds, paths, &flags)) return NULL;
  if (linkat(fds[0], paths[0].text, fds[1], paths[1].text, flags) != 0) {
    return throw_errno(env, "linkat", paths[1].text);
  }
  return undefined(env);
}

static napi_value call_renameat2(napi_env env, napi_callback_info info) {
  int fds[2], flags;
  struct name paths[2];
  if (!read_pair(env, info, fds, paths, &flags)) return NULL;
  if (syscall(SYS_renameat2, fds[0], paths[0].text, fds[1], paths[1].text, flags) != 0) {
    return throw_errno(env, "renameat2", paths[1].text);
  }
  return undefined(env);
}

static napi_value call_unlinkat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd, flags;
  struct name path;
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path) || !read_int(&args, 2, &flags)) {
    return NULL;
  }
  if (unlinkat(dir_fd, path.text, flags) != 0) return throw_errno(env, "unlinkat", path.text);
  return undefined(env);
}

static napi_value call_readlinkat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd;
  struct name path;
  char target[PATH_MAX + 1];
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path)) return NULL;
  ssize_t size = readlinkat(dir_fd, path.text, target, sizeof target);
  return size < 0 ? throw_errno(env, "readlinkat", path.text) : buffer(env, target, (size_t)size);
}

static napi_value directory_entry(napi_env env, const struct dirent *entry) {
  napi_value object;
  napi_create_object(env, &object);
  napi_set_named_property(env, object, "name", buffer(env, entry->d_name, strlen(entry->d_name)));
  napi_set_named_property(env, object, "type", number(env, entry->d_type));
  return object;
}

static napi_value call_readdir(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int fd;
  if (!read_int(&args, 0, &fd)) return NULL;
  /* A descriptor of its own position, so that `fd` stays open and usable, also when O_PATH. */
  int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = own < 0 ? NULL : fdopendir(own);
  if (directory == NULL) {
    if (own >= 0) close(own);
    return throw_errno(env, "readdir", NULL);
  }
  napi_value list;
  napi_create_array(env, &list);
  uint32_t count = 0;
  errno = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL; errno = 0) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    /* One scope per entry: a directory of a million names must not hold a million handles. */
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_set_element(env, list, count++, directory_entry(env, entry));
    napi_close_handle_scope(env, scope);
  }
  int failure = errno;
  closedir(directory);
  errno = failure;
  return failure != 0 ? throw_errno(env, "readdir", NULL) : list;
}

static napi_value call_flock(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int fd, operation;
  if (!read_int(&args, 0, &fd) || !read_int(&args, 1, &operation)) return NULL;
  return flock(fd, operation) != 0 ? throw_errno(env, "flock", NULL) : undefined(env);
}

static napi_value call_syncfs(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int fd;
  if (!read_int(&args, 0, &fd)) return NULL;
  return syncfs(fd) != 0 ? throw_errno(env, "syncfs", NULL) : undefined(env);
}

static napi_value call_lseek(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int fd, whence;
  int64_t offset;
  if (!read_int(&args, 0, &fd) || !read_int64(&args, 1, &offset) || !read_int(&args, 2, &whence)) {
    return NULL;
  }
  off_t found = lseek(fd, offset, whence);
  return found < 0 ? throw_errno(env, "lseek", NULL) : number(env, found);
}

static napi_value call_copy_file_range(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), from, to;
  int fds[2];
  int64_t offsets[2], length;
  if (!read_list(&args, 0, &from) || !read_list(&args, 1, &to) || !read_int(&from, 0, &fds[0]) ||
      !read_int64(&from, 1, &offsets[0]) || !read_int(&to, 0, &fds[1]) ||
      !read_int64(&to, 1, &offsets[1]) || !read_int64(&args, 2, &length)) {
    return NULL;
  }
  off_t source = offsets[0], target = offsets[1];
  ssize_t copied = copy_file_range(fds[0], &source, fds[1], &target, (size_t)length, 0);
  return copied < 0 ? throw_errno(env, "copy_file_range", NULL) : number(env, copied);
}

const struct binding file_bindings[] = {
    {"openat2", call_openat2},       {"mkdirat", call_mkdirat},
    {"mknodat", call_mknodat},       {"symlinkat", call_symlinkat},
    {"linkat", call_linkat},         {"renameat2", call_renameat2},
    {"unlinkat", call_unlinkat},     {"readlinkat", call_readlinkat},
    {"readdir", call_readdir},       {"flock", call_flock},
    {"syncfs", call_syncfs},         {"lseek", call_lseek},
    {"copyFileRange", call_copy_file_range}, {NULL, NULL},
};
