/*
 * The second mode of this program: becomes root of a new user namespace, and there another program.
 *
 *   sandbox user-namespace UID_MAP GID_MAP PROGRAM ARGUMENTS…
 *
 * The maps are the words that newuidmap(1) and newgidmap(1) take, which have the right to write
 * them; both empty: the caller's own id alone becomes root's, for which nobody's help is needed.
 * The process stays the same, so signals, terminal and exit code are the program's own. It dies
 * with its parent.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char make_namespace[] = "make a user namespace";

/* What keeps users from it that is no setting: the command line has asked those. */
static const struct {
  const char *step;
  int error;
  const char *hint;
} hints[] = {
    {make_namespace, EPERM,
     "A system call filter forbids unshare(2), as in most containers: allow it there, or use sudo"},
    {make_namespace, ENOSPC, "Raise the sysctl user.max_user_namespaces, or use sudo"},
    {"newuidmap", EPERM,
     "It must be set-uid root or have cap_setuid, and /etc/subuid must give you these ids"},
    {"newgidmap", EPERM,
     "It must be set-uid root or have cap_setgid, and /etc/subgid must give you these ids"},
};

static _Noreturn void refuse(const char *step) {
  const int error = errno;
  fprintf(stderr, "ERROR: Cannot run without root: %s: %s\n", step, strerror(error));
  for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
    if (hints[i].error != error || strcmp(hints[i].step, step) != 0) continue;
    fprintf(stderr, "%s\n", hints[i].hint);
  }
  _exit(125);
}

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) refuse(path);
  close(fd);
}

/* The kernel lets nobody give away groups that way: setgroups() is switched off for good. */
static void map_own_ids(uid_t uid, gid_t gid) {
  char map[32];
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "0 %u 1", uid);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %u 1", gid);
  write_file("/proc/self/gid_map", map);
}

static bool run_tool(const char *tool, pid_t pid, char *map) {
  enum { MAX_WORDS = 512 };
  char number_of[16], *words[MAX_WORDS + 3] = {(char *)tool, number_of};
  snprintf(number_of, sizeof number_of, "%d", (int)pid);
  size_t count = 2;
  for (char *word = strtok(map, " "); word != NULL && count < MAX_WORDS; word = strtok(NULL, " ")) {
    words[count++] = word;
  }
  const pid_t child = fork();
  if (child == 0) {
    execvp(tool, words);
    _exit(127);
  }
  int status;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* Outside the new namespace, where the tools have their rights: waits until it is there. */
static pid_t start_helper(const int ends[2], char *uid_map, char *gid_map) {
  const pid_t target = getpid();
  const pid_t helper = fork();
  if (helper != 0) return helper;
  char byte;
  close(ends[1]); /* or it would wait for itself, when we fail before we write */
  if (read(ends[0], &byte, 1) != 1) _exit(1);
  if (!run_tool("newuidmap", target, uid_map)) _exit(2);
  _exit(run_tool("newgidmap", target, gid_map) ? 0 : 3);
}

static void map_by_tools(char *uid_map, char *gid_map) {
  int ends[2], status;
  if (pipe2(ends, O_CLOEXEC) != 0) refuse("pipe");
  const pid_t helper = start_helper(ends, uid_map, gid_map);
  if (helper < 0) refuse("fork");
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) refuse(make_namespace);
  if (write(ends[1], "", 1) != 1 || waitpid(helper, &status, 0) != helper) refuse("wait");
  if (status != 0) {
    errno = EPERM;
    refuse(WEXITSTATUS(status) == 3 ? "newgidmap" : "newuidmap");
  }
  close(ends[0]);
  close(ends[1]);
}

int enter_user_namespace(int count, char **words) {
  if (count < 3) return 125;
  const pid_t parent = getppid();
  const bool single = words[0][0] == '\0';
  if (single) {
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) refuse(make_namespace);
    map_own_ids(uid, gid);
  } else {
    map_by_tools(words[0], words[1]);
    if (setgroups(0, NULL) != 0) refuse("setgroups");
  }
  if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0) refuse("become root");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return 125;
  execv(words[2], words + 2);
  refuse(words[2]);
}
