/* Owners, modes, times, stat. */
#define _GNU_SOURCE
#include "syscalls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Reads `dirFd, path` and says which flags make an empty path mean the open file itself. */
static bool read_place(const struct arguments *args, int *dir_fd, struct name *path, int *flags) {
  if (!read_int(args, 0, dir_fd) || !read_name(args, 1, path)) return false;
  *flags = AT_SYMLINK_NOFOLLOW | (path->text[0] == '\0' ? AT_EMPTY_PATH : 0);
  return true;
}

static napi_value call_fchownat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), owner;
  int dir_fd, flags, uid, gid;
  struct name path;
  if (!read_place(&args, &dir_fd, &path, &flags) || !read_list(&args, 2, &owner) ||
      !read_int(&owner, 0, &uid) || !read_int(&owner, 1, &gid)) {
    return NULL;
  }
  if (fchownat(dir_fd, path.text, (uid_t)uid, (gid_t)gid, flags) != 0) {
    return throw_errno(env, "fchownat", path.text);
  }
  return undefined(env);
}

static napi_value call_fchmodat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd, mode;
  struct name path;
  if (!read_int(&args, 0, &dir_fd) || !read_name(&args, 1, &path) || !read_int(&args, 2, &mode)) {
    return NULL;
  }
  if (fchmodat(dir_fd, path.text, (mode_t)mode, 0) != 0) {
    return throw_errno(env, "fchmodat", path.text);
  }
  return undefined(env);
}

static napi_value call_fchmod(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int fd, mode;
  if (!read_int(&args, 0, &fd) || !read_int(&args, 1, &mode)) return NULL;
  return fchmod(fd, (mode_t)mode) != 0 ? throw_errno(env, "fchmod", NULL) : undefined(env);
}

static bool read_timestamp(const struct arguments *args, size_t index, struct timespec *time) {
  napi_value seconds, nanoseconds;
  int64_t whole, fraction;
  if (napi_get_named_property(args->env, args->values[index], "seconds", &seconds) != napi_ok ||
      napi_get_named_property(args->env, args->values[index], "nanoseconds", &nanoseconds) !=
          napi_ok ||
      napi_get_value_int64(args->env, seconds, &whole) != napi_ok ||
      napi_get_value_int64(args->env, nanoseconds, &fraction) != napi_ok) {
    napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected a Timestamp");
    return false;
  }
  *time = (struct timespec){.tv_sec = whole, .tv_nsec = fraction};
  return true;
}

static napi_value call_utimensat(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd, flags;
  struct name path;
  struct timespec times[2];
  if (!read_place(&args, &dir_fd, &path, &flags) || !read_timestamp(&args, 2, &times[0])) {
    return NULL;
  }
  times[1] = times[0];
  /* glibc's wrapper refuses an empty path with a flag it does not know; the kernel takes it. */
  if (syscall(SYS_utimensat, dir_fd, path.text, times, flags) != 0) {
    return throw_errno(env, "utimensat", path.text);
  }
  return undefined(env);
}

static void set(napi_env env, napi_value object, const char *key, int64_t value) {
  napi_set_named_property(env, object, key, number(env, value));
}

static void set_time(napi_env env, napi_value object, const char *key,
                     const struct statx_timestamp *time) {
  napi_value timestamp;
  napi_create_object(env, &timestamp);
  set(env, timestamp, "seconds", time->tv_sec);
  set(env, timestamp, "nanoseconds", time->tv_nsec);
  napi_set_named_property(env, object, key, timestamp);
}

static napi_value file_stat(napi_env env, const struct statx *stat) {
  napi_value object, ino;
  napi_create_object(env, &object);
  set(env, object, "mode", stat->stx_mode);
  set(env, object, "uid", stat->stx_uid);
  set(env, object, "gid", stat->stx_gid);
  set(env, object, "size", (int64_t)stat->stx_size);
  set(env, object, "links", stat->stx_nlink);
  napi_create_bigint_uint64(env, stat->stx_ino, &ino);
  napi_set_named_property(env, object, "ino", ino);
  set(env, object, "devMajor", stat->stx_dev_major);
  set(env, object, "devMinor", stat->stx_dev_minor);
  set(env, object, "rdevMajor", stat->stx_rdev_major);
  set(env, object, "rdevMinor", stat->stx_rdev_minor);
  set_time(env, object, "mtime", &stat->stx_mtime);
  set_time(env, object, "ctime", &stat->stx_ctime);
  set(env, object, "blocks", (int64_t)stat->stx_blocks);
  return object;
}

static napi_value call_statx(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd, flags;
  struct name path;
  struct statx result;
  if (!read_place(&args, &dir_fd, &path, &flags)) return NULL;
  if (statx(dir_fd, path.text, flags, STATX_BASIC_STATS, &result) != 0) {
    return throw_errno(env, "statx", path.text);
  }
  return file_stat(env, &result);
}

/*
 * hasVersion(path, version): whether the path names, not by a link, a file of this inode and time of
 * change: two 64-bit numbers, the time in nanoseconds. Asked of every manifest that is pulled: an
 * object of all that stat tells costs several times the call.
 */
static napi_value call_has_version(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct name path;
  const void *version;
  size_t size;
  struct stat stat;
  if (!read_name(&args, 0, &path) || !read_bytes(&args, 1, &version, &size)) return NULL;
  bool is_same = false;
  if (lstat(path.text, &stat) == 0) {
    const uint64_t changed_ns =
        (uint64_t)stat.st_ctim.tv_sec * 1000000000u + (uint64_t)stat.st_ctim.tv_nsec;
    const uint64_t found[] = {stat.st_ino, changed_ns};
    is_same = size == sizeof found && memcmp(found, version, size) == 0;
  }
  napi_value result;
  napi_get_boolean(env, is_same, &result);
  return result;
}

const struct binding metadata_bindings[] = {
    {"fchownat", call_fchownat},   {"fchmodat", call_fchmodat}, {"fchmod", call_fchmod},
    {"utimensat", call_utimensat}, {"statx", call_statx},       {"hasVersion", call_has_version},
    {NULL, NULL},
};
