/* Devices in whatever /dev a bundle has, and the way to the terminals of a container that is joined. */
#include "bundle.h"
#include "calls.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

static bool is_there(int place, const char *name, const struct stat *like) {
  struct stat there;
  if (fstatat(place, name, &there, AT_SYMLINK_NOFOLLOW) != 0) return false;
  const bool same = (there.st_mode & S_IFMT) == (like->st_mode & S_IFMT) && there.st_rdev == like->st_rdev;
  if (!same) fail("make a device", EEXIST, name);
  return true;
}

void step_default_devices(const struct word *words) {
  (void)words;
  dev_fd = open_fixed("/dev");
  make_default_devices(dev_fd, is_there);
}

/* words: path, c|b|p, major, minor, mode, uid, gid */
void step_device_node(const struct word *words) {
  char *path = words[0].text, *slash = strrchr(path, '/');
  const mode_t kind = words[1].text[0] == 'b' ? S_IFBLK : words[1].text[0] == 'p' ? S_IFIFO : S_IFCHR;
  const struct stat like = {
      .st_mode = kind | (mode_t)number(words[4].text, 07777),
      .st_rdev = kind == S_IFIFO ? 0
                                 : makedev((unsigned)number(words[2].text, UINT32_MAX),
                                           (unsigned)number(words[3].text, UINT32_MAX)),
      .st_uid = (uid_t)number(words[5].text, UINT32_MAX - 1),
      .st_gid = (gid_t)number(words[6].text, UINT32_MAX - 1),
  };
  *slash = '\0';
  const int place = open_target(path, KIND_DIRECTORY);
  *slash = '/';
  if (!is_there(place, slash + 1, &like)) make_device(place, slash + 1, path, &like);
  close(place);
}

/* The container's processes may have put anything at the name (9). */
void open_joined_dev(void) {
  struct statfs status;
  dev_fd = open_inside(root_fd, "/dev", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (dev_fd < 0) fail("make a terminal", errno, "/dev");
  const int terminals = open_inside(dev_fd, "pts", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (terminals < 0 || fstatfs(terminals, &status) != 0) fail("make a terminal", errno, "/dev/pts");
  if (status.f_type != DEVPTS_SUPER_MAGIC) fail("make a terminal", ENODEV, "/dev/pts");
  close(terminals);
}
