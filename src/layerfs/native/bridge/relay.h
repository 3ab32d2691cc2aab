/*
 * Ports published on IPv6 addresses. Containers have IPv4 alone, and the kernel translates no address
 * of one into one of the other: a process carries the bytes, as docker's proxy does.
 *
 * 1. It ends with the monitor, however that ends, and with it the ports: nobody else has its sockets.
 * 2. What it reads comes from anybody. It has no rights and no files: it is nobody, in a root without
 *    files, with its sockets alone, and may gain nothing by executing anything.
 * 3. It is bounded in memory and descriptors: MAX_STREAMS connections, MAX_PEERS senders of datagrams,
 *    of which the one that was silent for longest gives way.
 */
#ifndef LAYERFS_BRIDGE_RELAY_H
#define LAYERFS_BRIDGE_RELAY_H

#include "ports.h"

struct relayed_port {
  int socket; /* bound, and listening for TCP */
  uint16_t port;
  uint8_t protocol;
};

/* Starts the process, which takes the sockets over: they are closed here. 0, or -1 with errno. */
int relay_start(struct in_addr container, const struct relayed_port *ports, size_t count);

#endif
