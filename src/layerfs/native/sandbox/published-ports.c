/* Published ports, as the input has them, and as people are told of them. */
#include "sandbox.h"
#include "../bridge/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *protocol_of(const struct published_port *port) {
  return port->protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static void write_host(const struct published_port *port, char host[INET6_ADDRSTRLEN]) {
  const void *address = port->is_ipv6 ? (const void *)&port->host6 : &port->host;
  inet_ntop(port->is_ipv6 ? AF_INET6 : AF_INET, address, host, INET6_ADDRSTRLEN);
}

void fail_port(pid_t child, const struct published_port *port) {
  const int error = errno;
  char host[INET6_ADDRSTRLEN], detail[96];
  write_host(port, host);
  snprintf(detail, sizeof detail, port->is_ipv6 ? "[%s]:%u/%s" : "%s:%u/%s", host, port->host_port,
           protocol_of(port));
  errno = error;
  fail_with_child(child, "publish a port", detail);
}

static struct published_port read_port(char *const *words) {
  struct published_port port = {
      .host_port = (uint16_t)number(words[1], UINT16_MAX),
      .port = (uint16_t)number(words[2], UINT16_MAX),
      .protocol = strcmp(words[3], "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP,
  };
  port.is_twin = strcmp(words[0], "twin") == 0;
  if (port.is_twin) port.host6 = in6addr_any;
  port.is_ipv6 = port.is_twin || inet_pton(AF_INET6, words[0], &port.host6) == 1;
  if (!port.is_ipv6 && inet_pton(AF_INET, words[0], &port.host) != 1) {
    fail("read the operations", EINVAL, words[0]);
  }
  return port;
}

struct published_port *read_ports(pid_t child, size_t count) {
  struct published_port *ports = calloc(count + 1, sizeof *ports);
  if (ports == NULL) fail_with_child(child, "publish a port", "");
  for (size_t i = 0; i < count; i++) ports[i] = read_port(sandbox.published.at + 4 * i);
  return ports;
}

void report_ports(const struct published_port *ports, size_t count) {
  char host[INET6_ADDRSTRLEN];
  for (size_t i = 0; i < count; i++) {
    if (ports[i].is_twin && ports[i].host_port == 0) continue;
    write_host(&ports[i], host);
    report_port(host, ports[i].host_port, ports[i].port, protocol_of(&ports[i]));
  }
}
