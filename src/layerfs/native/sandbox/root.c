/*
 * The root file system: made, entered, and the only place where paths are looked up.
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
#include <sys/stat.h>
#include <linux/limits.h>

int root_fd = -1;

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
  /* Nothing that is mounted here may reach the host, and a bind's source must not drag its peers
   * along; what the host unmounts still goes away here until its tree is detached. */
  if (sys_mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) fail("mount the root", errno, "/");
  make_parking();
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

int open_inside(int directory, const char *path, int flags, uint64_t resolve) {
  const struct open_how how = {
      .flags = (uint64_t)(flags | O_CLOEXEC),
      .resolve = RESOLVE_IN_ROOT | resolve,
  };
  for (;;) {
    int fd = sys_openat2(directory, path, &how);
    /* EAGAIN: a rename elsewhere during "..": nothing wrong with the path. */
    if (fd >= 0 || errno != EAGAIN) return fd;
  }
}

/* A walk that makes what is missing. `done` is a path without links, dots or a final slash. */
struct walk {
  const char *step;
  enum kind kind;
  bool reported;
  int links;
  char done[PATH_MAX], left[PATH_MAX];
};

static void make_missing(struct walk *walk, const char *path, bool directory) {
  int parent = open_inside(root_fd, walk->done[0] == '\0' ? "/" : walk->done,
                           O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  struct stat before, after;
  if (parent < 0 || fstat(parent, &before) != 0) fail(walk->step, errno, path);
  const char *name = strrchr(path, '/') + 1;
  int made = directory ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0644, 0);
  if (made != 0 || fstat(parent, &after) != 0) fail(walk->step, errno, path);
  const struct timespec times[2] = {before.st_mtim, after.st_mtim};
  if (walk->reported) report_created(path, directory, times);
  close(parent);
}

/* Puts what the link `fd` says before what is left to walk. */
static void follow_link(struct walk *walk, int fd) {
  char target[PATH_MAX];
  ssize_t size = readlinkat(fd, "", target, sizeof target - 1);
  if (size < 0) fail(walk->step, errno, walk->left);
  target[size] = '\0';
  if (++walk->links > 40) fail(walk->step, ELOOP, target);
  if (target[0] == '/') walk->done[0] = '\0';
  size_t length = strlen(walk->left);
  if ((size_t)size + 1 + length >= sizeof walk->left) fail(walk->step, ENAMETOOLONG, target);
  memmove(walk->left + size + 1, walk->left, length + 1);
  memcpy(walk->left, target, (size_t)size);
  walk->left[size] = '/';
}

/* Takes the next name off `left`; NULL when none is left. */
static char *next_name(struct walk *walk, char *name) {
  char *start = walk->left + strspn(walk->left, "/");
  size_t length = strcspn(start, "/");
  if (length == 0) return NULL;
  if (length > NAME_MAX) fail(walk->step, ENAMETOOLONG, walk->left);
  memcpy(name, start, length);
  name[length] = '\0';
  memmove(walk->left, start + length, strlen(start + length) + 1);
  return name;
}

static void walk_to(struct walk *walk, const char *name) {
  if (strcmp(name, ".") == 0) return;
  if (strcmp(name, "..") == 0) {
    char *slash = strrchr(walk->done, '/');
    if (slash != NULL) *slash = '\0';
    return;
  }
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s/%s", walk->done, name) >= (int)sizeof path) {
    fail(walk->step, ENAMETOOLONG, walk->done);
  }
  int fd = open_inside(root_fd, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  if (fd < 0 && errno == ENOENT) {
    const bool last = walk->left[strspn(walk->left, "/")] == '\0';
    make_missing(walk, path, !last || walk->kind == KIND_DIRECTORY);
    fd = open_inside(root_fd, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  }
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail(walk->step, errno, path);
  if (S_ISLNK(status.st_mode)) {
    follow_link(walk, fd);
  } else {
    strcpy(walk->done, path);
  }
  close(fd);
}

static int open_or_make(const char *step, const char *path, enum kind kind) {
  struct walk walk = {.step = step, .kind = kind, .reported = strcmp(step, "mount") == 0};
  if (strlen(path) >= sizeof walk.left) fail(step, ENAMETOOLONG, path);
  strcpy(walk.left, path);
  char name[NAME_MAX + 1];
  while (next_name(&walk, name) != NULL) walk_to(&walk, name);
  int fd = open_inside(root_fd, walk.done[0] == '\0' ? "/" : walk.done, O_PATH, RESOLVE_NO_SYMLINKS);
  if (fd < 0) fail(step, errno, path);
  return fd;
}

int open_target(const char *path, enum kind kind) {
  int fd = open_inside(root_fd, path, O_PATH, 0);
  if (fd < 0 && errno == ENOENT) fd = open_or_make("mount", path, kind);
  struct stat status, root;
  if (fd < 0 || fstat(fd, &status) != 0 || fstat(root_fd, &root) != 0) fail("mount", errno, path);
  if (status.st_dev == root.st_dev && status.st_ino == root.st_ino) fail("mount", EBUSY, path);
  if (S_ISDIR(status.st_mode) != (kind == KIND_DIRECTORY)) {
    fail("mount", kind == KIND_DIRECTORY ? ENOTDIR : EISDIR, path);
  }
  return fd;
}

void enter_working_directory(void) {
  static const char *const step = "change the working directory";
  int fd = open_inside(root_fd, sandbox.cwd, O_PATH | O_DIRECTORY, 0);
  if (fd < 0 && errno == ENOENT && !sandbox.joins_container) fd = open_or_make(step, sandbox.cwd, KIND_DIRECTORY);
  if (fd < 0 || fchdir(fd) != 0) fail(step, errno, sandbox.cwd);
  close(fd);
  /* CVE-2024-21626: a directory outside the root has no path from it. */
  char path[PATH_MAX];
  if (syscall(SYS_getcwd, path, sizeof path) < 0 || path[0] != '/') fail(step, EXDEV, sandbox.cwd);
}
