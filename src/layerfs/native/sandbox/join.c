/*
 * Namespaces that are not made but joined, and the ids of a new user namespace.
 *
 * The monitor joins, and what it forks is inside. All files are opened first: joining changes which
 * the paths mean, and who we are. The user namespace comes first, as rights in the others hang on
 * it, and the mount namespace last.
 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the order in which they are joined. */
static const struct kind_of_namespace {
  const char *name;
  int flag;
} kinds[] = {
    {"user", CLONE_NEWUSER}, {"pid", CLONE_NEWPID},       {"network", CLONE_NEWNET},
    {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},       {"time", CLONE_NEWTIME},
    {"mount", CLONE_NEWNS},  {"cgroup", CLONE_NEWCGROUP},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int own_namespace(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/ns/%s",
           strcmp(name, "network") == 0 ? "net" : strcmp(name, "mount") == 0 ? "mnt" : name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

/* The kernel refuses to join the user namespace that one is in, and the host's where that is not ours. */
static bool is_own(int fd, const char *name) {
  struct stat theirs, ours;
  const int own = own_namespace(name);
  const bool same = own >= 0 && fstat(fd, &theirs) == 0 && fstat(own, &ours) == 0 &&
                    theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
  if (own >= 0) close(own);
  return same;
}

static int *open_joins(void) {
  static int fds[KINDS];
  for (size_t i = 0; i < KINDS; i++) fds[i] = -1;
  for (size_t i = 0; i + 1 < sandbox.joins.count; i += 2) {
    const char *name = sandbox.joins.at[i], *path = sandbox.joins.at[i + 1];
    size_t kind = 0;
    while (kind < KINDS && strcmp(kinds[kind].name, name) != 0) kind++;
    if (kind == KINDS) fail("read the operations", EINVAL, name);
    fds[kind] = open(path, O_RDONLY | O_CLOEXEC);
    if (fds[kind] < 0) fail("join a namespace", errno, path);
  }
  return fds;
}

/* Offsets count for processes that come after; the first one is in it from its birth. */
static void set_time_offsets(void) {
  if (sandbox.time_offsets.count == 0) return;
  if (unshare(CLONE_NEWTIME) != 0) fail("create namespaces", errno, "time");
  sandbox.namespaces &= ~(uint64_t)CLONE_NEWTIME;
  for (size_t i = 0; i < sandbox.time_offsets.count; i++) {
    const char *line = sandbox.time_offsets.at[i];
    const int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, strlen(line)) < 0) fail("set a clock", errno, line);
    close(fd);
  }
}

void join_namespaces(void) {
  if (sandbox.bundle) set_time_offsets();
  const int *fds = open_joins();
  for (size_t i = 0; i < KINDS; i++) {
    if (fds[i] < 0) continue;
    if (!is_own(fds[i], kinds[i].name) && setns(fds[i], kinds[i].flag) != 0) fail("join a namespace", errno, kinds[i].name);
    close(fds[i]);
  }
}

static int *cgroup_fds;

void open_joined_cgroups(void) {
  cgroup_fds = calloc(sandbox.cgroups.count + 1, sizeof *cgroup_fds);
  if (cgroup_fds == NULL) fail("enter a cgroup", ENOMEM, "");
  for (size_t i = 0; i < sandbox.cgroups.count; i++) {
    cgroup_fds[i] = open(sandbox.cgroups.at[i], O_WRONLY | O_CLOEXEC);
    if (cgroup_fds[i] < 0) fail("enter a cgroup", errno, sandbox.cgroups.at[i]);
  }
}

void enter_joined_cgroups(void) {
  for (size_t i = 0; i < sandbox.cgroups.count; i++) {
    if (write(cgroup_fds[i], "0", 1) != 1) fail("enter a cgroup", errno, sandbox.cgroups.at[i]);
    close(cgroup_fds[i]);
  }
}

void write_map(pid_t child, const char *file, const char *map) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, map, strlen(map)) != (ssize_t)strlen(map)) {
    fail("map the ids of a user namespace", errno, file);
  }
  close(fd);
}

void map_ids(pid_t child, int socket) {
  if ((sandbox.namespaces & CLONE_NEWUSER) == 0) return;
  if (sandbox.uid_map != NULL) write_map(child, "uid_map", sandbox.uid_map);
  if (sandbox.gid_map != NULL) write_map(child, "gid_map", sandbox.gid_map);
  (void)!send(socket, "M", 1, MSG_NOSIGNAL);
}

void wait_for_maps(int monitor) {
  char byte;
  if ((sandbox.namespaces & CLONE_NEWUSER) == 0) return;
  if (recv(monitor, &byte, 1, 0) != 1) _exit(125);
}

static bool joins_user_namespace(void) {
  for (size_t i = 0; i + 1 < sandbox.joins.count; i += 2) {
    if (strcmp(sandbox.joins.at[i], "user") == 0) return true;
  }
  return false;
}

void become_namespace_root(void) {
  if ((sandbox.namespaces & CLONE_NEWUSER) == 0 && !joins_user_namespace()) return;
  static const char *const step = "become root of the user namespace";
  if (setgroups(0, NULL) != 0 && errno != EPERM) fail(step, errno, "groups");
  if (setresgid(0, 0, 0) != 0) fail(step, errno, "gid");
  if (setresuid(0, 0, 0) != 0) fail(step, errno, "uid");
}
