#define _GNU_SOURCE
#include "links.h"

#include "bridge.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char INSIDE[] = "eth0";

struct mac {
  unsigned char bytes[6];
};

/* Locally administered, and a function of the address: whoever gets an address next is reached
   through neighbours' ARP caches as they are. */
static struct mac mac_of(uint32_t address) {
  return (struct mac){{0x02, 0x42, (unsigned char)(address >> 24), (unsigned char)(address >> 16),
                       (unsigned char)(address >> 8), (unsigned char)address}};
}

/* In the network namespace the caller is in. A kernel without IPv6 has no such file. */
static int disable_ipv6(const char *link) {
  char path[64 + IFNAMSIZ];
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", link);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd == -1) return errno == ENOENT ? 0 : -1;
  const ssize_t written = TEMP_FAILURE_RETRY(write(fd, "1", 1));
  const int error = errno;
  close(fd);
  errno = error;
  return written == 1 ? 0 : -1;
}

void links_name(uint32_t address, char name[IFNAMSIZ]) {
  snprintf(name, IFNAMSIZ, "ve%08x", address);
}

static struct ifinfomsg *begin_link(struct netlink_batch *batch, const char *step, uint16_t flags,
                                    const char *name) {
  struct ifinfomsg *link = netlink_begin(batch, step, RTM_NEWLINK, flags, sizeof *link);
  netlink_put_string(batch, IFLA_IFNAME, name);
  return link;
}

static void put_up(struct netlink_batch *batch, const char *step, const char *name) {
  struct ifinfomsg *link = begin_link(batch, step, 0, name);
  link->ifi_flags = link->ifi_change = IFF_UP;
}

static void put_address(struct netlink_batch *batch, const char *step, int index,
                        const struct subnet *subnet, uint32_t address) {
  struct ifaddrmsg *header =
      netlink_begin(batch, step, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof *header);
  header->ifa_family = AF_INET;
  header->ifa_prefixlen = (unsigned char)subnet->prefix;
  header->ifa_index = (unsigned)index;
  netlink_put_be32(batch, IFA_LOCAL, address);
  netlink_put_be32(batch, IFA_ADDRESS, address);
  netlink_put_be32(batch, IFA_BROADCAST, subnet->network | ~subnet_mask(subnet));
}

struct link {
  int index;
  bool up;
  bool bridge;
};

static void read_link(const struct nlmsghdr *message, void *context) {
  struct link *link = context;
  *link = (struct link){0};
  if (message == NULL || message->nlmsg_type != RTM_NEWLINK) return;
  const struct ifinfomsg *header = NLMSG_DATA(message);
  const struct nlattr *kind =
      netlink_find_in(netlink_find(message, sizeof *header, IFLA_LINKINFO), IFLA_INFO_KIND);
  link->index = header->ifi_index;
  link->up = (header->ifi_flags & IFF_UP) != 0;
  link->bridge = netlink_size(kind) == sizeof "bridge" &&
                 memcmp(netlink_data(kind), "bridge", sizeof "bridge") == 0;
}

/* ENODEV: there is none of that name. */
static int find_link(struct netlink *nl, const char *name, struct link *link) {
  struct netlink_batch batch = {0};
  netlink_begin(&batch, "look for a link", RTM_GETLINK, 0, sizeof(struct ifinfomsg));
  netlink_put_string(&batch, IFLA_IFNAME, name);
  return netlink_ask(nl, &batch, read_link, link);
}

int links_find(struct netlink *nl, const char *name, int *index) {
  struct link link;
  if (find_link(nl, name, &link) == -1) return -1;
  *index = link.index;
  return 0;
}

struct found_address {
  int index;
  uint32_t local;
  struct subnet subnet; /* prefix 0: none */
};

static void read_address(const struct nlmsghdr *message, void *context) {
  struct found_address *found = context;
  if (message == NULL) {
    *found = (struct found_address){.index = found->index};
    return;
  }
  const struct ifaddrmsg *header = NLMSG_DATA(message);
  if (message->nlmsg_type != RTM_NEWADDR || (int)header->ifa_index != found->index ||
      found->subnet.prefix != 0 || header->ifa_prefixlen == 0) {
    return;
  }
  found->local = ntohl(netlink_u32(netlink_find(message, sizeof *header, IFA_LOCAL)));
  found->subnet.prefix = header->ifa_prefixlen;
  found->subnet.network = found->local & subnet_mask(&found->subnet);
}

