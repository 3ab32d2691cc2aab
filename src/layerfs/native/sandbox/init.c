/*
 * An init, for programs that are none: PID 1 stays this program, reaps what is left to it and hands
 * signals on, and the user's program is its child.
 *
 * It runs with the rights of the user's program. It is not dumpable, so /proc/1 tells the container
 * nothing of our file (6), and it keeps no descriptor but 0-2.
 */
#include "sandbox.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A group of its own in the terminal's foreground: the keys reach the program, not PID 1. */
static void lead_foreground(void) {
  setpgid(0, 0);
  const pid_t group = getpid();
  /* SIGTTOU is blocked here, as all are. Without a terminal there is nothing to lead. */
  ioctl(0, TIOCSPGRP, &group);
}

/* Reaps all that ended; ends as the program did, with which the kernel ends the others. */
static void reap(pid_t program) {
  int status;
  for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended != program) continue;
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
}

/* Faults of our own; they cannot be somebody's wish. */
static bool is_fault(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
         signal == SIGTRAP || signal == SIGSYS || signal == SIGABRT;
}

void start_under_init(void) {
  const pid_t program = fork();
  if (program < 0) fail("start the container", errno, "fork");
  if (program == 0) {
    lead_foreground();
    return;
  }
  (void)!chdir("/"); /* so that the program's directory can be unmounted */
  syscall(SYS_close_range, 3, ~0u, 0);
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    siginfo_t info;
    if (sigwaitinfo(&all, &info) < 0) continue;
    if (info.si_signo == SIGCHLD) {
      reap(program);
    } else if (!is_fault(info.si_signo) && info.si_signo != SIGTTIN && info.si_signo != SIGTTOU) {
      kill(program, info.si_signo);
    }
  }
}
