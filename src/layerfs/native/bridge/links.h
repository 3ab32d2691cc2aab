/*
 * Links, addresses and routes of the bridge network, by rtnetlink.
 * Every function: 0, or -1 with errno, and `*step` says what was being done.
 */
#ifndef LAYERFS_BRIDGE_LINKS_H
#define LAYERFS_BRIDGE_LINKS_H

#include "subnet.h"

#include <linux/if.h>

struct netlink;

struct veth {
  char name[IFNAMSIZ]; /* of the end on the host */
  int bridge;          /* interface index */
  int namespace;       /* file descriptor of the container's network namespace */
  uint32_t address;
  struct subnet subnet;
};

/* Of the host's end of the pair with this address inside. */
void links_name(uint32_t address, char name[IFNAMSIZ]);

/* ENODEV: there is none of that name. */
int links_find(struct netlink *nl, const char *name, int *index);

/* Makes sure that the bridge exists and is up with the gateway's address, and gives its interface
   index. A bridge that has an address decides `subnet`; otherwise `subnet` is a wish. */
int links_bridge(struct netlink *nl, const char *name, struct subnet *subnet, int *index,
                 const char **step);

/* Makes the pair, with the container's end in its namespace. What is left of an earlier container
   that had the same address goes first. On failure nothing stays. */
int links_veth(struct netlink *nl, const struct veth *veth, const char **step);

/* Inside the container's namespace: lo and eth0 up, address, default route. */
int links_inside(const struct veth *veth, const char **step);

/* Lets what comes from the pair go back to it: a container that asks for its own published port.
   Where bridges pass through the packet filter (br_netfilter) that is one frame's way. */
int links_reflect(struct netlink *nl, const char *name, const char **step);

/* Removes a link if there is one of that name; with a veth, both ends. Keeps errno. */
void links_remove(struct netlink *nl, const char *name);

#endif
