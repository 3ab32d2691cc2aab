/*
 * Published ports of slirp4netns, which takes them through a socket only: one request, one answer,
 * one connection each. The socket is in a directory of ours, which goes when all have been asked for.
 */
#include "sandbox.h"
#include "../bridge/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char directory[] = "/tmp/tsrun-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

const char *slirp_socket(void) {
  if (mkdtemp(directory) == NULL) fail("publish a port", errno, directory);
  snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
  return address.sun_path;
}

void slirp_remove_socket(void) {
  unlink(address.sun_path);
  rmdir(directory);
}

/* It makes the socket some time after the network is there. */
static int connect_socket(void) {
  enum { PATIENCE_MS = 2000 };
  static const struct timeval patience = {.tv_sec = 5}; /* for its answers */
  for (int waited = 0; waited < PATIENCE_MS; waited++) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return -1;
}

static bool ask(const char *request, char *answer, size_t size) {
  const int fd = connect_socket();
  const size_t length = strlen(request);
  ssize_t got = -1;
  if (fd >= 0 && send(fd, request, length, MSG_NOSIGNAL) == (ssize_t)length) {
    got = recv(fd, answer, size - 1, 0);
  }
  if (fd >= 0) close(fd);
  answer[got > 0 ? got : 0] = '\0';
  return strstr(answer, "\"return\"") != NULL;
}

void slirp_publish(pid_t child, const struct published_port *port) {
  char host[INET_ADDRSTRLEN], request[256], answer[512];
  inet_ntop(AF_INET, &port->host, host, sizeof host);
  snprintf(request, sizeof request,
           "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"%s\",\"host_addr\":\"%s\","
           "\"host_port\":%u,\"guest_port\":%u}}",
           protocol_of(port), host, port->host_port, port->port);
  if (ask(request, answer, sizeof answer)) return;
  slirp_remove_socket();
  errno = EADDRINUSE; /* all that it refuses now: it was free a moment ago */
  fail_port(child, port);
}
