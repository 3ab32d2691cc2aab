/* Connections of the relay: see relay.h. */
#ifndef LAYERFS_BRIDGE_RELAY_STREAMS_H
#define LAYERFS_BRIDGE_RELAY_STREAMS_H

#include <netinet/in.h>
#include <stdint.h>

/* What an event of epoll points to. */
struct relay_source {
  void (*ready)(struct relay_source *source, uint32_t events);
};

/* Takes what connects to `socket`, for as many connections as there is room. 0, or -1 with errno. */
int streams_listen(int epoll, int socket, const struct sockaddr_in *to);
/* Frees connections that have ended. */
void streams_sweep(void);

#endif
