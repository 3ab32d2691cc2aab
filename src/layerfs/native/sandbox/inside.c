/*
 * Paths in the container's root: the only place where they are looked up, from its descriptor, and
 * where what a mount needs and the image lacks is made.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <linux/limits.h>

int root_fd = -1;

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

int open_fixed(const char *path) {
  int fd = open_inside(root_fd, path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (fd >= 0) return fd;
  if (errno != ENOENT) fail("mount", errno, path);
  return open_target(path, KIND_DIRECTORY);
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
