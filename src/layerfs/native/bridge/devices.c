#define _GNU_SOURCE

#include "devices.h"

#include "links.h"
#include "netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One that the kernel flushes when its device moves. */
struct address {
  struct ifaddrmsg header;
  uint32_t flags;
  size_t size;
  unsigned char local[16], peer[16], broadcast[16];
  bool has_broadcast;
};

enum { MOST_ADDRESSES = 1024 };

struct addresses {
  int index;
  size_t count;
  bool overflowed;
  struct address *at;
};

static bool copy(const struct nlattr *attribute, unsigned char *to, size_t size) {
  if (attribute == NULL || netlink_size(attribute) < size) return false;
  memcpy(to, netlink_data(attribute), size);
  return true;
}

static bool read_one(const struct nlmsghdr *message, const struct ifaddrmsg *header, struct address *address) {
  const size_t skip = sizeof *header;
  const struct nlattr *flags = netlink_find(message, skip, IFA_FLAGS);
  const struct nlattr *local = netlink_find(message, skip, IFA_LOCAL);
  const struct nlattr *peer = netlink_find(message, skip, IFA_ADDRESS);
  *address = (struct address){.header = *header,
                              .flags = flags == NULL ? header->ifa_flags : netlink_u32(flags),
                              .size = header->ifa_family == AF_INET ? 4 : 16};
  if (!copy(peer, address->peer, address->size)) return false;
  /* IPv6 has both only where they differ. */
  if (!copy(local, address->local, address->size)) memcpy(address->local, address->peer, address->size);
  address->has_broadcast =
      copy(netlink_find(message, skip, IFA_BROADCAST), address->broadcast, address->size);
  return true;
}

/* What somebody gave it, for the whole world: others are the namespace's own doing, or a server's. */
static void read_address(const struct nlmsghdr *message, void *context) {
  struct addresses *found = context;
  if (message == NULL) {
    found->count = 0;
    return;
  }
  const struct ifaddrmsg *header = NLMSG_DATA(message);
  if (message->nlmsg_type != RTM_NEWADDR || (int)header->ifa_index != found->index ||
      header->ifa_scope != RT_SCOPE_UNIVERSE ||
      (header->ifa_family != AF_INET && header->ifa_family != AF_INET6)) {
    return;
  }
  if (found->count == MOST_ADDRESSES) {
    found->overflowed = true;
    return;
  }
  struct address *address = &found->at[found->count];
  if (read_one(message, header, address) && (address->flags & IFA_F_PERMANENT) != 0) found->count++;
}

static int list_addresses(struct netlink *nl, struct addresses *found) {
  struct netlink_batch batch = {0};
  struct ifaddrmsg *filter =
      netlink_begin(&batch, "list addresses", RTM_GETADDR, NLM_F_DUMP, sizeof *filter);
  filter->ifa_family = AF_UNSPEC;
  if (netlink_ask(nl, &batch, read_address, found) == -1) return -1;
  if (!found->overflowed) return 0;
  errno = E2BIG;
  return -1;
}

static int add_address(struct netlink *nl, int index, const struct address *address, const char **step) {
  struct netlink_batch batch = {0};
  struct ifaddrmsg *header = netlink_begin(&batch, "give its addresses back to the network device", RTM_NEWADDR,
                                           NLM_F_CREATE | NLM_F_EXCL, sizeof *header);
  *header = address->header;
  header->ifa_index = (unsigned)index;
  header->ifa_flags = 0;
  netlink_put(&batch, IFA_LOCAL, address->local, address->size);
  netlink_put(&batch, IFA_ADDRESS, address->peer, address->size);
  if (address->has_broadcast) netlink_put(&batch, IFA_BROADCAST, address->broadcast, address->size);
  netlink_put_u32(&batch, IFA_FLAGS, address->flags & (IFA_F_NODAD | IFA_F_NOPREFIXROUTE));
  return netlink_commit(nl, &batch, step);
}

