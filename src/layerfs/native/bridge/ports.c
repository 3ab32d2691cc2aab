#define _GNU_SOURCE
#include "ports.h"

#include "links.h"
#include "nftables.h"
#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS_PER_BATCH = 8 }; /* rules of this size fit a batch */

/* A socket that holds the port; it is never closed. A listening TCP socket is what others collide
 * with, in spite of SO_REUSEADDR, which is for connections that linger. */
static int hold(struct published_port *port) {
  const bool tcp = port->protocol == IPPROTO_TCP;
  const int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (fd == -1) return -1;
  const int on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port->host_port), .sin_addr = port->host};
  socklen_t size = sizeof address;
  if ((tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1) ||
      bind(fd, (const struct sockaddr *)&address, sizeof address) == -1 ||
      (tcp && listen(fd, 0) == -1) || getsockname(fd, (struct sockaddr *)&address, &size) == -1) {
    return -1;
  }
  port->host_port = ntohs(address.sin_port);
  return 0;
}

/* The same on IPv6 alone, for the relay. -1 with errno. */
static int hold6(const struct published_port *port, uint16_t *number) {
  const bool tcp = port->protocol == IPPROTO_TCP;
  const int type = (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const int fd = socket(AF_INET6, type, 0);
  if (fd == -1) return -1;
  const int on = 1;
  struct sockaddr_in6 address = {
      .sin6_family = AF_INET6, .sin6_port = htons(*number), .sin6_addr = port->host6};
  socklen_t size = sizeof address;
  if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == -1 ||
      (tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1) ||
      bind(fd, (const struct sockaddr *)&address, sizeof address) == -1 ||
      (tcp && listen(fd, SOMAXCONN) == -1) || getsockname(fd, (struct sockaddr *)&address, &size) == -1) {
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  *number = ntohs(address.sin6_port);
  return fd;
}

static bool has_no_ipv6(int error) {
  return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

/* `before`: of which it may be the twin. */
static int hold_any(struct published_port *port, const struct published_port *before, int *relayed) {
  *relayed = -1;
  if (!port->is_ipv6) return hold(port);
  const bool is_free_choice = port->host_port == 0;
  uint16_t number = port->is_twin && is_free_choice ? before->host_port : port->host_port;
  *relayed = hold6(port, &number);
  if (*relayed != -1) {
    port->host_port = number;
    return 0;
  }
  if (!port->is_twin || !(has_no_ipv6(errno) || (is_free_choice && errno == EADDRINUSE))) return -1;
  port->host_port = 0;
  return 0;
}

/* Without it the kernel takes packets from 127.0.0.1 on a bridge for forged ones. */
static int route_loopback(const char *bridge) {
  char path[64 + IFNAMSIZ];
  snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/route_localnet", bridge);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd == -1) return -1;
  const ssize_t written = TEMP_FAILURE_RETRY(write(fd, "1", 1));
  const int error = errno;
  close(fd);
  errno = error;
  return written == 1 ? 0 : -1;
}

static int reflect(const struct bridge_result *container, const char **step) {
  struct netlink links;
  char name[IFNAMSIZ];
  links_name(ntohl(container->address.s_addr), name);
  *step = "open a netlink socket to the links";
  if (netlink_open(&links, NETLINK_ROUTE) == -1) return -1;
  const int status = links_reflect(&links, name, step);
  netlink_close(&links);
  return status;
}

struct table {
  struct netlink *nl;
  struct nft_place prerouting, output, postrouting, ports;
  const char *bridge;
  const struct bridge_result *container;
};

static void put_jump(struct netlink_batch *batch, const struct nft_place *from) {
  const size_t rule = nft_begin_rule(batch, from, NFT_LAST);
  nft_jump(batch, "ports");
  nft_end_rule(batch, rule, "to published ports");
}

/* The answer must come back this way, so the container is to see the bridge's address: it would
 * answer a neighbour directly, and 127.0.0.1 not at all. */
static void put_return_ways(struct netlink_batch *batch, const struct table *table) {
  struct subnet own = {.network = 0, .prefix = table->container->prefix};
  own.network = ntohl(table->container->address.s_addr) & subnet_mask(&own);
  const struct subnet loopback = {.network = 0x7f000000, .prefix = 8};
  const struct subnet *const sources[] = {&own, &loopback};
  for (unsigned i = 0; i < 2; i++) {
    const size_t rule = nft_begin_rule(batch, &table->postrouting, NFT_LAST);
    nft_match_interface(batch, NFT_META_OIFNAME, NFT_CMP_EQ, table->bridge);
    nft_match_source(batch, sources[i]);
    nft_match_destination(batch, ntohl(table->container->address.s_addr), UINT32_MAX);
    nft_match_conntrack(batch, NFT_CT_STATUS, IPS_DST_NAT);
    nft_masquerade(batch);
    nft_end_rule(batch, rule, i == 0 ? "from neighbours" : "from this machine");
  }
}

static int make_table(const struct table *table, const char **step) {
  static const struct nft_hook before = {"nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST};
  static const struct nft_hook own = {"nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST};
  static const struct nft_hook after = {"nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC};
  struct netlink_batch batch = {0};
  nft_begin_transaction(&batch);
  nft_add_owned_table(&batch, &table->ports);
  nft_add_chain(&batch, &table->ports, NULL);
  nft_add_chain(&batch, &table->prerouting, &before);
  nft_add_chain(&batch, &table->output, &own);
  nft_add_chain(&batch, &table->postrouting, &after);
  put_jump(&batch, &table->prerouting);
  put_jump(&batch, &table->output);
  put_return_ways(&batch, table);
  nft_end_transaction(&batch);
  return netlink_commit(table->nl, &batch, step);
}

static void put_port(struct netlink_batch *batch, const struct table *table,
                     const struct published_port *port) {
  const size_t rule = nft_begin_rule(batch, &table->ports, NFT_LAST);
  if (port->host.s_addr == htonl(INADDR_ANY)) {
    nft_match_local(batch);
  } else {
    nft_match_destination(batch, ntohl(port->host.s_addr), UINT32_MAX);
  }
  nft_match_port(batch, port->protocol, port->host_port);
  nft_translate(batch, ntohl(table->container->address.s_addr), port->port);
  nft_end_rule(batch, rule, "published");
}

static int put_ports(const struct table *table, const struct published_port *ports, size_t count,
                     const char **step) {
  for (size_t first = 0; first < count; first += PORTS_PER_BATCH) {
    struct netlink_batch batch = {0};
    nft_begin_transaction(&batch);
    for (size_t i = first; i < count && i < first + PORTS_PER_BATCH; i++) {
      if (!ports[i].is_ipv6) put_port(&batch, table, &ports[i]);
    }
    nft_end_transaction(&batch);
    if (netlink_commit(table->nl, &batch, step) == -1) return -1;
  }
  return 0;
}

int ports_publish(const char *bridge, const struct bridge_result *container,
                  struct published_port *ports, size_t count, const struct published_port **failed,
                  const char **step) {
  struct relayed_port *relayed = calloc(count, sizeof *relayed);
  size_t relayed_count = 0;
  *step = "hold a port";
  *failed = NULL;
  if (relayed == NULL) return -1;
  for (size_t i = 0; i < count; i++) {
    int socket;
    *failed = &ports[i];
    if (hold_any(&ports[i], &ports[i == 0 ? 0 : i - 1], &socket) == -1) return -1;
    if (socket == -1) continue;
    relayed[relayed_count++] = (struct relayed_port){socket, ports[i].port, ports[i].protocol};
  }
  *failed = NULL;
  *step = "start the relay of IPv6";
  if (relayed_count > 0 && relay_start(container->address, relayed, relayed_count) == -1) return -1;
  free(relayed);
  *step = "route the loopback network on the bridge";
  if (route_loopback(bridge) == -1 || reflect(container, step) == -1) return -1;
  /* Never closed: the table is as long there as it. */
  static struct netlink nl;
  *step = "open a netlink socket to the firewall";
  if (netlink_open(&nl, NETLINK_NETFILTER) == -1) return -1;
  /* Our number, too: the table of who had the address last may be about to go. */
  char name[48];
  snprintf(name, sizeof name, "tsrun-%08x-%d", ntohl(container->address.s_addr), (int)getpid());
  const struct table table = {.nl = &nl,
                              .prerouting = {NFPROTO_INET, name, "prerouting"},
                              .output = {NFPROTO_INET, name, "output"},
                              .postrouting = {NFPROTO_INET, name, "postrouting"},
                              .ports = {NFPROTO_INET, name, "ports"},
                              .bridge = bridge,
                              .container = container};
  if (make_table(&table, step) == -1) return -1;
  return put_ports(&table, ports, count, step);
}
