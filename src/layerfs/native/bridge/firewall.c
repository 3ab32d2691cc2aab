#define _GNU_SOURCE
#include "firewall.h"

#include "nftables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>

enum {
  VERSION = 2, /* of the rules: a change of them changes it */
  NAME_BYTES = 64,
  POSTROUTING_RULES = 1,
  FORWARD_RULES = 4,
  RAW_RULES = 1,
  DOCKER_RULES = 2,
};

static const struct nft_place docker_user = {NFPROTO_IPV4, "filter", "DOCKER-USER"};

struct names {
  char postrouting[NAME_BYTES];
  char forward[NAME_BYTES];
  char raw[NAME_BYTES];
  char comment[NAME_BYTES];
};

static struct names names_of(const struct firewall *firewall) {
  struct names names;
  const struct in_addr network = {htonl(firewall->subnet.network)};
  char address[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &network, address, sizeof address);
  snprintf(names.postrouting, sizeof names.postrouting, "%.15s-postrouting", firewall->bridge);
  snprintf(names.forward, sizeof names.forward, "%.15s-forward", firewall->bridge);
  snprintf(names.raw, sizeof names.raw, "%.15s-raw", firewall->bridge);
  snprintf(names.comment, sizeof names.comment, "tsrun %.15s %s/%u v%d", firewall->bridge, address,
           firewall->subnet.prefix, VERSION);
  return names;
}

/* ------------------------------------------------------------------ our own table */

static void put_postrouting(struct netlink_batch *batch, const struct nft_place *chain,
                            const struct firewall *firewall, const char *comment) {
  const size_t rule = nft_begin_rule(batch, chain, NFT_LAST);
  nft_match_source(batch, &firewall->subnet);
  nft_match_interface(batch, NFT_META_OIFNAME, NFT_CMP_NEQ, firewall->bridge);
  nft_masquerade(batch);
  nft_end_rule(batch, rule, comment);
}

static void put_forward(struct netlink_batch *batch, const struct nft_place *chain,
                        const char *bridge, const char *comment) {
  const struct {
    uint32_t interface;
    uint32_t conntrack; /* 0 with no bits: whatever the connection */
    uint32_t bits;
    uint32_t verdict;
  } rules[FORWARD_RULES] = {
      {NFT_META_IIFNAME, 0, 0, NF_ACCEPT},
      {NFT_META_OIFNAME, NFT_CT_STATE,
       NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED), NF_ACCEPT},
      {NFT_META_OIFNAME, NFT_CT_STATUS, IPS_DST_NAT, NF_ACCEPT},
      {NFT_META_OIFNAME, 0, 0, NF_DROP},
  };
  for (unsigned i = 0; i < FORWARD_RULES; i++) {
    const size_t rule = nft_begin_rule(batch, chain, NFT_LAST);
    nft_match_interface(batch, rules[i].interface, NFT_CMP_EQ, bridge);
    if (rules[i].bits != 0) nft_match_conntrack(batch, rules[i].conntrack, rules[i].bits);
    nft_verdict(batch, rules[i].verdict);
    nft_end_rule(batch, rule, comment);
  }
}

/* CVE-2020-8558: the bridge routes 127.0.0.0/8 for published ports, so what containers send there
 * themselves must go before anything looks at it. Answers to us are addressed to the bridge. */
static void put_raw(struct netlink_batch *batch, const struct nft_place *chain, const char *bridge,
                    const char *comment) {
  const size_t rule = nft_begin_rule(batch, chain, NFT_LAST);
  nft_match_interface(batch, NFT_META_IIFNAME, NFT_CMP_EQ, bridge);
  nft_match_destination(batch, 0x7f000000, 0xff000000);
  nft_verdict(batch, NF_DROP);
  nft_end_rule(batch, rule, comment);
}

/* 1: the chain is as we write it; 0: it is not; -1 with errno. */
static int is_current(struct netlink *nl, const struct nft_place *chain, const char *comment,
                      unsigned count) {
  struct nft_rules rules = {.comment = comment};
  return nft_find_rules(nl, chain, &rules) == -1 ? -1 : rules.count == count;
}