static int bring_up(struct netlink *nl, int index, const char **step) {
  struct netlink_batch batch = {0};
  struct ifinfomsg *link = netlink_begin(&batch, "bring up the network device", RTM_NEWLINK, 0, sizeof *link);
  link->ifi_index = index;
  link->ifi_flags = link->ifi_change = IFF_UP;
  return netlink_commit(nl, &batch, step);
}

/* Both in one message, so that no name is in the way that the device has only until then. */
static int move_and_rename(struct netlink *home, int index, const char *name, int namespace,
                           const char **step) {
  struct netlink_batch batch = {0};
  struct ifinfomsg *link = netlink_begin(&batch, "move the network device", RTM_NEWLINK, 0, sizeof *link);
  link->ifi_index = index;
  netlink_put_string(&batch, IFLA_IFNAME, name);
  netlink_put_u32(&batch, IFLA_NET_NS_FD, (uint32_t)namespace);
  return netlink_commit(home, &batch, step);
}

/* EEXIST: there is one of that name. */
static int assert_free(struct netlink *nl, const char *name) {
  int index;
  if (links_find(nl, name, &index) == 0) errno = EEXIST;
  return errno == ENODEV ? 0 : -1;
}

static int choose_name(struct netlink *nl, const char *wanted, char name[IFNAMSIZ]) {
  const char *template = strstr(wanted, "%d");
  snprintf(name, IFNAMSIZ, "%s", wanted);
  if (template == NULL) return assert_free(nl, name);
  for (int number = 0; number < 4096; number++) {
    const int size =
        snprintf(name, IFNAMSIZ, "%.*s%d%s", (int)(template - wanted), wanted, number, template + 2);
    if (size >= IFNAMSIZ) errno = ENAMETOOLONG;
    else if (assert_free(nl, name) == 0) return 0;
    if (errno != EEXIST) return -1;
  }
  return -1;
}

/* A socket stays in the namespace that it was made in. */
static int open_there(struct netlink *nl, int namespace, const char **step) {
  *step = "enter the network of the container for the network device";
  const int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (own == -1) return -1;
  int status = setns(namespace, CLONE_NEWNET);
  if (status == 0) {
    status = netlink_open(nl, NETLINK_ROUTE);
    if (setns(own, CLONE_NEWNET) == -1) status = -1;
  }
  const int error = errno;
  close(own);
  errno = error;
  return status;
}

static int complete(struct netlink *there, const char *name, const struct addresses *addresses,
                    const char **step) {
  int index;
  *step = "find again the network device";
  if (links_find(there, name, &index) == -1) return -1;
  for (size_t i = 0; i < addresses->count; i++) {
    if (add_address(there, index, &addresses->at[i], step) == -1) return -1;
  }
  return bring_up(there, index, step);
}

static int move(struct netlink *home, struct netlink *there, const char *device, const char *wanted,
                struct addresses *addresses, int namespace, const char **step) {
  char name[IFNAMSIZ];
  *step = "find the network device";
  if (links_find(home, device, &addresses->index) == -1) return -1;
  *step = "list the addresses of the network device";
  if (list_addresses(home, addresses) == -1) return -1;
  *step = "name the network device";
  if (choose_name(there, wanted, name) == -1) return -1;
  if (move_and_rename(home, addresses->index, name, namespace, step) == -1) return -1;
  return complete(there, name, addresses, step);
}

int device_move(struct netlink *home, const char *device, const char *name, int namespace,
                const char **step) {
  struct netlink there;
  struct addresses addresses = {.at = calloc(MOST_ADDRESSES, sizeof *addresses.at)};
  *step = "list the addresses of the network device";
  if (addresses.at == NULL) return -1;
  int status = open_there(&there, namespace, step);
  if (status == 0) {
    status = move(home, &there, device, name, &addresses, namespace, step);
    netlink_close(&there);
  }
  const int error = errno;
  free(addresses.at);
  errno = error;
  return status;
}
