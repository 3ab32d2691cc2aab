/*
 * For bridge.test.ts: what the sandbox's monitor does about the network, and nothing else.
 *   bridge-attach NAME SUBNET LOCK_DIR [host]
 * PUBLISH="0.0.0.0 8080 7000 tcp" or one on an IPv6 address in the environment publishes a port of it.
 * Makes a child in a network namespace of its own (or, with `host`, in this one), attaches it, prints
 * one line of JSON and waits until standard input ends.
 */
#define _GNU_SOURCE
#include "../../src/layerfs/native/bridge/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t start_child(bool isolated) {
  int ready[2];
  char byte = 0;
  if (pipe2(ready, O_CLOEXEC) != 0) return -1;
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* It was killed before we asked for its end to be ours. */
    if (getppid() != parent) _exit(1);
    if (isolated && unshare(CLONE_NEWNET) != 0) _exit(1);
    if (write(ready[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  const ssize_t got = read(ready[0], &byte, 1);
  close(ready[0]);
  return got == 1 ? child : -1;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The port that it got, 0 without a wish, or -1. */
static int publish(const char *bridge, struct bridge_result *result) {
  const char *wish = getenv("PUBLISH");
  char host[INET6_ADDRSTRLEN], protocol[4];
  static struct published_port port;
  const struct published_port *failed;
  if (wish == NULL) return 0;
  sscanf(wish, "%45s %hu %hu %3s", host, &port.host_port, &port.port, protocol);
  port.is_ipv6 = inet_pton(AF_INET6, host, &port.host6) == 1;
  if (!port.is_ipv6) inet_pton(AF_INET, host, &port.host);
  port.protocol = strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
  if (ports_publish(bridge, result, &port, 1, &failed, &result->failed_step) == -1) return -1;
  return port.host_port;
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  const pid_t child = start_child(count == 4);
  if (child == -1) return 2;
  const struct bridge_request request = {arguments[1], arguments[2], arguments[3]};
  struct bridge_result result;
  const double start = milliseconds();
  int status = bridge_attach(child, &request, &result);
  const int port = status == 0 ? publish(arguments[1], &result) : 0;
  if (port == -1) status = -1;
  const int error = errno;
  const double took = milliseconds() - start;
  if (status == 0) {
    printf("{\"pid\":%d,\"address\":\"%s\",\"prefix\":%u,\"blockedBy\":\"%s\",\"port\":%d,\"took\":%.3f}\n",
           (int)child, inet_ntoa(result.address), result.prefix,
           result.blocked_by == NULL ? "" : result.blocked_by, port, took);
  } else {
    printf("{\"failedStep\":\"%s\",\"error\":\"%s\"}\n", result.failed_step, strerrorname_np(error));
  }
  fflush(stdout);
  char byte;
  while (status == 0 && read(STDIN_FILENO, &byte, 1) > 0) continue;
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return status == 0 ? 0 : 1;
}
