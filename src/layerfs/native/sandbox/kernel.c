/*
 * /proc, /sys and /sys/fs/cgroup, and what is hidden in them.
 *
 * They are made in the parking, before there is a root, and moved to real directories of that only
 * (3). What is masked or set inside is looked up from the descriptors of the mounts made here, never
 * through the root: whatever an image or a user has there, a mask and a sysctl meet the kernel's own
 * files.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int proc_fd = -1, sys_fd = -1;

static const uint64_t inert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
static const char *const no_options[][2] = {{NULL, NULL}};

static void attach_fixed(int mount, const char *path) {
  if (mount < 0) return;
  int target = open_fixed(path);
  attach(mount, target, path);
  close(target);
}

void attach_kernel_filesystems(void) {
  attach_fixed(proc_fd, "/proc");
  attach_fixed(sys_fd, "/sys");
}

void step_proc(const struct word *words) {
  (void)words;
  proc_fd = new_filesystem("proc", no_options, inert);
  park(proc_fd);
}

void step_sys(const struct word *words) {
  (void)words;
  if (!sandbox.borrow_sys) {
    sys_fd = new_filesystem("sysfs", no_options, inert | MOUNT_ATTR_RDONLY);
  } else {
    /* Root of a user namespace may mount a sysfs only for a network namespace of its own. */
    sys_fd = clone_mount(AT_FDCWD, "/sys", true);
    set_attributes(sys_fd, inert | MOUNT_ATTR_RDONLY, true, "/sys");
  }
  park(sys_fd);
}

void step_cgroup2(const struct word *words) {
  (void)words;
  int mount = new_filesystem("cgroup2", no_options, inert | MOUNT_ATTR_RDONLY);
  int target = open_inside(sys_fd, "fs/cgroup", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (target < 0) fail("mount", errno, "/sys/fs/cgroup");
  attach(mount, target, "/sys/fs/cgroup");
  close(target);
  close(mount);
}

/* A bundle hides whatever it likes; below /proc and /sys, which stand on real directories, no image
 * can have put a link in the way. */
static int open_any_path(const char *path) {
  const int fd = open_inside(root_fd, path, O_PATH, RESOLVE_NO_MAGICLINKS);
  if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != EACCES) fail("hide a path", errno, path);
  return fd;
}

/* What `path` names in the kernel's file systems, or -1 when this kernel has no such thing. */
static int open_kernel_path(const char *path) {
  if (sandbox.bundle) return open_any_path(path);
  const bool in_proc = strncmp(path, "/proc/", 6) == 0;
  if (!in_proc && strncmp(path, "/sys/", 5) != 0) fail("hide a path", EINVAL, path);
  const int base = in_proc ? proc_fd : sys_fd;
  if (base < 0) return -1;
  int fd = open_inside(base, path + (in_proc ? 6 : 5), O_PATH | O_NOFOLLOW,
                       RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  if (fd < 0 && errno != ENOENT && errno != EACCES) fail("hide a path", errno, path);
  return fd;
}

/* An empty directory that nothing can be put into. The first one is made, and where it stands the
 * others are cloned from. */
static int empty_directory(void) {
  static int first = -1;
  const char *const options[][2] = {{"nr_inodes", "1"}, {"nr_blocks", "1"}, {NULL, NULL}};
  if (first >= 0) return clone_mount(first, "", false);
  first = new_filesystem("tmpfs", options, inert | MOUNT_ATTR_RDONLY);
  return dup(first);
}

/* The host's, before its root is left; where the first one stands the others are cloned from. */
static int null_device(void) {
  static int first = -1;
  if (!sandbox.bundle) return clone_mount(dev_fd, "null", false);
  if (first >= 0) return clone_mount(first, "", false);
  const int null = open_inside(dev_fd, "null", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  struct stat status;
  if (null < 0 || fstat(null, &status) != 0) fail("hide a path", errno, "/dev/null");
  /* CVE-2025-31133 */
  if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) fail("hide a path", ENODEV, "/dev/null");
  first = clone_mount(null, "", false);
  close(null);
  return dup(first);
}

static void mask(const char *path) {
  int target = open_kernel_path(path);
  if (target < 0) return;
  struct stat status;
  if (fstat(target, &status) != 0) fail("hide a path", errno, path);
  int cover = S_ISDIR(status.st_mode) ? empty_directory() : null_device();
  if (cover < 0) fail("hide a path", errno, path);
  attach(cover, target, path);
  keep_uncovered(cover);
  close(cover);
  close(target);
}

static bool is_kernels(const char *path) {
  return strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
}

static void make_read_only(const char *path) {
  int target = open_kernel_path(path);
  if (target < 0) return;
  int cover = clone_mount(target, "", true);
  set_attributes(cover, (is_kernels(path) ? inert : 0) | MOUNT_ATTR_RDONLY, true, path);
  attach(cover, target, path);
  close(cover);
  close(target);
}

void hide_paths(void) {
  for (size_t i = 0; i < sandbox.masked.count; i++) mask(sandbox.masked.at[i]);
  for (size_t i = 0; i < sandbox.read_only_paths.count; i++) {
    make_read_only(sandbox.read_only_paths.at[i]);
  }
}

void mount_own_proc(void) {
  proc_fd = new_filesystem("proc", no_options, inert);
  if (sys_move_mount(proc_fd, AT_FDCWD, "/proc", 0) != 0) fail("mount", errno, "/proc");
}

void write_sysctls(void) {
  /* CVE-2025-52881: a bundle's own /proc may be anything by now. */
  if (sandbox.bundle && sandbox.sysctls.count > 0) proc_fd = new_filesystem("proc", no_options, inert);
  for (size_t i = 0; i + 1 < sandbox.sysctls.count; i += 2) {
    const char *path = sandbox.sysctls.at[i], *value = sandbox.sysctls.at[i + 1];
    int fd = open_inside(proc_fd, path, O_WRONLY, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd < 0 || write(fd, value, strlen(value)) < 0) fail("set a sysctl", errno, path);
    close(fd);
  }
}
