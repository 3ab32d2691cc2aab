/* Datagrams of the relay: see relay.h. */
#ifndef LAYERFS_BRIDGE_RELAY_DATAGRAMS_H
#define LAYERFS_BRIDGE_RELAY_DATAGRAMS_H

#include <netinet/in.h>

/* Each sender has a socket of its own to the container, by which answers find back. 0, or -1. */
int datagrams_listen(int epoll, int socket, const struct sockaddr_in *to);
/* Frees what gave way to others. */
void datagrams_sweep(void);

#endif