/* `subnet` becomes the bridge's own when it has one. 1: it has; 0: it has not; -1 with errno;
   EADDRINUSE: somebody gave it an address that cannot be our gateway. */
static int find_subnet(struct netlink *nl, int index, struct subnet *subnet) {
  struct netlink_batch batch = {0};
  struct ifaddrmsg *filter =
      netlink_begin(&batch, "list addresses", RTM_GETADDR, NLM_F_DUMP, sizeof *filter);
  filter->ifa_family = AF_INET;
  filter->ifa_index = (unsigned)index;
  struct found_address found = {.index = index};
  if (netlink_ask(nl, &batch, read_address, &found) == -1) return -1;
  if (found.subnet.prefix == 0) return 0;
  if (!subnet_usable(&found.subnet) || found.local != subnet_gateway(&found.subnet)) {
    errno = EADDRINUSE;
    return -1;
  }
  *subnet = found.subnet;
  return 1;
}

/* The MAC is set: a bridge without one of its own takes that of a port, and changes it as ports
   come and go, which breaks its neighbours' ARP caches. */
static int create_bridge(struct netlink *nl, const char *name, const struct subnet *subnet,
                         const char **step) {
  const struct mac mac = mac_of(subnet_gateway(subnet));
  struct netlink_batch batch = {0};
  begin_link(&batch, "create the bridge", NLM_F_CREATE | NLM_F_EXCL, name);
  netlink_put(&batch, IFLA_ADDRESS, &mac, sizeof mac);
  const size_t info = netlink_nest(&batch, IFLA_LINKINFO);
  netlink_put_string(&batch, IFLA_INFO_KIND, "bridge");
  netlink_end(&batch, info);
  return netlink_commit(nl, &batch, step);
}

/* Up comes last: a bridge that is up and has an address is complete. */
static int complete_bridge(struct netlink *nl, const char *name, int index,
                           const struct subnet *subnet, const char **step) {
  *step = "switch IPv6 off on the bridge";
  if (disable_ipv6(name) == -1) return -1;
  struct netlink_batch batch = {0};
  put_address(&batch, "give the bridge its address", index, subnet, subnet_gateway(subnet));
  put_up(&batch, "bring the bridge up", name);
  return netlink_commit(nl, &batch, step);
}

int links_bridge(struct netlink *nl, const char *name, struct subnet *subnet, int *index,
                 const char **step) {
  struct link link;
  *step = "look for the bridge";
  const bool exists = find_link(nl, name, &link) == 0;
  if (!exists && errno != ENODEV) return -1;
  if (exists && !link.bridge) {
    *step = "reuse the interface, which is no bridge";
    errno = EEXIST;
    return -1;
  }
  *step = "use the bridge's address as the gateway";
  const int addressed = exists ? find_subnet(nl, link.index, subnet) : 0;
  if (addressed == -1) return -1;
  *step = "find a subnet that no route overlaps";
  if (addressed == 0 && subnet_choose(nl, subnet) == -1) return -1;
  if (!exists) {
    if (create_bridge(nl, name, subnet, step) == -1) return -1;
    *step = "look for the new bridge";
    if (find_link(nl, name, &link) == -1) return -1;
  }
  *index = link.index;
  return link.up && addressed == 1 ? 0 : complete_bridge(nl, name, link.index, subnet, step);
}

static int create_veth(struct netlink *nl, const struct veth *veth, const char **step) {
  const struct mac mac = mac_of(veth->address);
  struct netlink_batch batch = {0};
  struct ifinfomsg *link =
      begin_link(&batch, "create veth pair", NLM_F_CREATE | NLM_F_EXCL, veth->name);
  link->ifi_flags = link->ifi_change = IFF_UP;
  netlink_put_u32(&batch, IFLA_MASTER, (uint32_t)veth->bridge);
  const size_t info = netlink_nest(&batch, IFLA_LINKINFO);
  netlink_put_string(&batch, IFLA_INFO_KIND, "veth");
  const size_t data = netlink_nest(&batch, IFLA_INFO_DATA);
  const size_t peer = netlink_nest(&batch, VETH_INFO_PEER);
  netlink_put_header(&batch, sizeof(struct ifinfomsg));
  netlink_put_string(&batch, IFLA_IFNAME, INSIDE);
  netlink_put(&batch, IFLA_ADDRESS, &mac, sizeof mac);
  netlink_put_u32(&batch, IFLA_NET_NS_FD, (uint32_t)veth->namespace);
  netlink_end(&batch, peer);
  netlink_end(&batch, data);
  netlink_end(&batch, info);
  return netlink_commit(nl, &batch, step);
}

