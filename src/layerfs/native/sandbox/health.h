/*
 * Health checks: the monitor runs a command in its container, again and again, and writes down what
 * came of it. A timer and a file in a process that is there anyway; nothing is left to be noticed when
 * it is killed, as its container ends with it.
 *
 *   waiting ──interval──► probing ──it ended, or had to──► waiting        while paused: waiting
 *
 * A probe (probe.c) is this program once more, as `exec` starts it (bundle.h): from a sealed copy, with
 * the operations of a process that joins the container. They are known before; its first process is
 * descriptor 5, a directory of /proc.
 */
#ifndef SANDBOX_HEALTH_H
#define SANDBOX_HEALTH_H

#include "sandbox.h"

/* The words of the operation "health"; times are in milliseconds. */
enum {
  HEALTH_FILE,
  HEALTH_INTERVAL,
  HEALTH_TIMEOUT,
  HEALTH_START_PERIOD,
  HEALTH_START_INTERVAL,
  HEALTH_RETRIES,
  HEALTH_CGROUP, /* of the container, version 2; or empty */
  HEALTH_OPERATIONS,
};

/* One byte more than is shown tells that there was more. */
enum { PROBE_OUTPUT = 4096 + 1 };

/* What came of a probe: an exit code, or a word that says why there is none. */
struct probe_end {
  char result[16]; /* "0", "failed": the output is the words of an error record, "lost" */
  size_t size;
  char output[PROBE_OUTPUT];
};

enum probe_news { PROBE_RUNS, PROBE_STARTED, PROBE_ENDED };

/* What poll() is to look at. */
enum { PROBE_FDS = 3 };
struct pollfd;

/* probe.c: one at a time. */
void prepare_probes(pid_t container);
/* False, with errno, where the machine has no room for a process. */
bool start_probe(void);
void poll_probe(struct pollfd *fds);
enum probe_news hear_probe(const struct pollfd *fds, struct probe_end *end);
/* With its descendants. Its end is heard as of any other. */
void kill_probe(void);
bool is_container_paused(void);
/* Its first process has begun to: the kernel kills all others before anybody hears of that. */
bool is_container_ending(void);
/* The container has ended. */
void finish_probes(void);

/* health.c: of a container that has a health check, once it runs. */
void begin_health(pid_t container);
/* Milliseconds that poll() may wait, or -1. */
int poll_health(struct pollfd *fds);
void move_health(const struct pollfd *fds);
void end_health(void);

#endif
