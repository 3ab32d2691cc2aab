/*
 * Starts a program and waits for its end: how long that took, in nanoseconds, on a line of standard
 * output, and behind it what it wrote to its descriptor 4. A small process starts others in the least
 * time: what Node takes to do so, a millisecond and more, is not what is measured.
 *
 *   starter OPERATIONS PROGRAM [ARGUMENT…]
 *
 * OPERATIONS: a file with what the program reads from its descriptor 3; "-": it has neither of the two.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OPERATIONS = 3, RECORDS = 4 };

static char input[1 << 20], records[1 << 16];

static void fail(const char *what) {
  perror(what);
  exit(125);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static size_t read_file(const char *path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  const ssize_t size = read(fd, input, sizeof input);
  if (size < 0 || size == sizeof input) fail(path);
  close(fd);
  return (size_t)size;
}

/* Until the other side is closed everywhere. */
static size_t read_records(int fd) {
  size_t size = 0;
  for (ssize_t count; (count = read(fd, records + size, sizeof records - size)) > 0;) size += (size_t)count;
  return size;
}

int main(int count, char **words) {
  if (count < 3) return 125;
  const bool is_native = strcmp(words[1], "-") != 0;
  const size_t size = is_native ? read_file(words[1]) : 0;
  int control[2], reports[2];
  /* Far from the numbers that they get in the program. */
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) fail("socketpair");
  if (pipe2(reports, O_CLOEXEC) != 0) fail("pipe2");
  const int theirs = fcntl(control[1], F_DUPFD_CLOEXEC, 10), report = fcntl(reports[1], F_DUPFD_CLOEXEC, 10);
  const int ours = fcntl(control[0], F_DUPFD_CLOEXEC, 10), heard = fcntl(reports[0], F_DUPFD_CLOEXEC, 10);
  for (int i = 0; i < 2; i++) close(control[i]), close(reports[i]);

  const uint64_t start = now();
  const pid_t child = vfork();
  if (child == 0) {
    if (is_native && (dup2(theirs, OPERATIONS) < 0 || dup2(report, RECORDS) < 0)) _exit(126);
    execvp(words[2], words + 2);
    _exit(127);
  }
  if (child < 0) fail("vfork");
  close(theirs);
  close(report);
  if (is_native && write(ours, input, size) != (ssize_t)size) fail("write");
  const size_t heard_size = read_records(heard);
  int status;
  if (waitpid(child, &status, 0) != child) fail("waitpid");
  const uint64_t end = now();

  if (status != 0) {
    fprintf(stderr, "%s: status %x\n", words[2], (unsigned)status);
    return 1;
  }
  printf("%llu\n", (unsigned long long)(end - start));
  fwrite(records, 1, heard_size, stdout);
  return 0;
}