int links_veth(struct netlink *nl, const struct veth *veth, const char **step) {
  int status = create_veth(nl, veth, step);
  if (status == -1 && errno == EEXIST) {
    /* The address is ours by its lock, so a link of its name is a leftover: of a container that
       lived longer than its monitor, or of a namespace the kernel is still taking down. */
    links_remove(nl, veth->name);
    status = create_veth(nl, veth, step);
  }
  if (status == -1) return -1;
  /* Before eth0 is up there is no carrier, so no address has been made yet. */
  *step = "switch IPv6 off on the host's end of the veth pair";
  if (disable_ipv6(veth->name) == 0) return 0;
  links_remove(nl, veth->name);
  return -1;
}

/* Goes into the namespace, does there what cannot be done through a socket, and comes back. */
static int open_inside(const struct veth *veth, struct netlink *inside, const char **step) {
  *step = "open the host's network namespace";
  const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home == -1) return -1;
  *step = "enter the container's network namespace";
  int status = setns(veth->namespace, CLONE_NEWNET);
  if (status == 0) {
    *step = "switch IPv6 off on eth0";
    status = disable_ipv6(INSIDE) == 0 ? netlink_open(inside, NETLINK_ROUTE) : -1;
    const int error = errno;
    if (setns(home, CLONE_NEWNET) == -1) {
      *step = "return to the host's network namespace";
      status = -1;
    } else {
      errno = error;
    }
  }
  const int error = errno;
  close(home);
  errno = error;
  return status;
}

static void put_default_route(struct netlink_batch *batch, const struct veth *veth, int index) {
  struct rtmsg *route = netlink_begin(batch, "add the default route", RTM_NEWROUTE,
                                      NLM_F_CREATE | NLM_F_EXCL, sizeof *route);
  *route = (struct rtmsg){.rtm_family = AF_INET,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = RTPROT_BOOT,
                          .rtm_scope = RT_SCOPE_UNIVERSE,
                          .rtm_type = RTN_UNICAST};
  netlink_put_be32(batch, RTA_GATEWAY, subnet_gateway(&veth->subnet));
  netlink_put_u32(batch, RTA_OIF, (uint32_t)index);
}

int links_inside(const struct veth *veth, const char **step) {
  struct netlink inside;
  if (open_inside(veth, &inside, step) == -1) return -1;
  *step = "find eth0";
  struct link link;
  int status = find_link(&inside, INSIDE, &link);
  if (status == 0) {
    struct netlink_batch batch = {0};
    put_up(&batch, "bring lo up", "lo");
    put_address(&batch, "give eth0 its address", link.index, &veth->subnet, veth->address);
    put_up(&batch, "bring eth0 up", INSIDE);
    put_default_route(&batch, veth, link.index);
    status = netlink_commit(&inside, &batch, step);
  }
  netlink_close(&inside);
  return status;
}

int links_reflect(struct netlink *nl, const char *name, const char **step) {
  const uint8_t on = 1;
  struct netlink_batch batch = {0};
  begin_link(&batch, "let the bridge send frames back", 0, name);
  const size_t info = netlink_nest(&batch, IFLA_LINKINFO);
  netlink_put_string(&batch, IFLA_INFO_SLAVE_KIND, "bridge");
  const size_t data = netlink_nest(&batch, IFLA_INFO_SLAVE_DATA);
  netlink_put(&batch, IFLA_BRPORT_MODE, &on, sizeof on);
  netlink_end(&batch, data);
  netlink_end(&batch, info);
  return netlink_commit(nl, &batch, step);
}

void links_remove(struct netlink *nl, const char *name) {
  struct netlink_batch batch = {0};
  const char *step;
  netlink_begin(&batch, "remove a link", RTM_DELLINK, 0, sizeof(struct ifinfomsg));
  netlink_put_string(&batch, IFLA_IFNAME, name);
  const int error = errno;
  (void)netlink_commit(nl, &batch, &step); /* gone already is as good */
  errno = error;
}

int network_loopback_up(void) {
  struct netlink nl;
  if (netlink_open(&nl, NETLINK_ROUTE) == -1) return -1;
  struct netlink_batch batch = {0};
  const char *step;
  put_up(&batch, "bring lo up", "lo");
  const int status = netlink_commit(&nl, &batch, &step);
  netlink_close(&nl);
  return status;
}
