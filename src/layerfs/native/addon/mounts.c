/* Mounts as file descriptors: fsopen, fsconfig, fsmount, open_tree, mount_setattr, move_mount. */
#define _GNU_SOURCE
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From <sys/mount.h>, which cannot be included beside <linux/mount.h>. */
extern int umount2(const char *target, int flags);

static napi_value call_fsopen(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct name type;
  if (!read_name(&args, 0, &type)) return NULL;
  long fd = syscall(SYS_fsopen, type.text, FSOPEN_CLOEXEC);
  return fd < 0 ? throw_errno(env, "fsopen", type.text) : number(env, fd);
}

/* The kernel explains a refused setting in words that are read from the context's descriptor. */
static napi_value throw_with_log(napi_env env, int context) {
  int saved = errno;
  char log[512];
  ssize_t size = read(context, log, sizeof log - 1);
  errno = saved;
  if (size <= 0) return throw_errno(env, "fsconfig", NULL);
  log[size] = '\0';
  log[strcspn(log, "\n")] = '\0';
  return throw_errno_detail(env, "fsconfig", log);
}

static napi_value call_fsconfig(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), setting;
  int context, command;
  struct name key, value;
  if (!read_int(&args, 0, &context) || !read_int(&args, 1, &command) ||
      !read_list(&args, 2, &setting)) {
    return NULL;
  }
  bool has_key = !is_absent(&setting, 0), has_value = !is_absent(&setting, 1);
  if ((has_key && !read_name(&setting, 0, &key)) || (has_value && !read_name(&setting, 1, &value))) {
    return NULL;
  }
  long result = syscall(SYS_fsconfig, context, command, has_key ? key.text : NULL,
                        has_value ? value.text : NULL, 0);
  return result != 0 ? throw_with_log(env, context) : undefined(env);
}

static napi_value call_fsmount(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int context, attributes;
  if (!read_int(&args, 0, &context) || !read_int(&args, 1, &attributes)) return NULL;
  long fd = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
  return fd < 0 ? throw_errno(env, "fsmount", NULL) : number(env, fd);
}

static napi_value call_open_tree(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd, flags;
  struct name path;
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path) || !read_int(&args, 2, &flags)) {
    return NULL;
  }
  long fd = syscall(SYS_open_tree, dir_fd, path.text, flags | OPEN_TREE_CLOEXEC);
  return fd < 0 ? throw_errno(env, "open_tree", path.text) : number(env, fd);
}

static napi_value call_mount_setattr(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int mount_fd, attributes;
  if (!read_int(&args, 0, &mount_fd) || !read_int(&args, 1, &attributes)) return NULL;
  struct mount_attr wanted = {.attr_set = (unsigned)attributes};
  long result =
      syscall(SYS_mount_setattr, mount_fd, "", AT_EMPTY_PATH, &wanted, sizeof wanted);
  return result != 0 ? throw_errno(env, "mount_setattr", NULL) : undefined(env);
}

static napi_value call_move_mount(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int mount_fd, dir_fd;
  struct name path;
  if (!read_int(&args, 0, &mount_fd) || !read_int(&args, 1, &dir_fd) ||
      !read_name(&args, 2, &path)) {
    return NULL;
  }
  unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (path.text[0] == '\0' ? MOVE_MOUNT_T_EMPTY_PATH : 0);
  if (syscall(SYS_move_mount, mount_fd, "", dir_fd, path.text, flags) != 0) {
    return throw_errno(env, "move_mount", path.text);
  }
  return undefined(env);
}

static napi_value call_umount2(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int flags;
  struct name path;
  if (!read_name(&args, 0, &path) || !read_int(&args, 1, &flags)) return NULL;
  return umount2(path.text, flags) != 0 ? throw_errno(env, "umount2", path.text) : undefined(env);
}

const struct binding mount_bindings[] = {
    {"fsopen", call_fsopen},        {"fsconfig", call_fsconfig},    {"fsmount", call_fsmount},
    {"openTree", call_open_tree},   {"moveMount", call_move_mount}, {"umount2", call_umount2},
    {"mountSetattr", call_mount_setattr},
    {NULL, NULL},
};
