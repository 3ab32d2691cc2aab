/*
 * The log: what the program writes, in the lines that Kubernetes' runtimes write.
 *
 *   2026-11-20T16:54:47.123456789Z stdout F text      a line, whose end is the end of the line
 *   2026-11-20T16:54:47.123456789Z stdout P text      a part of a line; the next of its stream goes on
 *
 * No byte is lost or changed: the texts one after the other, with an end of line after each F, are
 * what was written. A record is in the file whole or not at all.
 *
 * With a limit, what is older goes from the disk: the file begins with a hole. All offsets stay, so
 * that who reads on is not disturbed.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 64 };

static char buffer[65536];
static size_t used;
/* Of the file: we are the only writer. */
static off_t written;

/* Now and then, and not for every record. Where holes cannot be had the file begins anew. */
static void forget(void) {
  enum { PAGE = 4096 };
  static off_t forgotten;
  const off_t limit = (off_t)sandbox.log_limit;
  if (limit == 0 || written - forgotten < limit + limit / 4 + PAGE) return;
  const off_t until = (written - limit) / PAGE * PAGE;
  const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (fallocate(LOG_FD, hole, forgotten, until - forgotten) == 0) {
    forgotten = until;
  } else if (ftruncate(LOG_FD, 0) == 0) {
    written = forgotten = 0;
  }
}

/* Where the disk is full the rest is lost, but no record is torn. */
static void flush(void) {
  for (size_t done = 0; done < used;) {
    ssize_t put = pwrite(LOG_FD, buffer + done, used - done, written + (off_t)done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      (void)!ftruncate(LOG_FD, written);
      used = 0;
      return;
    }
    done += (size_t)put;
  }
  written += (off_t)used;
  used = 0;
  forget();
}

static void put_record(const char *head, char kind, const char *text, size_t size) {
  if (used + HEAD + size + 1 > sizeof buffer) flush();
  used += (size_t)snprintf(buffer + used, HEAD, "%s %c ", head, kind);
  memcpy(buffer + used, text, size);
  used += size;
  buffer[used++] = '\n';
}

void log_output(int stream, const char *bytes, size_t size) {
  static bool has_begun;
  /* A container that was started again goes on where it ended. */
  if (!has_begun) written = lseek(LOG_FD, 0, SEEK_END);
  has_begun = true;
  char time[32], head[HEAD - 8];
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(head, sizeof head, "%s.%09ldZ %s", time, now.tv_nsec, stream == 2 ? "stderr" : "stdout");
  while (size > 0) {
    const char *end = memchr(bytes, '\n', size);
    const size_t length = end == NULL ? size : (size_t)(end - bytes);
    put_record(head, end == NULL ? 'P' : 'F', bytes, length);
    bytes += end == NULL ? length : length + 1;
    size -= end == NULL ? length : length + 1;
  }
  flush();
}
