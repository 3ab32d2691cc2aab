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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void set_hook(const struct word *words) {
  sandbox.hooks = grow(sandbox.hooks, sandbox.hook_count, sizeof *sandbox.hooks);
  sandbox.hooks[sandbox.hook_count++] =
      (struct hook){strcmp(words[0].text, "createContainer") == 0 ? CREATE_CONTAINER : START_CONTAINER,
                    words};
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

/* What the hooks of each stage read; -1: nothing. */
static int states[] = {-1, -1};

/* Files in memory, not pipes: a state of any size is written before anybody reads it. */
static int write_state(enum hook_stage stage, const char *process_id) {
  const struct word *words = sandbox.hooks_state;
  const int file = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0 || dprintf(file, "%s%s%s", words[stage].text, process_id, words[2].text) < 0 ||
      fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
    fail("tell a hook the state", errno, "");
  }
  return file;
}

void write_hook_states(void) {
  char process_id[16] = "0";
  if (sandbox.hook_count == 0 || sandbox.hooks_state == NULL) return;
  const ssize_t size = readlink("/proc/self", process_id, sizeof process_id - 1);
  process_id[size > 0 ? size : 0] = '\0';
  states[CREATE_CONTAINER] = write_state(CREATE_CONTAINER, process_id);
  states[START_CONTAINER] = write_state(START_CONTAINER, process_id);
}

static _Noreturn void become_hook(const struct hook *hook, int input) {
  if (input >= 0) dup2(input, 0);
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  close_range_marked(3);
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
    if (states[stage] >= 0) lseek(states[stage], 0, SEEK_SET);
    const pid_t child = fork();
    if (child < 0) fail("run the hook", errno, hook->words[1].text);
    if (child == 0) become_hook(hook, states[stage]);
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
