/*
 * Netlink: messages built in a fixed buffer, sent together, answered one by one. Knows no links and
 * no rules.
 */
#ifndef LAYERFS_NETLINK_H
#define LAYERFS_NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETLINK_BATCH_BYTES = 8192, NETLINK_BATCH_MESSAGES = 32 };

struct netlink {
  int fd;
  uint32_t sequence;
};

/* Start with `= {0}`. Attributes are far smaller than `bytes`; when there are too many of them,
   netlink_commit() and netlink_ask() fail with EMSGSIZE and nothing is written outside. */
struct netlink_batch {
  _Alignas(struct nlmsghdr) unsigned char bytes[NETLINK_BATCH_BYTES];
  size_t length;
  size_t message; /* where the message being built begins */
  unsigned count;
  bool overflowed;
  const char *steps[NETLINK_BATCH_MESSAGES];
};

/* A socket of the network namespace that the caller is in at this moment; it stays there. */
int netlink_open(struct netlink *nl, int protocol);
/* Keeps errno. */
void netlink_close(struct netlink *nl);

/* Begins a message and returns its zeroed family header of `size` bytes. `step` names the message
   when the kernel refuses it; with NULL no answer is asked for. */
void *netlink_begin(struct netlink_batch *batch, const char *step, uint16_t type, uint16_t flags,
                    size_t size);
void netlink_put(struct netlink_batch *batch, uint16_t type, const void *data, size_t size);
void netlink_put_string(struct netlink_batch *batch, uint16_t type, const char *text);
void netlink_put_u32(struct netlink_batch *batch, uint16_t type, uint32_t value);
/* As netfilter has its numbers: big-endian. */
void netlink_put_be32(struct netlink_batch *batch, uint16_t type, uint32_t value);
/* Raw bytes without an attribute header, zeroed: a header inside a nest. */
void *netlink_put_header(struct netlink_batch *batch, size_t size);
size_t netlink_nest(struct netlink_batch *batch, uint16_t type);
void netlink_end(struct netlink_batch *batch, size_t nest);

/* Sends the batch and waits for every answer. 0, or -1 with errno and `*step` = the name of the
   first message refused; the kernel has tried the others all the same, unless they are one
   netfilter transaction. */
int netlink_commit(struct netlink *nl, struct netlink_batch *batch, const char **step);

/* Called for each answer, and with NULL whenever the answers begin anew, because the kernel said
   that they had changed while it was listing them. */
typedef void netlink_visitor(const struct nlmsghdr *message, void *context);
/* Sends the one message of the batch. 0, or -1 with errno. */
int netlink_ask(struct netlink *nl, struct netlink_batch *batch, netlink_visitor *visit,
                void *context);

/* The attribute after the family header, or NULL. */
const struct nlattr *netlink_find(const struct nlmsghdr *message, size_t header, uint16_t type);
const struct nlattr *netlink_find_in(const struct nlattr *nest, uint16_t type);
const void *netlink_data(const struct nlattr *attribute);
size_t netlink_size(const struct nlattr *attribute);
/* 0 for an absent or short attribute. */
uint32_t netlink_u32(const struct nlattr *attribute);

#endif
