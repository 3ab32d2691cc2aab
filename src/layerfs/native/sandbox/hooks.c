/*
 * Hooks that run in the container's namespaces: those of createContainer before its root is entered,
 * by paths of the host, those of startContainer after, as the user. Each reads the container's state
 * and must end with 0 in time.
 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void set_hook(const struct word *words) {
  sandbox.hooks = grow(sandbox.hooks, sandbox.hook_count, sizeof *sandbox.hooks);
  sandbox.hooks[sandbox.hook_count++] =
      (struct hook){strcmp(words[0].text, "createContainer") == 0 ? CREATE_CONTAINER : START_CONTAINER,
                    words};
}

/* As the host counts: its /proc is the one that is still mounted. */
static char process_id[16] = "0";

void note_own_process_id(void) {
  const ssize_t size = readlink("/proc/self", process_id, sizeof process_id - 1);
  process_id[size > 0 ? size : 0] = '\0';
}

/* Words that NULs separate; the last one has its NUL from the input. */
static char **split(const struct word *word) {
  struct texts list = {NULL, 0};
  for (uint32_t at = 0; at < word->size; at += (uint32_t)strlen(word->text + at) + 1) {
    append(&list, word->text + at);
  }
  static char *none[] = {NULL};
  return list.count == 0 ? none : list.at;
}

static int open_state(enum hook_stage stage) {
  int ends[2];
  if (sandbox.hooks_state == NULL || pipe2(ends, O_CLOEXEC) != 0) return -1;
  /* More than a pipe holds is never written whole; the reader would wait for us. */
  fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  const struct word *state = sandbox.hooks_state;
  dprintf(ends[1], "%s%s%s", state[stage].text, process_id, state[2].text);
  close(ends[1]);
  return ends[0];
}

static _Noreturn void become_hook(const struct hook *hook, int input) {
  if (input >= 0) dup2(input, 0);
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  syscall(SYS_close_range, 3, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
  execve(hook->words[1].text, split(&hook->words[2]), split(&hook->words[3]));
  _exit(127);
}

/* Its status, or -1 when it was killed for taking too long. */
static int wait_for(pid_t child, int seconds) {
  int status = 0;
  const int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
  struct pollfd fd = {pidfd, POLLIN, 0};
  const bool late = pidfd >= 0 && seconds > 0 && poll(&fd, 1, seconds * 1000) == 0;
  if (late) kill(child, SIGKILL);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (pidfd >= 0) close(pidfd);
  return late ? -1 : status;
}

void run_hooks(enum hook_stage stage) {
  for (size_t i = 0; i < sandbox.hook_count; i++) {
    const struct hook *hook = &sandbox.hooks[i];
    if (hook->stage != stage) continue;
    const int input = open_state(stage);
    const pid_t child = fork();
    if (child < 0) fail("run the hook", errno, hook->words[1].text);
    if (child == 0) become_hook(hook, input);
    if (input >= 0) close(input);
    const int status = wait_for(child, (int)number(hook->words[4].text, 86400));
    char detail[4200];
    if (status == 0) continue;
    if (status == -1) {
      fail("run the hook", ETIMEDOUT, hook->words[1].text);
    }
    snprintf(detail, sizeof detail, "%s: it ended with %d", hook->words[1].text,
             WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    fail("run the hook", ECANCELED, detail);
  }
}
