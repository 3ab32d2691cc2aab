/* The container's network, from outside: attached, its ports published, reported. */
#include "sandbox.h"
#include "../bridge/ports.h"
#include "../bridge/bridge.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void publish(pid_t child, const struct bridge_result *result, struct published_port *ports,
                    size_t count) {
  const struct published_port *failed = NULL;
  const char *step = "";
  if (count == 0) return;
  if (ports_publish(sandbox.bridge[0].text, result, ports, count, &failed, &step) == 0) return;
  if (failed == NULL) fail_with_child(child, "attach the network", step);
  fail_port(child, failed);
}

/* `address` is written where it is known. */
static void attach_bridge(pid_t child, struct published_port *ports, size_t count, char *address) {
  const struct word *words = sandbox.bridge;
  const struct bridge_request request = {words[0].text, words[1].text, words[2].text};
  static struct bridge_result result; /* holds the lock that keeps the address */
  char gateway[INET_ADDRSTRLEN];
  if (bridge_attach(child, &request, &result) != 0) {
    fail_with_child(child, "attach the network", result.failed_step == NULL ? "" : result.failed_step);
  }
  publish(child, &result, ports, count);
  inet_ntop(AF_INET, &result.address, address, INET_ADDRSTRLEN);
  inet_ntop(AF_INET, &result.gateway, gateway, sizeof gateway);
  report_network(address, gateway, result.blocked_by == NULL ? "" : result.blocked_by);
}

void attach_network(pid_t child, int socket) {
  char address[INET_ADDRSTRLEN] = "";
  const size_t count = sandbox.published.count / 4;
  struct published_port *ports = read_ports(child, count);
  if (sandbox.network == NETWORK_BRIDGE) attach_bridge(child, ports, count, address);
  if (sandbox.network == NETWORK_USER) attach_user_network(child, ports, count);
  report_ports(ports, count);
  free(ports);
  (void)!send(socket, address, strlen(address) + 1, MSG_NOSIGNAL);
}
