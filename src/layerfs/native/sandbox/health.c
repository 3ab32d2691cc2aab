/*
 * When a container is probed, and what it is then: Docker's rules.
 *
 *   starting    until a probe succeeds, or `retries` in a row have failed, of which those do not count
 *               that began within the start period
 *   healthy     the last probe succeeded, or fewer than `retries` after it
 *   unhealthy   until one succeeds
 *
 * An interval begins when a probe has ended; in the start period of a container that is starting it is
 * another one. The time a probe has begins when its program runs.
 *
 * The file is written beside and renamed, so who reads it finds all of one moment:
 *
 *   STATUS STREAK
 *   START END RESULT SIZE     of each of the last five, the oldest first, with times in seconds
 *   SIZE bytes                what it wrote: any bytes at all
 *
 * RESULT is as in health.h, or "timeout". Where the disk is full the file stays as it was until the
 * next probe.
 */
#include "health.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { KEPT = 5 };

static struct result {
  struct timespec start, end;
  struct probe_end is;
} results[KEPT];
static size_t result_count;

enum status { STARTING, HEALTHY, UNHEALTHY };

static struct {
  bool is_checked, is_probing;
  bool is_late;    /* the probe, which has been killed */
  bool is_counted; /* the probe: a pause is nobody's failure, nor is the container's end */
  enum status status;
  unsigned long streak;
  long long started, probed; /* the container, the probe; milliseconds, as all here */
  long long next;            /* when there is something to do */
} health;

static const long long never = LLONG_MAX;

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static long long setting(int word) {
  return (long long)number(sandbox.health[word].text, LLONG_MAX / 4);
}

static struct result *newest(void) { return &results[result_count % KEPT]; }

static bool put(int fd, const char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t written = write(fd, bytes + done, size - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += (size_t)written;
  }
  return true;
}

static bool put_result(int fd, const struct result *result) {
  char head[128];
  const int size = snprintf(head, sizeof head, "%lld.%03ld %lld.%03ld %s %zu\n",
                            (long long)result->start.tv_sec, result->start.tv_nsec / 1000000,
                            (long long)result->end.tv_sec, result->end.tv_nsec / 1000000,
                            result->is.result, result->is.size);
  return put(fd, head, (size_t)size) && put(fd, result->is.output, result->is.size) && put(fd, "\n", 1);
}

static bool put_all(int fd) {
  static const char *const names[] = {"starting", "healthy", "unhealthy"};
  char head[64];
  const int size = snprintf(head, sizeof head, "%s %lu\n", names[health.status], health.streak);
  bool is_put = put(fd, head, (size_t)size);
  for (size_t i = result_count < KEPT ? 0 : result_count - KEPT; i < result_count; i++) {
    is_put = is_put && put_result(fd, &results[i % KEPT]);
  }
  return is_put;
}

static void write_down(void) {
  const char *path = sandbox.health[HEALTH_FILE].text;
  char beside[PATH_MAX];
  if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) return;
  const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const bool is_put = put_all(fd);
  close(fd);
  if (!is_put || rename(beside, path) != 0) unlink(beside);
}

static void wait_for_next(void) {
  const bool is_begun = health.status != STARTING || now() - health.started >= setting(HEALTH_START_PERIOD);
  health.is_probing = false;
  health.next = now() + setting(is_begun ? HEALTH_INTERVAL : HEALTH_START_INTERVAL);
}

static void count_failure(void) {
  const bool is_excused =
      health.status == STARTING && health.probed - health.started < setting(HEALTH_START_PERIOD);
  if (is_excused) return;
  health.streak++;
  if (health.streak >= (unsigned long)setting(HEALTH_RETRIES)) health.status = UNHEALTHY;
}

static void note_end(void) {
  struct result *result = newest();
  if (health.is_late) strcpy(result->is.result, "timeout");
  clock_gettime(CLOCK_REALTIME, &result->end);
  result_count++;
  if (strcmp(result->is.result, "0") == 0) {
    health.streak = 0;
    health.status = HEALTHY;
  } else {
    count_failure();
  }
  write_down();
}

static void probe(void) {
  if (is_container_paused()) {
    wait_for_next();
    return;
  }
  struct result *result = newest();
  *result = (struct result){0};
  clock_gettime(CLOCK_REALTIME, &result->start);
  health.probed = now();
  health.is_late = false;
  health.is_counted = true;
  health.is_probing = start_probe();
  health.next = health.probed + setting(HEALTH_TIMEOUT);
  if (health.is_probing) return;
  result->is.size = (size_t)snprintf(result->is.output, PROBE_OUTPUT, "start the container%c%d%cprobe", 0, errno, 0);
  strcpy(result->is.result, "failed");
  note_end();
  wait_for_next();
}

/* What it is frozen in is not its doing, nor what comes of it then. */
static void stop_late_probe(void) {
  health.is_late = true;
  health.is_counted = !is_container_paused();
  health.next = never;
  kill_probe();
}

void begin_health(pid_t container) {
  if (sandbox.health == NULL) return;
  prepare_probes(container);
  health.is_checked = true;
  health.started = now();
  write_down();
  wait_for_next();
}

int poll_health(struct pollfd *fds) {
  poll_probe(fds);
  if (!health.is_checked || health.next == never) return -1;
  const long long left = health.next - now();
  return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

void move_health(const struct pollfd *fds) {
  if (!health.is_checked) return;
  if (health.is_probing) {
    const enum probe_news news = hear_probe(fds, &newest()->is);
    if (news == PROBE_STARTED) health.next = now() + setting(HEALTH_TIMEOUT);
    if (news == PROBE_ENDED) {
      if (health.is_counted && !is_container_ending()) note_end();
      wait_for_next();
    }
  }
  if (now() < health.next) return;
  if (health.is_probing) stop_late_probe();
  else probe();
}

void end_health(void) {
  if (health.is_checked) finish_probes();
}
