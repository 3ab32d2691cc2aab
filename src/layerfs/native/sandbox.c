/* The monitor's way: read what to do, start PID 1 in its namespaces, watch it. See sandbox.h. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned long namespaces(void) {
  unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC;
  return sandbox.network == NETWORK_HOST ? flags : flags | CLONE_NEWNET;
}

int main(void) {
  if (fcntl(INPUT_FD, F_GETFD) < 0 || fcntl(REPORT_FD, F_GETFD) < 0) {
    fputs("sandbox: started by tsbuild and tsrun only: it reads what to do from descriptor 3\n", stderr);
    return 125;
  }
  /* Neither descriptor may reach the user's program, whatever else goes wrong. */
  fcntl(INPUT_FD, F_SETFD, FD_CLOEXEC);
  fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  read_input();
  /* The keys of a terminal signal a whole process group. Without a terminal of its own the
   * container gets signals only from the caller, once each. */
  if (!sandbox.terminal) setpgid(0, 0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  make_output_pipes();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    fail("start the container", errno, "socketpair");
  }
  /* Not dumpable before the container exists: (6). */
  prctl(PR_SET_DUMPABLE, 0);
  pid_t child = (pid_t)syscall(SYS_clone, namespaces() | SIGCHLD, 0, 0, 0, 0);
  if (child < 0) fail("create namespaces", errno, "");
  if (child == 0) {
    close(ends[0]);
    become_container(ends[1]);
  }
  close(ends[1]);
  watch(child, ends[0]);
}
