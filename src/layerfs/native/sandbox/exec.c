/*
 * The last step: find the program as a shell would and become it.
 *
 * What is reported decides the exit code that people see, so "not found" (127) and "found, but it
 * cannot run" (126) are different steps: find and execute.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/limits.h>

static const char *search_path(void) {
  for (size_t i = 0; i < sandbox.env.count; i++) {
    if (strncmp(sandbox.env.at[i], "PATH=", 5) == 0) return sandbox.env.at[i] + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* 0 when `path` is a file that may be executed by who we are now; otherwise why not. */
static int why_not_executable(const char *path) {
  struct stat status;
  if (stat(path, &status) != 0) return errno;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/* Writes where `name` is into `found`. An entry that is there but unusable is remembered: being
 * forbidden to run it says more than not finding another. */
static void find(const char *name, char found[PATH_MAX]) {
  int reason = ENOENT;
  const char *entry = search_path();
  while (entry != NULL) {
    const char *colon = strchr(entry, ':');
    int length = colon == NULL ? (int)strlen(entry) : (int)(colon - entry);
    /* An empty entry means the working directory, which is no place to find programs in. */
    if (length > 0 && snprintf(found, PATH_MAX, "%.*s/%s", length, entry, name) < PATH_MAX) {
      int error = why_not_executable(found);
      if (error == 0) return;
      if (error == EACCES) reason = EACCES;
    }
    entry = colon == NULL ? NULL : colon + 1;
  }
  fail(reason == ENOENT ? "find" : "execute", reason, name);
}

static void restore_signals(void) {
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static void find_program(char path[PATH_MAX]) {
  const char *name = sandbox.argv.at[0];
  if (strchr(name, '/') == NULL) {
    find(name, path);
    return;
  }
  snprintf(path, PATH_MAX, "%s", name);
  int error = why_not_executable(path);
  if (error == ENOENT || error == ENOTDIR) fail("find", error, name);
  if (error != 0) fail("execute", error, name);
}

/* Told early; whether its user may run it is known only later. */
void assert_program(void) {
  char path[PATH_MAX];
  find_program(path);
}

/* Down to where programs look for them. Errors go to a descriptor out of their way. */
static void place_preserved(void) {
  if (sandbox.preserved == 0) return;
  const int first_free = FIRST_PRESERVED + (int)sandbox.preserved;
  report_to(duplicate_report(first_free));
  for (int fd = 3; fd < 3 + (int)sandbox.preserved; fd++) {
    if (dup2(fd + FIRST_PRESERVED - 3, fd) < 0) fail("hand on a descriptor", errno, "");
  }
}

void close_range_marked(unsigned first) {
  if (syscall(SYS_close_range, first, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) == 0) return;
  for (int fd = (int)first; fd < 65536; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void run_program(void) {
  char path[PATH_MAX];
  find_program(path);
  restore_signals();
  place_preserved();
  /* Marked, not closed, so that a failing exec can still be reported: (5). */
  close_range_marked(3 + sandbox.preserved);
  char *none[] = {NULL};
  execve(path, sandbox.argv.at, sandbox.env.at == NULL ? none : sandbox.env.at);
  /* The file is there, so ENOENT speaks of its interpreter. */
  fail(errno == ENOENT ? "find the interpreter of" : "execute", errno, path);
}
