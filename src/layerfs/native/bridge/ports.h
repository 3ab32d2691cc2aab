/*
 * Published ports: what reaches a port of this machine goes to one of a container.
 *
 * 1. Each monitor has a table of its own, `inet tsrun-<address>-<pid>`, owned by its netlink socket: the
 *    kernel removes it when the socket ends, whatever ends the monitor. Nothing is ever swept.
 * 2. Each port is held by a socket of the monitor, on which nothing ever arrives: so a port that
 *    somebody listens on, or that another container of ours or Docker's has published, is refused,
 *    and who comes later is told the same by the kernel.
 * 3. The address is rewritten in the kernel: for packets from elsewhere, for this machine's own
 *    (127.0.0.1 included, for which the bridge routes 127.0.0.0/8, and firewall.c keeps
 *    containers from using that), and for containers' that take the way through the host (hairpin).
 * 4. What is published on an IPv6 address is carried by a process: relay.h.
 */
#ifndef LAYERFS_BRIDGE_PORTS_H
#define LAYERFS_BRIDGE_PORTS_H

#include "bridge.h"

#include <stdbool.h>
#include <stdint.h>

struct published_port {
  struct in_addr host;   /* INADDR_ANY: all addresses of this machine */
  struct in6_addr host6; /* instead, when `is_ipv6` */
  bool is_ipv6;
  /* The one before on IPv6, too, by the same number: left out (its own number 0) where the machine has
     no IPv6. */
  bool is_twin;
  uint16_t host_port;    /* 0: any; then the one that was found */
  uint16_t port;         /* of the container */
  uint8_t protocol;      /* IPPROTO_TCP or IPPROTO_UDP */
};

/* Publishes `ports` for a container that is attached. They stay until the process ends: its
   descriptors are kept open, close-on-exec. 0, or -1 with errno, `*step`, and `*failed` the port
   that it was about, or NULL; then nothing is published once the process ended. */
int ports_publish(const char *bridge, const struct bridge_result *container,
                  struct published_port *ports, size_t count, const struct published_port **failed,
                  const char **step);

#endif
