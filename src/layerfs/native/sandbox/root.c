/*
 * The root file system: made and entered.
 *
 * The root is attached over "/" of the container's mount namespace, so no directory of the host is
 * needed to mount it on, and pivot_root() makes it the real one. It is known by descriptor
 * (root_fd) from the start; everything is mounted through that.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/limits.h>

/* With the kernel's own words, where it has any, instead of `detail`. */
static _Noreturn void fail_configured(int context, int error, const char *detail) {
  char message[512];
  ssize_t size = read(context, message, sizeof message - 1);
  /* "e " and the text of an error, on a line of its own. */
  if (size <= 3 || message[0] != 'e') fail("mount the root", error, detail);
  message[message[size - 1] == '\n' ? size - 1 : size] = '\0';
  fail("mount the root", error, message + 2);
}

static int configured(int context, const char *key, const char *value) {
  return sys_fsconfig(context, value == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, value);
}

static void configure(int context, const char *key, const char *value) {
  if (configured(context, key, value) == 0) return;
  fail_configured(context, errno, value == NULL ? key : value);
}

/* Of the upper directories alone the kernel takes a backslash for the start of an escape. */
static void configure_directory(int context, const char *key, const char *path) {
  char escaped[2 * PATH_MAX];
  size_t length = 0;
  for (const char *at = path; *at != 0; at++) {
    if (length + 3 > sizeof escaped) fail("mount the root", ENAMETOOLONG, path);
    if (*at == '\\') escaped[length++] = '\\';
    escaped[length++] = *at;
  }
  escaped[length] = 0;
  configure(context, key, escaped);
}

/* Whatever the kernel was built to do otherwise: without an index, which pins the layers (EBUSY when
 * two containers share them), and with nothing in the upper directory that refers to a layer below
 * (metacopy, redirects): its files and directories are to be read by themselves. */
static const char *const overlay_options[][2] = {
    {"index", "off"}, {"metacopy", "off"}, {"redirect_dir", "nofollow"}};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Kernels before 6.5 know only one list of layers, limited to a page. Descriptors' numbers, looked
 * up from /proc/self/fd, keep 500 of them far below that and need no escaping. */
static int mount_overlay_classic(void) {
  char data[4096], number_of[16];
  size_t used = (size_t)snprintf(data, sizeof data, "index=off%s%s,lowerdir=",
                                 sandbox.overlay_user ? ",userxattr" : ",metacopy=off,redirect_dir=nofollow",
                                 sandbox.overlay_volatile && sandbox.upper != NULL ? ",volatile" : "");
  for (size_t i = 0; i < sandbox.lower.count; i++) {
    int fd = open(sandbox.lower.at[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fail("open a layer", errno, sandbox.lower.at[i]);
    int length = snprintf(number_of, sizeof number_of, "%s%d", i == 0 ? "" : ":", fd);
    if (used + (size_t)length >= sizeof data) fail("mount the root", E2BIG, "too many layers");
    memcpy(data + used, number_of, (size_t)length + 1);
    used += (size_t)length;
  }
  if (sandbox.upper != NULL) {
    int upper = open(sandbox.upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int work = open(sandbox.work, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0 || work < 0) fail("open a layer", errno, sandbox.upper);
    int length = snprintf(data + used, sizeof data - used, ",upperdir=%d,workdir=%d", upper, work);
    if (used + (size_t)length >= sizeof data) fail("mount the root", E2BIG, "too many layers");
  }
  if (chdir("/proc/self/fd") != 0) fail("mount the root", errno, "/proc/self/fd");
  if (sys_mount("overlay", "/", "overlay", 0, data) != 0) fail("mount the root", errno, "overlay");
  /* ".." of the root directory is what is mounted over it. */
  int mount = open("/..", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (mount < 0) fail("mount the root", errno, "overlay");
  return mount;
}

int mount_overlay(const struct texts *lower, const char *upper, const char *work) {
  int context = sys_fsopen("overlay");
  if (context < 0) fail("mount the root", errno, "overlay");
  configure(context, "source", "overlay");
  for (size_t i = 0; i < lower->count; i++) {
    const int added = configured(context, "lowerdir+", lower->at[i]);
    if (added != 0 && errno == EINVAL && i == 0) return close(context), -1;
    if (added != 0) fail_configured(context, errno, lower->at[i]);
  }
  if (upper != NULL) {
    configure_directory(context, "upperdir", upper);
    configure_directory(context, "workdir", work);
  }
  /* In a user namespace layers are marked by attributes that its root may set, which switches off
   * by itself all but the index. */
  if (sandbox.overlay_user) configure(context, "userxattr", NULL);
  const size_t options = sandbox.overlay_user ? 1 : COUNT(overlay_options);
  for (size_t i = 0; i < options; i++) {
    configure(context, overlay_options[i][0], overlay_options[i][1]);
  }
  if (sandbox.overlay_volatile && upper != NULL) configure(context, "volatile", NULL);
  if (sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) != 0) {
    fail_configured(context, errno, "overlay");
  }
  int mount = sys_fsmount(context, 0);
  if (mount < 0) fail("mount the root", errno, "overlay");
  close(context);
  return mount;
}

static void mount_root(void) {
  if (sandbox.directory != NULL) {
    /* A user namespace uncovers no directory that the host has mounted something on. */
    root_fd = clone_mount(AT_FDCWD, sandbox.directory, sandbox.bundle);
  } else {
    if (!sandbox.overlay_classic) root_fd = mount_overlay(&sandbox.lower, sandbox.upper, sandbox.work);
    if (root_fd < 0) {
      if (sandbox.runtime != NULL) fail("mount the root", ENOSYS, "overlay");
      root_fd = mount_overlay_classic();
      return;
    }
  }
  char place[PATH_MAX] = "/";
  if (sandbox.runtime != NULL) snprintf(place, sizeof place, "%s/rootfs", sandbox.runtime[1].text);
  if (sys_move_mount(root_fd, AT_FDCWD, place, 0) != 0) fail("mount the root", errno, place);
}

void make_root(void) {
  mount_root();
  if (sandbox.bind_devices) set_attributes(root_fd, MOUNT_ATTR_NODEV, false, "/");
}

void enter_root(void) {
  const int covers = put_parking_aside() ? 1 : 2;
  if (fchdir(root_fd) != 0) fail("enter the root", errno, "/");
  if (sys_pivot_root(".", ".") != 0) fail("enter the root", errno, "/");
  /* The old root now lies over the new one, perhaps the parking on top of it: "." is the way to both. */
  for (int cover = 0; cover < covers; cover++) {
    if (sys_umount(".", MNT_DETACH) != 0) fail("leave the host's root", errno, "/");
  }
  if (chdir("/") != 0) fail("enter the root", errno, "/");
}

void seal_root(void) {
  if (sandbox.read_only) set_attributes(root_fd, MOUNT_ATTR_RDONLY, false, "/");
}
