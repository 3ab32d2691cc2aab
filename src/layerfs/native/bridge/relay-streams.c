#define _GNU_SOURCE
#include "relay-streams.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_STREAMS = 2048, FLOW_BYTES = 16384 };

/* One way of a connection: what was read and is not written yet. */
struct flow {
  char bytes[FLOW_BYTES];
  size_t begin, end;
  bool is_read; /* to its end */
  bool is_shut; /* and that told on */
};

struct side {
  struct relay_source source;
  struct connection *connection;
  int fd;
  uint32_t watched;
};

struct connection {
  struct side sides[2]; /* who connected, the container */
  struct flow flows[2]; /* from each to the other */
  bool is_connecting, has_ended;
  struct connection *next;
};

struct listener {
  struct relay_source source;
  int fd;
  struct sockaddr_in to;
  struct listener *next;
};

static int epoll_fd;
static struct listener *listeners;
static struct connection *connections;
static unsigned connection_count;
static bool is_full;

/* While there is room for no more, those who connect wait in the kernel. */
static void listen_again(bool listens) {
  if (is_full != listens) return;
  is_full = !listens;
  for (struct listener *one = listeners; one != NULL; one = one->next) {
    struct epoll_event event = {.events = listens ? EPOLLIN : 0, .data.ptr = &one->source};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, one->fd, &event);
  }
}

/* One that nothing is wanted of is not watched at all: epoll would tell for ever that it hung up. */
static void want(struct side *side, uint32_t events) {
  if (side->watched == events) return;
  const int operation = events == 0          ? EPOLL_CTL_DEL
                        : side->watched == 0 ? EPOLL_CTL_ADD
                                             : EPOLL_CTL_MOD;
  struct epoll_event event = {.events = events, .data.ptr = &side->source};
  if (epoll_ctl(epoll_fd, operation, side->fd, &event) == 0) side->watched = events;
  else side->connection->has_ended = true;
}

static bool can_wait(void) { return errno == EAGAIN || errno == EINTR; }

static bool move(struct flow *flow, int from, int to) {
  if (flow->begin == flow->end && !flow->is_read) {
    const ssize_t size = read(from, flow->bytes, sizeof flow->bytes);
    if (size < 0 && !can_wait()) return false;
    if (size == 0) flow->is_read = true;
    flow->begin = 0;
    flow->end = size > 0 ? (size_t)size : 0;
  }
  if (flow->begin < flow->end) {
    const ssize_t size = send(to, flow->bytes + flow->begin, flow->end - flow->begin, MSG_NOSIGNAL);
    if (size < 0 && !can_wait()) return false;
    if (size > 0) flow->begin += (size_t)size;
  }
  if (flow->is_read && flow->begin == flow->end && !flow->is_shut) {
    flow->is_shut = true;
    if (shutdown(to, SHUT_WR) != 0 && errno != ENOTCONN) return false;
  }
  return true;
}

/* Of each side: read when its flow is empty, written when the other's is not. */
static void watch_both(struct connection *connection) {
  for (int i = 0; i < 2; i++) {
    const struct flow *out = &connection->flows[i], *in = &connection->flows[!i];
    const uint32_t reads = !out->is_read && out->begin == out->end ? EPOLLIN : 0;
    const uint32_t writes = in->begin < in->end ? EPOLLOUT : 0;
    want(&connection->sides[i], reads | writes);
  }
}

/* Whether the container took the connection. */
static bool is_connected(struct connection *connection, uint32_t events) {
  int error = 0;
  socklen_t size = sizeof error;
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return true;
  if (getsockopt(connection->sides[1].fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return false;
  connection->is_connecting = false;
  return error == 0;
}

static void side_ready(struct relay_source *source, uint32_t events) {
  struct side *side = (struct side *)source;
  struct connection *connection = side->connection;
  if (connection->has_ended) return;
  if (connection->is_connecting && !is_connected(connection, events)) connection->has_ended = true;
  if (connection->has_ended || connection->is_connecting) return;
  for (int i = 0; i < 2; i++) {
    struct flow *flow = &connection->flows[i];
    if (!move(flow, connection->sides[i].fd, connection->sides[!i].fd)) connection->has_ended = true;
  }
  const bool is_over = connection->flows[0].is_shut && connection->flows[1].is_shut;
  /* Both ways are cut: nothing more can come, and this event would come for ever. */
  const bool is_broken = (events & EPOLLERR) != 0;
  if (is_over || is_broken) connection->has_ended = true;
  if (!connection->has_ended) watch_both(connection);
}

static void close_connection(struct connection *connection) {
  close(connection->sides[0].fd);
  close(connection->sides[1].fd);
  free(connection);
  connection_count--;
}

void streams_sweep(void) {
  for (struct connection **place = &connections; *place != NULL;) {
    struct connection *connection = *place;
    if (!connection->has_ended) {
      place = &connection->next;
      continue;
    }
    *place = connection->next;
    close_connection(connection);
  }
  if (connection_count < MAX_STREAMS) listen_again(true);
}

static void add_side(struct connection *connection, int which, int fd) {
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  connection->sides[which] = (struct side){.source = {side_ready}, .connection = connection, .fd = fd};
}

/* The client is read once the container has taken the connection. */
static bool connect_to(const struct sockaddr_in *to, int client) {
  struct connection *connection = calloc(1, sizeof *connection);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connection == NULL || fd == -1 ||
      (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS)) {
    if (fd != -1) close(fd);
    free(connection);
    return false;
  }
  add_side(connection, 0, client);
  add_side(connection, 1, fd);
  connection->is_connecting = true;
  connection->next = connections;
  connections = connection;
  connection_count++;
  want(&connection->sides[1], EPOLLOUT);
  return true;
}

static void listener_ready(struct relay_source *source, uint32_t events) {
  const struct listener *listener = (const struct listener *)source;
  (void)events;
  while (connection_count < MAX_STREAMS) {
    const int client = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client == -1) {
      /* The machine has none left: it would say so again at once. */
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) poll(NULL, 0, 10);
      return;
    }
    if (!connect_to(&listener->to, client)) close(client);
  }
  listen_again(false);
}

int streams_listen(int epoll, int socket, const struct sockaddr_in *to) {
  struct listener *listener = calloc(1, sizeof *listener);
  epoll_fd = epoll;
  if (listener == NULL) return -1;
  *listener = (struct listener){.source = {listener_ready}, .fd = socket, .to = *to, .next = listeners};
  listeners = listener;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->source};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}
