/*
 * /dev: a tmpfs filled through its descriptor in the parking, before it comes into the root, so
 * nothing of it is ever looked up by a name that the image could have prepared (3).
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
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

/* Where a node made here would not work (in a user namespace, or on a mount without devices), the
 * host's own is mounted on an empty file. */
static void borrow_device(int place, const char *name, const char *source, dev_t number) {
  int mount = clone_mount(AT_FDCWD, source, false);
  struct stat status;
  if (fstat(mount, &status) != 0) fail("make a device", errno, source);
  if (status.st_rdev != number) fail("make a device", ENODEV, source);
  int target = openat(place, name, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0666);
  if (target < 0) fail("make a device", errno, name);
  attach(mount, target, source);
  close(target);
  close(mount);
}

void make_device(int place, const char *name, const char *source, const struct stat *like) {
  if (!sandbox.bind_devices) {
    if (mknodat(place, name, like->st_mode, like->st_rdev) == 0) {
      if (fchownat(place, name, like->st_uid, like->st_gid, AT_SYMLINK_NOFOLLOW) == 0) return;
      fail("make a device", errno, name);
    }
    if (errno != EPERM) fail("make a device", errno, name);
  }
  borrow_device(place, name, source, like->st_rdev);
}

static bool is_never_there(int place, const char *name, const struct stat *like) {
  (void)place, (void)name, (void)like;
  return false;
}

void make_default_devices(int place, bool (*is_there)(int, const char *, const struct stat *)) {
  for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
    const struct device *device = &devices[i];
    const struct stat like = {.st_mode = S_IFCHR | 0666,
                              .st_rdev = makedev(device->major, device->minor)};
    char source[32];
    snprintf(source, sizeof source, "/dev/%s", device->name);
    if (!is_there(place, device->name, &like)) make_device(place, device->name, source, &like);
  }
  for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
    if (symlinkat(links[i].target, place, links[i].name) == 0) continue;
    if (errno != EEXIST || is_there == is_never_there) fail("make /dev", errno, links[i].name);
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
  const char *const own[][2] = {
      {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {NULL, NULL}};
  const char *const shm[][2] = {{"mode", "1777"}, {"size", words[0].text}, {NULL, NULL}};
  const char *const none[][2] = {{NULL, NULL}};
  dev_fd = new_filesystem("tmpfs", dev,
                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME |
                              (sandbox.bind_devices ? MOUNT_ATTR_NODEV : 0));
  park(dev_fd);
  make_default_devices(dev_fd, is_never_there);
  mount_below("devpts", "pts", sandbox.own_terminals ? own : pts);
  mount_below("tmpfs", "shm", shm);
  mount_below("mqueue", "mqueue", none);
}

void attach_dev(void) {
  if (dev_fd < 0) return;
  int target = open_fixed("/dev");
  attach(dev_fd, target, "/dev");
  close(target);
}

/* The directory of /dev in which `name` ("snd/timer") is to be made; `name` becomes its last part. */
static int open_place(char **name) {
  int place = fcntl(dev_fd, F_DUPFD_CLOEXEC, 0);
  for (char *slash; place >= 0 && (slash = strchr(*name, '/')) != NULL; *name = slash + 1) {
    *slash = '\0';
    if (mkdirat(place, *name, 0755) != 0 && errno != EEXIST) fail("make a device", errno, *name);
    int inner = openat(place, *name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(place);
    place = inner;
  }
  if (place < 0) fail("make a device", errno, *name);
  return place;
}

void step_device(const struct word *words) {
  const char *source = words[0].text;
  char *name = words[1].text;
  struct stat like, there;
  if (stat(source, &like) != 0) fail("open a device", errno, source);
  if (!S_ISCHR(like.st_mode) && !S_ISBLK(like.st_mode)) fail("open a device", ENODEV, source);
  int place = open_place(&name);
  /* All of the host's devices include those that are there already. */
  if (fstatat(place, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_rdev == like.st_rdev) {
    close(place);
    return;
  }
  make_device(place, name, source, &like);
  close(place);
}
