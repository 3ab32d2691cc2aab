/*
 * For docker-view.test.ts: what the filter of system calls answers, seen from inside.
 * Calls each number from 0 to 470 with nonsense as arguments, in a process of its own, and prints
 * "NUMBER ANSWER": the errno, 0 for success, or -N when signal N ended the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int answer(long number) {
  int status;
  const pid_t process = fork();
  if (process == 0) {
    alarm(1);
    const long result = syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
    _exit(result == -1 ? errno : 0);
  }
  waitpid(process, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void) {
  for (long number = 0; number <= 470; number++) {
    /* fork and vfork would go on twice. */
    if (number == 57 || number == 58) continue;
    printf("%ld %d\n", number, answer(number));
    fflush(stdout);
  }
  return 0;
}
