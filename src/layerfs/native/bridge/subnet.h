/*
 * Subnets and the addresses in them. Addresses are in host byte order here.
 */
#ifndef LAYERFS_BRIDGE_SUBNET_H
#define LAYERFS_BRIDGE_SUBNET_H

#include <stdbool.h>
#include <stdint.h>

struct subnet {
  uint32_t network;
  unsigned prefix;
};

struct netlink;

/* "10.213.0.0/16": no bits beyond the prefix, prefix 8 to 29. 0, or -1 with EINVAL. */
int subnet_parse(const char *text, struct subnet *subnet);
/* Large enough for containers, and no larger than a private range. */
bool subnet_usable(const struct subnet *subnet);
uint32_t subnet_mask(const struct subnet *subnet);
uint32_t subnet_gateway(const struct subnet *subnet);

/* Leaves `subnet` as it is when no route of the host overlaps it, else replaces it by the first of
   the fixed list that is free. 0, or -1 with errno; EADDRNOTAVAIL: all are taken. */
int subnet_choose(struct netlink *nl, struct subnet *subnet);

/* Claims an address that no other process holds, beginning after `*last` and setting it.
   Returns the file descriptor that keeps it, or -1 with errno; EADDRNOTAVAIL: all are held. */
int subnet_claim(const struct subnet *subnet, int directory, uint32_t *last);

#endif
