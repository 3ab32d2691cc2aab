/*
 * Mounts: each is made detached, completed, and attached last, to an open directory or file.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/limits.h>
#include <linux/magic.h>

/* A detached mount of a new file system. Options end with a NULL key; a NULL value is a flag. */
int new_filesystem(const char *type, const char *const options[][2], uint64_t attributes) {
  int context = sys_fsopen(type);
  if (context < 0) fail("mount", errno, type);
  sys_fsconfig(context, FSCONFIG_SET_STRING, "source", type);
  for (size_t i = 0; options[i][0] != NULL; i++) {
    unsigned command = options[i][1] == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    if (sys_fsconfig(context, command, options[i][0], options[i][1]) != 0) {
      fail("mount", errno, options[i][0]);
    }
  }
  if (sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) != 0) fail("mount", errno, type);
  int mount = sys_fsmount(context, attributes);
  if (mount < 0) fail("mount", errno, type);
  close(context);
  return mount;
}

/* A small tmpfs between the host's root and the container's. Kernels before 6.15 clone no mount that
 * is attached nowhere, nor mount in it: what is there for that stands here, and goes with the host's
 * root, unless it is attached elsewhere. Files given by content lie in it too: only they are mounted,
 * so no name of one shows beside another. */
static int parking = -1;

void make_parking(void) {
  const char *const options[][2] = {{"mode", "0700"}, {NULL, NULL}};
  /* Nothing that is mounted here may reach the host, and a bind's source must not drag its peers
   * along; what the host unmounts still goes away here until its tree is detached. */
  if (sys_mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) fail("mount the root", errno, "/");
  parking = new_filesystem("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  char place[PATH_MAX] = "/";
  /* Another runtime leaves the host's root by its own way, over which nothing may lie. */
  if (sandbox.runtime != NULL) snprintf(place, sizeof place, "%s/parking", sandbox.runtime[1].text);
  if (sys_move_mount(parking, AT_FDCWD, place, 0) != 0) fail("mount", errno, place);
}

/* From above the host's root to below it, with which it then goes: to take a mount away the kernel
 * waits for all processors, 0.2 ms and more. */
bool put_parking_aside(void) { return sys_move_mount(parking, AT_FDCWD, "/proc", 0) == 0; }

void park(int mount) {
  static unsigned count;
  char name[16];
  snprintf(name, sizeof name, "m%u", count++);
  if (mkdirat(parking, name, 0700) != 0 || sys_move_mount(mount, parking, name, 0) != 0) {
    fail("mount", errno, name);
  }
}

void attach(int mount, int target, const char *detail) {
  if (sys_move_mount(mount, target, "", MOVE_MOUNT_T_EMPTY_PATH) != 0) fail("mount", errno, detail);
}

/* A second, detached mount of what `path` names below `fd` (of `fd` itself, when empty). */
int clone_mount(int fd, const char *path, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | (path[0] == '\0' ? AT_EMPTY_PATH : 0u);
  int mount = sys_open_tree(fd, path, flags | (recursive ? AT_RECURSIVE : 0u));
  if (mount < 0) fail("mount", errno, path);
  /* Out of its source's peer group: what is mounted inside must not appear outside. */
  const struct mount_attr attr = {.propagation = MS_PRIVATE};
  if (sys_mount_setattr(mount, recursive ? AT_RECURSIVE : 0, &attr) != 0) fail("mount", errno, path);
  return mount;
}

void set_attributes(int mount, uint64_t set, bool recursive, const char *detail) {
  const struct mount_attr attr = {.attr_set = set};
  if (sys_mount_setattr(mount, recursive ? AT_RECURSIVE : 0, &attr) != 0) {
    fail("mount", errno, detail);
  }
}

static uint64_t *uncovered;
static size_t uncovered_count;

static uint64_t mount_id(int fd) {
  struct statx status;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0) fail("mount", errno, "");
  return status.stx_mnt_id;
}

void keep_uncovered(int mount) {
  uncovered = grow(uncovered, uncovered_count, sizeof *uncovered);
  uncovered[uncovered_count++] = mount_id(mount);
}

static bool is_uncovered(int place) {
  const uint64_t id = uncovered_count > 0 ? mount_id(place) : 0;
  for (size_t i = 0; i < uncovered_count; i++) {
    if (uncovered[i] == id) return true;
  }
  return false;
}

/* Attaches at a path of the user's choice, which must not lie in procfs: a mount there could show
 * a later reader of /proc another file than the kernel's. */
void attach_at(int mount, const char *target, enum kind kind) {
  int place = open_target(target, kind);
  struct statfs status;
  if (fstatfs(place, &status) != 0) fail("mount", errno, target);
  if (status.f_type == PROC_SUPER_MAGIC || is_uncovered(place)) fail("mount", EPERM, target);
  attach(mount, place, target);
  close(place);
  close(mount);
}

struct mount_source {
  const struct word *words;
  int (*open_it)(const struct word *words);
  enum opener opener;
  int mount;
};

void add_source(const struct word *words, int (*open_it)(const struct word *words), enum opener opener) {
  sandbox.sources = grow(sandbox.sources, sandbox.source_count, sizeof *sandbox.sources);
  sandbox.sources[sandbox.source_count++] = (struct mount_source){words, open_it, opener, -1};
}

void open_sources(enum opener opener) {
  for (size_t i = 0; i < sandbox.source_count; i++) {
    struct mount_source *source = &sandbox.sources[i];
    if (source->opener == opener && source->mount < 0) source->mount = source->open_it(source->words);
  }
}

