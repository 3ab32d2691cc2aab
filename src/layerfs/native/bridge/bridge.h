/*
 * The bridge network of containers: one bridge on the host, one veth pair per container, addresses
 * from a subnet, NAT to the outside.
 *
 * 1. Nothing runs and nothing leaks: an address is a lock held by the monitor, the pair dies with
 *    the container's network namespace; kill -9 of anybody frees both. The bridge, its rules and
 *    the lock directory stay, and the next attach checks and reuses them.
 * 2. Many attaches may run at once: what is shared is set up under one lock.
 * 3. Of the host's packet filter only the table `inet tsrun` is ours. In another's table we add
 *    rules in one place, Docker's chain for that purpose (see firewall.h).
 * 4. IPv4 only, but for published ports (relay.h). IPv6 is switched off on eth0, on the host's end and on the bridge: a link-local
 *    address alone makes programs try IPv6 in vain, and a container could pose as a router.
 *    `::1` works.
 *
 * A bridge has 1023 ports, which bounds the containers of one bridge.
 */
#ifndef LAYERFS_BRIDGE_H
#define LAYERFS_BRIDGE_H

#include <netinet/in.h>
#include <sys/types.h>

struct bridge_request {
  /* The interface: "tsrun0". A letter, then letters, digits, `_`, `-`, `.`; at most 15. */
  const char *name;
  /* "10.213.0.0/16", prefix 8 to 29; its first address is the gateway. A bridge that has an address
     keeps its subnet; a subnet that overlaps one of the host's routes gives way to the next of a
     fixed list (subnet.c). */
  const char *subnet;
  /* An absolute path; created, with its parents. */
  const char *lock_dir;
};

struct bridge_result {
  struct in_addr address;
  unsigned prefix;
  struct in_addr gateway;
  /* Keeps the address; hold it as long as the container lives. Close-on-exec. */
  int lock_fd;
  /* A chain of somebody else that drops forwarded packets by policy, so that the container may
     reach the host and its neighbours only ("ip filter FORWARD"); otherwise NULL. For a warning. */
  const char *blocked_by;
  const char *failed_step;
};

/* Connects the network namespace of `child`, which is a child not yet waited for, to the bridge:
   lo and eth0 up, address, default route. The caller has one thread and CAP_NET_ADMIN.
   0, or -1 with errno and failed_step, with the address free again and the pair removed. */
int bridge_attach(pid_t child, const struct bridge_request *request, struct bridge_result *result);

/* For a namespace without a network: called inside it. 0, or -1 with errno. */
int network_loopback_up(void);

#endif
