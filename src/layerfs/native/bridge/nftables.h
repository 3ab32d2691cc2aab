/*
 * The words of nf_tables that the bridge's rules are written in, as netlink messages.
 */
#ifndef LAYERFS_BRIDGE_NFTABLES_H
#define LAYERFS_BRIDGE_NFTABLES_H

#include "subnet.h"
#include "netlink.h"

struct nft_place {
  uint8_t family; /* NFPROTO_… */
  const char *table;
  const char *chain;
};

enum { NFT_HANDLES = 16 };

/* The rules of a chain that carry our comment. */
struct nft_rules {
  const char *comment;
  unsigned count; /* also beyond NFT_HANDLES */
  uint64_t handles[NFT_HANDLES];
};

/* Everything between these two happens in one step or not at all. */
void nft_begin_transaction(struct netlink_batch *batch);
void nft_end_transaction(struct netlink_batch *batch);

struct nft_hook {
  const char *type; /* "nat", "filter" */
  uint32_t hook;    /* NF_INET_… */
  int32_t priority;
};

/* Both leave what exists as it is. A chain without a hook (NULL) is for others to jump to. */
void nft_add_table(struct netlink_batch *batch, const struct nft_place *place);
/* A new table that nobody else may change, and that the kernel removes when the socket is closed. */
void nft_add_owned_table(struct netlink_batch *batch, const struct nft_place *place);
void nft_add_chain(struct netlink_batch *batch, const struct nft_place *place,
                   const struct nft_hook *hook);
void nft_flush_chain(struct netlink_batch *batch, const struct nft_place *place);
void nft_delete_rule(struct netlink_batch *batch, const struct nft_place *place, uint64_t handle);

/* A rule is begun, given its expressions in order, and ended with its comment. */
enum nft_position { NFT_FIRST, NFT_LAST };
size_t nft_begin_rule(struct netlink_batch *batch, const struct nft_place *place,
                      enum nft_position position);
void nft_end_rule(struct netlink_batch *batch, size_t rule, const char *comment);

void nft_match_interface(struct netlink_batch *batch, uint32_t meta_key, uint32_t operation,
                         const char *name);
void nft_match_source(struct netlink_batch *batch, const struct subnet *subnet);
/* The IPv4 destination. */
void nft_match_destination(struct netlink_batch *batch, uint32_t address, uint32_t mask);
/* The destination is an address of this machine. */
void nft_match_local(struct netlink_batch *batch);
void nft_match_port(struct netlink_batch *batch, uint8_t protocol, uint16_t port);
/* Any of these bits of conntrack's `key` is set. */
void nft_match_conntrack(struct netlink_batch *batch, uint32_t key, uint32_t bits);
void nft_counter(struct netlink_batch *batch);
void nft_masquerade(struct netlink_batch *batch);
/* To another IPv4 address and port; address in host byte order, as everywhere here. */
void nft_translate(struct netlink_batch *batch, uint32_t address, uint16_t port);
void nft_jump(struct netlink_batch *batch, const char *chain);
void nft_verdict(struct netlink_batch *batch, uint32_t verdict);

/* Fills `rules`; an absent table or chain has none. 0, or -1 with errno. */
int nft_find_rules(struct netlink *nl, const struct nft_place *place, struct nft_rules *rules);

enum nft_policy { NFT_POLICY_NONE, NFT_POLICY_ACCEPT, NFT_POLICY_DROP };
/* NONE for a chain without a hook. 0, or -1 with errno; ENOENT: no such chain. */
int nft_find_chain(struct netlink *nl, const struct nft_place *place, enum nft_policy *policy);

#endif
