/*
 * /dev: a tmpfs filled through its descriptor before it is attached, so nothing of it is ever
 * looked up by a name that the image could have prepared (3).
 */
#include "sandbox.h"
#include "sandbox-calls.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int dev_fd = -1;

static const struct device {
  const char *name;
  unsigned major, minor;
} devices[] = {
    {"null", 1, 3}, {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct link {
  const char *name, *target;
} links[] = {
    {"ptmx", "pts/ptmx"},
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
    {"core", "/proc/kcore"},
};

/* Inside a user namespace devices cannot be made; the host's own is mounted on an empty file. */
static void borrow_device(const struct device *device) {
  char path[32];
  snprintf(path, sizeof path, "/dev/%s", device->name);
  int mount = clone_mount(AT_FDCWD, path, false);
  struct stat status;
  if (fstat(mount, &status) != 0) fail("make a device", errno, path);
  if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(device->major, device->minor)) {
    fail("make a device", ENODEV, path);
  }
  int target = openat(dev_fd, device->name, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0666);
  if (target < 0) fail("make a device", errno, path);
  attach(mount, target, path);
  close(target);
  close(mount);
}

static void fill(int place) {
  for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
    const struct device *device = &devices[i];
    if (mknodat(place, device->name, S_IFCHR | 0666, makedev(device->major, device->minor)) == 0) {
      continue;
    }
    if (errno != EPERM) fail("make a device", errno, device->name);
    borrow_device(device);
  }
  for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
    if (symlinkat(links[i].target, place, links[i].name) != 0) fail("make /dev", errno, links[i].name);
  }
}

static void mount_below(const char *type, const char *name, const char *const options[][2]) {
  if (mkdirat(dev_fd, name, 0755) != 0) fail("make /dev", errno, name);
  int target = openat(dev_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (target < 0) fail("make /dev", errno, name);
  uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  int mount = new_filesystem(type, options, type[0] == 'd' ? attributes : attributes | MOUNT_ATTR_NODEV);
  attach(mount, target, name);
  close(target);
  close(mount);
}

void step_dev(const struct word *words) {
  const char *const dev[][2] = {{"mode", "0755"}, {"size", "65536k"}, {NULL, NULL}};
  const char *const pts[][2] = {
      {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}, {NULL, NULL}};
  const char *const shm[][2] = {{"mode", "1777"}, {"size", words[0].text}, {NULL, NULL}};
  const char *const none[][2] = {{NULL, NULL}};
  dev_fd = new_filesystem("tmpfs", dev, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
  int target = open_inside(root_fd, "/dev", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (target < 0 && errno == ENOENT) target = open_target("/dev", KIND_DIRECTORY);
  if (target < 0) fail("mount", errno, "/dev");
  /* Attached before it is filled: kernels before 6.15 mount nothing inside a detached mount. Its
   * descriptor stays the only way anything here is reached. */
  attach(dev_fd, target, "/dev");
  close(target);
  fill(dev_fd);
  mount_below("devpts", "pts", pts);
  mount_below("tmpfs", "shm", shm);
  mount_below("mqueue", "mqueue", none);
}
