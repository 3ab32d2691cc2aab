/*
 * Binds whose files show other owners. Only root of the file system's own user namespace may map a
 * mount, which PID 1 of a container with users of its own no longer is: the monitor makes these
 * mounts, before there are two processes, and PID 1 attaches them as it does all others.
 */
#include "bundle.h"
#include "calls.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static const char step[] = "map the ids of a mount";

/* A user namespace that is nothing but its maps: of a process that ends once it is held. */
static int make_maps(const char *uid_map, const char *gid_map, const char *source) {
  int ends[2];
  char path[64], byte;
  if (pipe2(ends, O_CLOEXEC) != 0) fail(step, errno, source);
  const pid_t holder = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (holder < 0) fail(step, errno, source);
  if (holder == 0) {
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  write_map(holder, "uid_map", uid_map);
  write_map(holder, "gid_map", gid_map);
  snprintf(path, sizeof path, "/proc/%d/ns/user", (int)holder);
  const int maps = open(path, O_RDONLY | O_CLOEXEC);
  if (maps < 0) fail(step, errno, source);
  close(ends[0]);
  close(ends[1]);
  while (waitpid(holder, NULL, 0) < 0 && errno == EINTR) continue;
  return maps;
}

/* words: those of bind-source, lines of uid_map and gid_map, recursive|plain */
static int open_mapped(const struct word *words) {
  const char *source = words[0].text;
  const int mount = open_bind_source(words);
  const int maps = make_maps(words[8].text, words[9].text, source);
  const struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)maps};
  const unsigned recursive = strcmp(words[10].text, "recursive") == 0 ? AT_RECURSIVE : 0;
  if (sys_mount_setattr(mount, recursive, &attr) != 0) fail(step, errno, source);
  close(maps);
  return mount;
}

void set_mapped_source(const struct word *words) { add_source(words, open_mapped, BY_MONITOR); }
