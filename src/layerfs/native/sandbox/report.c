/*
 * Records to the caller, on descriptor 4.
 *
 *   record: u32 length · words separated by NUL
 *     monitor PID                  of a spawner's; the first record
 *     error STEP ERRNO DETAIL      nothing runs; the last record
 *     created PATH KIND BEFORE AFTER   a mount target was missing and was made, in this order;
 *                                  the modification time of its directory, in nanoseconds
 *     network ADDRESS GATEWAY BLOCKED_BY   of a bridge; BLOCKED_BY: see bridge.h, or empty
 *     port HOST HOST_PORT PORT PROTOCOL   a published port of it
 *     made PID                     of a bundle: waits for a byte before its root is entered
 *     started PID                  the user's program runs, or a bundle's waits for its start
 *     exit CODE SIGNAL             it ended; the last record
 *
 * Only one of the two processes writes at a time: PID 1 until it is the user's program, then the
 * monitor.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failure_fd = -1, report_fd = REPORT_FD;

void report_failures_to(int fd) { failure_fd = fd; }
void report_to(int fd) { report_fd = fd; }
int duplicate_report(int lowest) { return fcntl(report_fd, F_DUPFD_CLOEXEC, lowest); }

static void send_record(const void *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t sent = write(report_fd, (const char *)bytes + done, size - done);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return; /* the caller is gone: (4) */
    done += (size_t)sent;
  }
}

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...) {
  static char record[4 + 16384];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(record + 4, sizeof record - 4, format, values);
  va_end(values);
  uint32_t size = length < (int)sizeof record - 4 ? (uint32_t)length : (uint32_t)sizeof record - 5;
  memcpy(record, &size, sizeof size);
  send_record(record, 4 + size);
}

void report_error(const char *step, int error, const char *detail) {
  report("error%c%s%c%d%c%s", 0, step, 0, error, 0, detail);
}

void fail(const char *step, int error, const char *detail) {
  report_error(step, error, detail);
  if (failure_fd >= 0) (void)!write(failure_fd, "!", 1);
  _exit(125);
}

void fail_with_child(pid_t child, const char *step, const char *detail) {
  const int error = errno;
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  fail(step, error, detail);
}

static long long nanoseconds(struct timespec time) {
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

void report_created(const char *path, bool directory, const struct timespec times[2]) {
  report("created%c%s%c%s%c%lld%c%lld", 0, path, 0, directory ? "directory" : "file", 0,
         nanoseconds(times[0]), 0, nanoseconds(times[1]));
}

void report_monitor(pid_t pid) { report("monitor%c%d", 0, pid); }

void report_made(pid_t pid) { report("made%c%d", 0, pid); }

void report_started(pid_t pid) { report("started%c%d", 0, pid); }

void report_network(const char *address, const char *gateway, const char *blocked_by) {
  report("network%c%s%c%s%c%s", 0, address, 0, gateway, 0, blocked_by);
}

void report_port(const char *host, unsigned host_port, unsigned port, const char *protocol) {
  report("port%c%s%c%u%c%u%c%s", 0, host, 0, host_port, 0, port, 0, protocol);
}

void report_exit(int code, int signal) { report("exit%c%d%c%d", 0, code, 0, signal); }
