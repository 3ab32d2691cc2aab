#define _GNU_SOURCE
#include "subnet.h"

#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Tried in this order after the one asked for, so that a host comes to the same choice each time.
   One of each private range at least: a company's VPN often claims a whole one. */
static const char *const candidates[] = {
    "10.213.0.0/16", "10.87.0.0/16", "172.29.0.0/16", "172.30.0.0/16", "192.168.213.0/24",
};

enum {
  CANDIDATES = sizeof candidates / sizeof candidates[0],
  MIN_PREFIX = 8,
  MAX_PREFIX = 29,
  FIRST_HOST = 2, /* 0 is the network, 1 the gateway */
};

int subnet_parse(const char *text, struct subnet *subnet) {
  char address[INET_ADDRSTRLEN];
  unsigned prefix = 0;
  char rest = 0;
  struct in_addr network;
  if (sscanf(text, "%15[0-9.]/%2u%c", address, &prefix, &rest) == 2 &&
      inet_pton(AF_INET, address, &network) == 1) {
    *subnet = (struct subnet){.network = ntohl(network.s_addr), .prefix = prefix};
    if (subnet_usable(subnet) && (subnet->network & ~subnet_mask(subnet)) == 0) return 0;
  }
  errno = EINVAL;
  return -1;
}

bool subnet_usable(const struct subnet *subnet) {
  return subnet->prefix >= MIN_PREFIX && subnet->prefix <= MAX_PREFIX;
}

uint32_t subnet_mask(const struct subnet *subnet) {
  return UINT32_MAX << (32 - subnet->prefix);
}

uint32_t subnet_gateway(const struct subnet *subnet) {
  return subnet->network + 1;
}

static bool overlaps(const struct subnet *a, const struct subnet *b) {
  const uint32_t common = subnet_mask(a) & subnet_mask(b);
  return (a->network & common) == (b->network & common);
}

struct choice {
  struct subnet subnets[1 + CANDIDATES];
  bool taken[1 + CANDIDATES];
};

/* Routes wider than /8 are defaults in disguise (a VPN's 0.0.0.0/1) and take nothing. */
static void strike_out(const struct nlmsghdr *message, void *context) {
  struct choice *choice = context;
  if (message == NULL) {
    memset(choice->taken, 0, sizeof choice->taken);
    return;
  }
  const struct rtmsg *route = NLMSG_DATA(message);
  const struct nlattr *destination = netlink_find(message, sizeof *route, RTA_DST);
  if (message->nlmsg_type != RTM_NEWROUTE || route->rtm_dst_len < MIN_PREFIX ||
      destination == NULL) {
    return;
  }
  const struct subnet taken = {.network = ntohl(netlink_u32(destination)),
                               .prefix = route->rtm_dst_len};
  for (unsigned i = 0; i < 1 + CANDIDATES; i++)
    choice->taken[i] |= overlaps(&taken, &choice->subnets[i]);
}

int subnet_choose(struct netlink *nl, struct subnet *subnet) {
  struct choice choice = {.subnets[0] = *subnet};
  for (unsigned i = 0; i < CANDIDATES; i++) {
    if (subnet_parse(candidates[i], &choice.subnets[1 + i]) == -1) return -1;
  }

  struct netlink_batch batch = {0};
  struct rtmsg *filter =
      netlink_begin(&batch, "list the routes", RTM_GETROUTE, NLM_F_DUMP, sizeof *filter);
  filter->rtm_family = AF_INET;
  if (netlink_ask(nl, &batch, strike_out, &choice) == -1) return -1;
  for (unsigned i = 0; i < 1 + CANDIDATES; i++) {
    if (choice.taken[i]) continue;
    *subnet = choice.subnets[i];
    return 0;
  }
  errno = EADDRNOTAVAIL;
  return -1;
}

/* The byte of the file whose number is the address: the file stays empty, and there is nothing to
   clean up after a crash. The lock belongs to the open file, so children of the monitor may come
   and go. */
static int lock_byte(int fd, uint32_t address) {
  struct flock lock = {
      .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)address, .l_len = 1};
  return TEMP_FAILURE_RETRY(fcntl(fd, F_OFD_SETLK, &lock));
}

int subnet_claim(const struct subnet *subnet, int directory, uint32_t *last) {
  const int fd = openat(directory, "addresses", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd == -1) return -1;
  const uint32_t hosts = ~subnet_mask(subnet) - FIRST_HOST; /* without the broadcast address */
  const uint32_t first = subnet->network + FIRST_HOST;
  /* An address of elsewhere, or none yet: begin at the first. */
  const uint32_t start = *last - first < hosts ? *last - first + 1 : 0;
  for (uint32_t i = 0; i < hosts; i++) {
    const uint32_t address = first + (start + i) % hosts;
    if (lock_byte(fd, address) == 0) {
      *last = address;
      return fd;
    }
    if (errno != EAGAIN && errno != EACCES) break;
    errno = EADDRNOTAVAIL;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}
