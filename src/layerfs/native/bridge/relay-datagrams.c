#define _GNU_SOURCE
#include "relay-datagrams.h"

#include "relay-streams.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_PEERS = 512, MAX_DATAGRAM = 65536, DATAGRAMS_AT_ONCE = 64 };

struct gate {
  struct relay_source source;
  int fd;
  struct sockaddr_in to;
};

struct peer {
  struct relay_source source;
  const struct gate *gate;
  struct sockaddr_in6 address;
  int fd;            /* -1: it gave way */
  uint64_t last_use; /* a count, not a time */
  struct peer *next;
};

static int epoll_fd;
static struct peer *peers;
static unsigned peer_count;
static uint64_t uses;
static char bytes[MAX_DATAGRAM];

static bool is_of(const struct peer *peer, const struct gate *gate, const struct sockaddr_in6 *from) {
  return peer->fd != -1 && peer->gate == gate && peer->address.sin6_port == from->sin6_port &&
         peer->address.sin6_scope_id == from->sin6_scope_id &&
         memcmp(&peer->address.sin6_addr, &from->sin6_addr, sizeof from->sin6_addr) == 0;
}

static void give_way(struct peer *peer) {
  close(peer->fd);
  peer->fd = -1;
  peer_count--;
}

static struct peer *longest_silent(void) {
  struct peer *found = NULL;
  for (struct peer *peer = peers; peer != NULL; peer = peer->next) {
    if (peer->fd != -1 && (found == NULL || peer->last_use < found->last_use)) found = peer;
  }
  return found;
}

/* Of the container, back to who asked. */
static void peer_ready(struct relay_source *source, uint32_t events) {
  struct peer *peer = (struct peer *)source;
  (void)events;
  for (int i = 0; peer->fd != -1 && i < DATAGRAMS_AT_ONCE; i++) {
    const ssize_t size = recv(peer->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    /* ECONNREFUSED: nobody listens there. */
    if (size < 0) return;
    (void)!sendto(peer->gate->fd, bytes, (size_t)size, MSG_DONTWAIT,
                  (const struct sockaddr *)&peer->address, sizeof peer->address);
  }
}

static struct peer *add_peer(const struct gate *gate, const struct sockaddr_in6 *from) {
  struct peer *oldest = peer_count < MAX_PEERS ? NULL : longest_silent();
  if (oldest != NULL) give_way(oldest);
  struct peer *peer = calloc(1, sizeof *peer);
  if (peer == NULL) return NULL;
  *peer = (struct peer){.source = {peer_ready}, .gate = gate, .address = *from, .next = peers};
  peer->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &peer->source};
  if (peer->fd == -1 || connect(peer->fd, (const struct sockaddr *)&gate->to, sizeof gate->to) != 0 ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) != 0) {
    if (peer->fd != -1) close(peer->fd);
    free(peer);
    return NULL;
  }
  peers = peer;
  peer_count++;
  return peer;
}

static struct peer *peer_of(const struct gate *gate, const struct sockaddr_in6 *from) {
  for (struct peer *peer = peers; peer != NULL; peer = peer->next) {
    if (is_of(peer, gate, from)) return peer;
  }
  return add_peer(gate, from);
}

static void gate_ready(struct relay_source *source, uint32_t events) {
  const struct gate *gate = (const struct gate *)source;
  (void)events;
  for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
    struct sockaddr_in6 from = {0};
    socklen_t length = sizeof from;
    const ssize_t size =
        recvfrom(gate->fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    if (size < 0) return;
    struct peer *peer = peer_of(gate, &from);
    if (peer == NULL) continue;
    peer->last_use = ++uses;
    (void)!send(peer->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

void datagrams_sweep(void) {
  for (struct peer **place = &peers; *place != NULL;) {
    struct peer *peer = *place;
    if (peer->fd != -1) {
      place = &peer->next;
      continue;
    }
    *place = peer->next;
    free(peer);
  }
}

int datagrams_listen(int epoll, int socket, const struct sockaddr_in *to) {
  struct gate *gate = calloc(1, sizeof *gate);
  epoll_fd = epoll;
  if (gate == NULL) return -1;
  *gate = (struct gate){.source = {gate_ready}, .fd = socket, .to = *to};
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &gate->source};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}
