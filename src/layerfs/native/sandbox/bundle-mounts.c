/*
 * Mounts as a bundle lists them: of any type, in its order, each attached to an open place inside
 * the root (2). Sources of binds are opened before the root is made, so that a bind that is to stay
 * tied to its source's mount (shared, slave) still is.
 */
#include "bundle.h"
#include "calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/magic.h>

/* ---- binds: source, target, set, clear, below set, below clear, propagation, how ---- */

static uint64_t attributes(const struct word *word) { return number(word->text, UINT32_MAX); }

static void change(int mount, unsigned recursive, const struct mount_attr *attr, const char *detail) {
  if (sys_mount_setattr(mount, recursive, attr) != 0) fail("mount", errno, detail);
}

int open_bind_source(const struct word *words) {
  const char *source = words[0].text;
  const unsigned recursive = strcmp(words[7].text, "recursive") == 0 ? AT_RECURSIVE : 0;
  const int mount = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | recursive);
  if (mount < 0) fail("open the source of a mount", errno, source);
  const struct mount_attr propagation = {.propagation = number(words[6].text, UINT32_MAX)};
  const struct mount_attr own = {.attr_set = attributes(&words[2]), .attr_clr = attributes(&words[3])};
  const struct mount_attr below = {.attr_set = attributes(&words[4]), .attr_clr = attributes(&words[5])};
  change(mount, recursive, &propagation, source);
  change(mount, 0, &own, source);
  if (below.attr_set != 0 || below.attr_clr != 0) change(mount, recursive, &below, source);
  return mount;
}

void set_bind_source(const struct word *words) { add_source(words, open_bind_source, BY_CHILD); }

/* Files of /proc that other programs (lxcfs) may show another version of. */
static bool may_be_covered(const char *target) {
  static const char *const files[] = {"/proc/cpuinfo",   "/proc/diskstats", "/proc/meminfo",
                                      "/proc/stat",      "/proc/swaps",     "/proc/uptime",
                                      "/proc/loadavg",   "/proc/slabinfo",  "/proc/sys/kernel/ns_last_pid",
                                      "/proc/sys/crypto/fips_enabled"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    if (strcmp(files[i], target) == 0) return true;
  }
  return false;
}

void step_bind_source(const struct word *words) {
  const char *target = words[1].text;
  const int mount = take_source(words);
  struct stat status;
  if (fstat(mount, &status) != 0) fail("mount", errno, target);
  const enum kind kind = S_ISDIR(status.st_mode) ? KIND_DIRECTORY : KIND_FILE;
  if (!may_be_covered(target)) {
    attach_at(mount, target, kind);
    return;
  }
  const int place = open_inside(root_fd, target, O_PATH, RESOLVE_NO_SYMLINKS);
  if (place < 0) fail("mount", errno, target);
  attach(mount, place, target);
  close(place);
  close(mount);
}

/* ---- new file systems: type, source, target, attributes, propagation, options ---- */

static void configure_all(int context, const char *options) {
  char *copy = strdup(options), *rest = NULL;
  if (copy == NULL) fail("mount", ENOMEM, options);
  for (char *option = strtok_r(copy, ",", &rest); option != NULL; option = strtok_r(NULL, ",", &rest)) {
    char *value = strchr(option, '=');
    if (value != NULL) *value++ = '\0';
    const unsigned command = value == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    if (sys_fsconfig(context, command, option, value) != 0) fail("mount with option", errno, option);
  }
  free(copy);
}

static int make(const struct word *words) {
  const char *type = words[0].text, *source = words[1].text, *target = words[2].text;
  const int context = sys_fsopen(type);
  if (context < 0) fail("mount a file system of type", errno, type);
  if (source[0] != '\0' && sys_fsconfig(context, FSCONFIG_SET_STRING, "source", source) != 0) {
    fail("mount", errno, source);
  }
  configure_all(context, words[5].text);
  if (sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) != 0) fail("mount", errno, target);
  const int mount = sys_fsmount(context, (unsigned)attributes(&words[3]));
  if (mount < 0) fail("mount", errno, target);
  close(context);
  return mount;
}

static void finish(int mount, const struct word *words) {
  const struct mount_attr attr = {.attr_set = attributes(&words[3]),
                                  .attr_clr = MOUNT_ATTR__ATIME,
                                  .propagation = number(words[4].text, UINT32_MAX)};
  change(mount, 0, &attr, words[2].text);
}

/* The kernel's own file systems stand on real directories only, where masks look for them (3). */
static bool is_fixed(const char *type, const char *target) {
  return (strcmp(type, "proc") == 0 && strcmp(target, "/proc") == 0) ||
         (strcmp(type, "sysfs") == 0 && strcmp(target, "/sys") == 0);
}

void step_mount(const struct word *words) {
  const char *target = words[2].text;
  const int mount = make(words);
  finish(mount, words);
  /* What the kernel shows below /sys is no place of the image's. */
  if (is_fixed(words[0].text, target) || strcmp(target, "/dev") == 0) {
    const int place = open_fixed(target);
    attach(mount, place, target);
    close(place);
    close(mount);
    return;
  }
  attach_at(mount, target, KIND_DIRECTORY);
}

void step_copied_tmpfs(const struct word *words) {
  const char *target = words[2].text;
  struct word writable[6];
  memcpy(writable, words, sizeof writable);
  writable[3].text = "0"; /* until it is filled */
  const int mount = make(writable);
  const int place = open_target(target, KIND_DIRECTORY);
  const int from = open_inside(root_fd, target, O_RDONLY | O_DIRECTORY, 0);
  if (from < 0) fail("mount", errno, target);
  copy_up(from, mount, target);
  close(from);
  finish(mount, words);
  close(place);
  attach_at(mount, target, KIND_DIRECTORY);
}

/* words: target, set, clear. What is mounted there already gets other attributes. */
void step_remount(const struct word *words) {
  const char *target = words[0].text;
  const struct mount_attr attr = {.attr_set = attributes(&words[1]), .attr_clr = attributes(&words[2])};
  const int place = open_inside(root_fd, target, O_PATH, 0);
  if (place < 0 || sys_mount_setattr(place, 0, &attr) != 0) fail("mount again", errno, target);
  close(place);
}

void set_root_propagation(void) {
  if (sandbox.root_propagation == NULL) return;
  const struct mount_attr attr = {.propagation = number(sandbox.root_propagation->text, UINT32_MAX)};
  change(root_fd, 0, &attr, "/");
}
