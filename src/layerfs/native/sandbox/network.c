/* The container's network, from outside: attached, its ports published, reported. */
#include "sandbox.h"
#include "../bridge/ports.h"
#include "../bridge/bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

static _Noreturn void fail_network(pid_t child, const char *step, const char *detail) {
  const int error = errno;
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  fail(step, error, detail);
}

static struct published_port read_port(char *const *words) {
  struct published_port port = {
      .host_port = (uint16_t)number(words[1], UINT16_MAX),
      .port = (uint16_t)number(words[2], UINT16_MAX),
      .protocol = strcmp(words[3], "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP,
  };
  if (inet_pton(AF_INET, words[0], &port.host) != 1) fail("read the operations", EINVAL, words[0]);
  return port;
}

static const char *protocol_of(const struct published_port *port) {
  return port->protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static void publish(pid_t child, const struct bridge_result *result) {
  const size_t count = sandbox.published.count / 4;
  if (count == 0) return;
  struct published_port *ports = calloc(count, sizeof *ports);
  if (ports == NULL) fail_network(child, "publish a port", "");
  for (size_t i = 0; i < count; i++) ports[i] = read_port(sandbox.published.at + 4 * i);
  const struct published_port *failed = NULL;
  const char *step = "";
  char host[INET_ADDRSTRLEN], detail[64];
  if (ports_publish(sandbox.bridge[0].text, result, ports, count, &failed, &step) != 0) {
    if (failed == NULL) fail_network(child, "attach the network", step);
    inet_ntop(AF_INET, &failed->host, host, sizeof host);
    snprintf(detail, sizeof detail, "%s:%u/%s", host, failed->host_port, protocol_of(failed));
    fail_network(child, "publish a port", detail);
  }
  for (size_t i = 0; i < count; i++) {
    inet_ntop(AF_INET, &ports[i].host, host, sizeof host);
    report_port(host, ports[i].host_port, ports[i].port, protocol_of(&ports[i]));
  }
  free(ports);
}

void attach_network(pid_t child, int socket) {
  char address[INET_ADDRSTRLEN] = "", gateway[INET_ADDRSTRLEN];
  if (sandbox.network == NETWORK_BRIDGE) {
    const struct word *words = sandbox.bridge;
    const struct bridge_request request = {words[0].text, words[1].text, words[2].text};
    static struct bridge_result result; /* holds the lock that keeps the address */
    if (bridge_attach(child, &request, &result) != 0) {
      fail_network(child, "attach the network",
                   result.failed_step == NULL ? "" : result.failed_step);
    }
    publish(child, &result);
    inet_ntop(AF_INET, &result.address, address, sizeof address);
    inet_ntop(AF_INET, &result.gateway, gateway, sizeof gateway);
    report_network(address, gateway, result.blocked_by == NULL ? "" : result.blocked_by);
  }
  (void)!send(socket, address, strlen(address) + 1, MSG_NOSIGNAL);
}