void close_sources(void) {
  for (size_t i = 0; i < sandbox.source_count; i++) {
    if (sandbox.sources[i].mount >= 0) close(sandbox.sources[i].mount);
  }
}

int take_source(const struct word *words) {
  for (size_t i = 0; i < sandbox.source_count; i++) {
    if (sandbox.sources[i].words == words) return sandbox.sources[i].mount;
  }
  fail("mount", EINVAL, words[0].text);
}

static bool says(const struct word *word, const char *yes) { return strcmp(word->text, yes) == 0; }

static int open_bind(const struct word *words) {
  const char *source = words[0].text;
  const bool recursive = says(&words[3], "recursive");
  int mount = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0u));
  if (mount < 0) fail("open the source of a mount", errno, source);
  const struct mount_attr attr = {
      .attr_set = (says(&words[2], "ro") ? MOUNT_ATTR_RDONLY : 0) |
                  (sandbox.bind_devices ? MOUNT_ATTR_NODEV : 0), /* (7) */
      .propagation = MS_PRIVATE,
  };
  if (sys_mount_setattr(mount, recursive ? AT_RECURSIVE : 0, &attr) != 0) fail("mount", errno, source);
  return mount;
}

/* /dev/shm of another container, from within its mount namespace: nobody mounts what is not of his
 * own. Whatever its processes put there instead is no file system in memory, or a link. */
static int open_shared_memory(const struct word *words) {
  const char *path = words[0].text;
  struct statfs status;
  const int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  const int theirs = open(path, O_RDONLY | O_CLOEXEC);
  if (home < 0 || theirs < 0 || setns(theirs, CLONE_NEWNS) != 0) fail("share memory with", errno, path);
  const int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int place = open_inside(root, "dev/shm", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (place < 0 || fstatfs(place, &status) != 0) fail("share memory with", errno, path);
  if (status.f_type != TMPFS_MAGIC) fail("share memory with", ENODEV, path);
  const int mount = clone_mount(place, "", false);
  if (setns(home, CLONE_NEWNS) != 0) fail("share memory with", errno, path);
  close(root);
  close(place);
  close(theirs);
  close(home);
  return mount;
}

void set_shared_memory(const struct word *words) { add_source(words, open_shared_memory, BY_CHILD); }
void step_shared_memory(const struct word *words) {
  attach_at(take_source(words), "/dev/shm", KIND_DIRECTORY);
}

void set_bind(const struct word *words) { add_source(words, open_bind, BY_CHILD); }

void step_bind(const struct word *words) {
  const int mount = take_source(words);
  struct stat status;
  if (fstat(mount, &status) != 0) fail("mount", errno, words[0].text);
  attach_at(mount, words[1].text, S_ISDIR(status.st_mode) ? KIND_DIRECTORY : KIND_FILE);
}

void step_tmpfs(const struct word *words) {
  const char *const sized[][2] = {{"mode", words[2].text}, {"size", words[1].text}, {NULL, NULL}};
  const char *const unsized[][2] = {{"mode", words[2].text}, {NULL, NULL}};
  int mount = new_filesystem("tmpfs", words[1].size == 0 ? unsized : sized,
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  attach_at(mount, words[0].text, KIND_DIRECTORY);
}

static void write_fully(int fd, const struct word *content, const char *detail) {
  for (size_t done = 0; done < content->size;) {
    ssize_t sent = write(fd, content->text + done, content->size - done);
    if (sent < 0) fail("write a file in memory", errno, detail);
    done += (size_t)sent;
  }
}

/* The container's address is known only once its network stands, which is made meanwhile. */
static int hosts_fd = -1;

void name_address(const char *address) {
  const char *host = sandbox.hostname, *domain = sandbox.domainname;
  if (hosts_fd < 0 || host == NULL) return;
  dprintf(hosts_fd, "%s\t", address);
  if (domain != NULL) dprintf(hosts_fd, "%s.%s ", host, domain);
  dprintf(hosts_fd, "%s\n", host);
}

static void add_file(const struct word *words, bool writable) {
  static unsigned count;
  const char *target = words[0].text;
  char name[16];
  snprintf(name, sizeof name, "%u", count++);
  int file = openat(parking, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) fail("write a file in memory", errno, target);
  write_fully(file, &words[4], target);
  uid_t uid = (uid_t)number(words[2].text, UINT32_MAX - 1);
  gid_t gid = (gid_t)number(words[3].text, UINT32_MAX - 1);
  /* The mode after the owner: changing the owner clears set-id bits. */
  if (fchown(file, uid, gid) != 0 || fchmod(file, (mode_t)number(words[1].text, 07777)) != 0) {
    fail("write a file in memory", errno, target);
  }
  if (strcmp(target, "/etc/hosts") == 0) {
    hosts_fd = file;
  } else {
    close(file);
  }
  int mount = clone_mount(parking, name, false);
  /* A script may run, a secret may not. */
  bool runs = (number(words[1].text, 07777) & 0111) != 0;
  const uint64_t fixed = (writable ? 0 : MOUNT_ATTR_RDONLY) | (runs ? 0 : MOUNT_ATTR_NOEXEC);
  set_attributes(mount, fixed, false, target);
  attach_at(mount, target, KIND_FILE);
}

void step_file(const struct word *words) { add_file(words, false); }
void step_own_file(const struct word *words) { add_file(words, true); }