static int ensure_table(struct netlink *nl, const struct firewall *firewall, const char **step) {
  static const struct nft_hook nat = {"nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC};
  static const struct nft_hook filter = {"filter", NF_INET_FORWARD, NF_IP_PRI_FILTER};
  static const struct nft_hook early = {"filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW};
  const struct names names = names_of(firewall);
  const struct nft_place raw = {NFPROTO_INET, "tsrun", names.raw};
  const struct nft_place postrouting = {NFPROTO_INET, "tsrun", names.postrouting};
  const struct nft_place forward = {NFPROTO_INET, "tsrun", names.forward};

  *step = "read the firewall's rules";
  const int translated = is_current(nl, &postrouting, names.comment, POSTROUTING_RULES);
  const int filtered = is_current(nl, &forward, names.comment, FORWARD_RULES);
  const int guarded = is_current(nl, &raw, names.comment, RAW_RULES);
  if (translated == -1 || filtered == -1 || guarded == -1) return -1;
  if (translated && filtered && guarded) return 0;

  struct netlink_batch batch = {0};
  nft_begin_transaction(&batch);
  nft_add_table(&batch, &postrouting);
  nft_add_chain(&batch, &postrouting, &nat);
  nft_flush_chain(&batch, &postrouting);
  put_postrouting(&batch, &postrouting, firewall, names.comment);
  nft_add_chain(&batch, &forward, &filter);
  nft_flush_chain(&batch, &forward);
  put_forward(&batch, &forward, firewall->bridge, names.comment);
  nft_add_chain(&batch, &raw, &early);
  nft_flush_chain(&batch, &raw);
  put_raw(&batch, &raw, firewall->bridge, names.comment);
  nft_end_transaction(&batch);
  return netlink_commit(nl, &batch, step);
}

/* ------------------------------------------------------------------ Docker's chain for others */

/* Only what iptables itself could have written, or it would refuse to list the whole table. */
static void put_docker_rule(struct netlink_batch *batch, uint32_t interface, const char *bridge,
                            const char *comment) {
  const size_t rule = nft_begin_rule(batch, &docker_user, NFT_FIRST);
  nft_match_interface(batch, interface, NFT_CMP_EQ, bridge);
  nft_counter(batch);
  nft_verdict(batch, NF_ACCEPT);
  nft_end_rule(batch, rule, comment);
}

static int ensure_docker(struct netlink *nl, const char *bridge, const char **step) {
  char comment[NAME_BYTES];
  snprintf(comment, sizeof comment, "tsrun %.15s", bridge);
  struct nft_rules rules = {.comment = comment};
  *step = "read the chain DOCKER-USER";
  if (nft_find_rules(nl, &docker_user, &rules) == -1) return -1;
  if (rules.count == DOCKER_RULES) return 0;

  struct netlink_batch batch = {0};
  nft_begin_transaction(&batch);
  for (unsigned i = 0; i < rules.count && i < NFT_HANDLES; i++)
    nft_delete_rule(&batch, &docker_user, rules.handles[i]);
  put_docker_rule(&batch, NFT_META_OIFNAME, bridge, comment);
  put_docker_rule(&batch, NFT_META_IIFNAME, bridge, comment);
  nft_end_transaction(&batch);
  if (netlink_commit(nl, &batch, step) == 0) return 0;
  *step = "let the bridge through the chain DOCKER-USER";
  return -1;
}

/* ------------------------------------------------------------------ both */

/* Where iptables and Debian's nftables.conf put a policy for forwarded packets. */
static const struct known_chain {
  struct nft_place place;
  const char *name;
  bool docker_leads_past; /* what DOCKER-USER accepts does not meet the policy */
} known_chains[] = {
    {{NFPROTO_IPV4, "filter", "FORWARD"}, "ip filter FORWARD", true},
    {{NFPROTO_INET, "filter", "forward"}, "inet filter forward", false},
};

static const char *find_block(struct netlink *nl, bool docker) {
  for (unsigned i = 0; i < sizeof known_chains / sizeof known_chains[0]; i++) {
    const struct known_chain *known = &known_chains[i];
    enum nft_policy policy;
    if (nft_find_chain(nl, &known->place, &policy) == 0 && policy == NFT_POLICY_DROP &&
        !(docker && known->docker_leads_past))
      return known->name;
  }
  return NULL;
}

static int ensure_all(struct netlink *nl, const struct firewall *firewall,
                      const char **blocked_by, const char **step) {
  if (ensure_table(nl, firewall, step) == -1) return -1;
  enum nft_policy policy;
  *step = "look for the chain DOCKER-USER";
  const bool docker = nft_find_chain(nl, &docker_user, &policy) == 0;
  if (!docker && errno != ENOENT) return -1;
  *blocked_by = find_block(nl, docker);
  return docker ? ensure_docker(nl, firewall->bridge, step) : 0;
}

int firewall_ensure(const struct firewall *firewall, const char **blocked_by, const char **step) {
  struct netlink nl;
  *step = "open a netlink socket to the firewall";
  if (netlink_open(&nl, NETLINK_NETFILTER) == -1) return -1;
  const int status = ensure_all(&nl, firewall, blocked_by, step);
  netlink_close(&nl);
  return status;
}
