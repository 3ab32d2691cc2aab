/*
 * A container that another runtime makes (--isolation oci). PID 1 here is this program, in a mount and
 * a process namespace of its own: it builds the root, lets the runtime create and start a container
 * of a bundle on it, and ends as that does. Whatever is killed, the kernel ends all processes with
 * this one, and all mounts with the namespace: (1) and (4) hold. The rest is the runtime's word.
 *
 *   bundle directory: config.json · rootfs, parking (empty) · log, pid, state (the runtime's)
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROGRAM, BUNDLE, ID };

static const char *in_bundle(const char *name, char path[4096]) {
  snprintf(path, 4096, "%s/%s", sandbox.runtime[BUNDLE].text, name);
  return path;
}

static _Noreturn void become_runtime(char *const *words, bool quietly) {
  char state[4096], log[4096];
  char *const program = sandbox.runtime[PROGRAM].text;
  char *all[16] = {program,  "--root", (char *)in_bundle("state", state),
                   "--log",  (char *)in_bundle("log", log), "--log-format", "json"};
  for (size_t i = 0; words[i] != NULL; i++) all[7 + i] = words[i];
  char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (quietly) {
    /* What it says is in its log; the streams are the program's. */
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++) dup2(null, fd);
  }
  close_range_marked(3);
  execve(program, all, env);
  _exit(127);
}

static int run_runtime(char *const *words, bool quietly) {
  const pid_t child = fork();
  int status;
  if (child < 0) fail("start the container", errno, "fork");
  if (child == 0) become_runtime(words, quietly);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

static pid_t read_process_id(const char *path) {
  char text[16] = {0};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) fail("start the container", errno, path);
  close(fd);
  return (pid_t)number(text, INT32_MAX);
}

/* Its own, which the kernel gives to us when who created it has ended. */
static int wait_for(pid_t container) {
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    int status;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended == container) return status;
    }
    siginfo_t info;
    if (sigwaitinfo(&all, &info) < 0 || info.si_signo == SIGCHLD) continue;
    kill(container, info.si_signo);
  }
}

void become_runtime_container(int monitor) {
  char bundle[4096], process_id[4096];
  char *const id = sandbox.runtime[ID].text;
  report_failures_to(monitor);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("tie to the monitor", errno, "");
  umask(0);
  setsid();
  write_to_output_pipes();
  start_loopback();
  open_sources(BY_CHILD);
  make_parking();
  make_root();
  run_steps(&sandbox.steps);
  mount_own_proc();
  write_sysctls();
  wait_for_monitor(monitor);
  umask(022);
  in_bundle("pid", process_id);
  in_bundle("", bundle);
  char *create[] = {"create", "--bundle", bundle, "--pid-file", process_id, id, NULL};
  if (run_runtime(create, false) != 0) fail("let the runtime create a container", ECANCELED, "");
  const pid_t container = read_process_id(process_id);
  char *start[] = {"start", id, NULL};
  if (run_runtime(start, true) != 0) fail("let the runtime start a container", ECANCELED, "");
  close(monitor);
  const int status = wait_for(container);
  char *delete[] = {"delete", "--force", id, NULL};
  run_runtime(delete, true);
  _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}
