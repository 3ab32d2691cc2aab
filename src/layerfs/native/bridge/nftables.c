#define _GNU_SOURCE
#include "nftables.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

static void begin_message(struct netlink_batch *batch, const char *step, uint16_t type,
                          uint16_t flags, uint8_t family) {
  struct nfgenmsg *header =
      netlink_begin(batch, step, (NFNL_SUBSYS_NFTABLES << 8) | type, flags, sizeof *header);
  *header = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
}

static void put_boundary(struct netlink_batch *batch, uint16_t type) {
  struct nfgenmsg *header = netlink_begin(batch, NULL, type, 0, sizeof *header);
  *header = (struct nfgenmsg){.version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
}

void nft_begin_transaction(struct netlink_batch *batch) {
  put_boundary(batch, NFNL_MSG_BATCH_BEGIN);
}

void nft_end_transaction(struct netlink_batch *batch) {
  put_boundary(batch, NFNL_MSG_BATCH_END);
}

void nft_add_table(struct netlink_batch *batch, const struct nft_place *place) {
  begin_message(batch, "create the firewall table", NFT_MSG_NEWTABLE, NLM_F_CREATE, place->family);
  netlink_put_string(batch, NFTA_TABLE_NAME, place->table);
}

void nft_add_owned_table(struct netlink_batch *batch, const struct nft_place *place) {
  begin_message(batch, "create a firewall table", NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL,
                place->family);
  netlink_put_string(batch, NFTA_TABLE_NAME, place->table);
  netlink_put_be32(batch, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
}

void nft_add_chain(struct netlink_batch *batch, const struct nft_place *place,
                   const struct nft_hook *hook) {
  begin_message(batch, "create a firewall chain", NFT_MSG_NEWCHAIN, NLM_F_CREATE, place->family);
  netlink_put_string(batch, NFTA_CHAIN_TABLE, place->table);
  netlink_put_string(batch, NFTA_CHAIN_NAME, place->chain);
  if (hook == NULL) return;
  netlink_put_string(batch, NFTA_CHAIN_TYPE, hook->type);
  const size_t nest = netlink_nest(batch, NFTA_CHAIN_HOOK);
  netlink_put_be32(batch, NFTA_HOOK_HOOKNUM, hook->hook);
  netlink_put_be32(batch, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
  netlink_end(batch, nest);
}

static void put_rule_place(struct netlink_batch *batch, const struct nft_place *place) {
  netlink_put_string(batch, NFTA_RULE_TABLE, place->table);
  netlink_put_string(batch, NFTA_RULE_CHAIN, place->chain);
}

void nft_flush_chain(struct netlink_batch *batch, const struct nft_place *place) {
  begin_message(batch, "empty a firewall chain", NFT_MSG_DELRULE, 0, place->family);
  put_rule_place(batch, place);
}

void nft_delete_rule(struct netlink_batch *batch, const struct nft_place *place, uint64_t handle) {
  const uint64_t value = htobe64(handle);
  begin_message(batch, "remove an old firewall rule", NFT_MSG_DELRULE, 0, place->family);
  put_rule_place(batch, place);
  netlink_put(batch, NFTA_RULE_HANDLE, &value, sizeof value);
}

size_t nft_begin_rule(struct netlink_batch *batch, const struct nft_place *place,
                      enum nft_position position) {
  const uint16_t flags = NLM_F_CREATE | (position == NFT_LAST ? NLM_F_APPEND : 0);
  begin_message(batch, "add a firewall rule", NFT_MSG_NEWRULE, flags, place->family);
  put_rule_place(batch, place);
  return netlink_nest(batch, NFTA_RULE_EXPRESSIONS);
}

/* Userdata as nft and iptables-nft read it: type 0 is a comment, then its length. */
enum { COMMENT = 0, COMMENT_BYTES = 128 };

void nft_end_rule(struct netlink_batch *batch, size_t rule, const char *comment) {
  netlink_end(batch, rule);
  unsigned char userdata[2 + COMMENT_BYTES] = {COMMENT};
  const size_t length = strnlen(comment, COMMENT_BYTES - 1) + 1;
  userdata[1] = (unsigned char)length;
  memcpy(userdata + 2, comment, length - 1);
  netlink_put(batch, NFTA_RULE_USERDATA, userdata, 2 + length);
}

struct expression {
  size_t element;
  size_t data;
};

static struct expression begin_expression(struct netlink_batch *batch, const char *name) {
  const size_t element = netlink_nest(batch, NFTA_LIST_ELEM);
  netlink_put_string(batch, NFTA_EXPR_NAME, name);
  return (struct expression){.element = element, .data = netlink_nest(batch, NFTA_EXPR_DATA)};
}

static void end_expression(struct netlink_batch *batch, struct expression expression) {
  netlink_end(batch, expression.data);
  netlink_end(batch, expression.element);
}

static void put_value(struct netlink_batch *batch, uint16_t type, const void *data, size_t size) {
  const size_t nest = netlink_nest(batch, type);
  netlink_put(batch, NFTA_DATA_VALUE, data, size);
  netlink_end(batch, nest);
}

static void load_meta(struct netlink_batch *batch, uint32_t key) {
  const struct expression meta = begin_expression(batch, "meta");
  netlink_put_be32(batch, NFTA_META_DREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_META_KEY, key);
  end_expression(batch, meta);
}

static void compare(struct netlink_batch *batch, uint32_t operation, const void *data,
                    size_t size) {
  const struct expression cmp = begin_expression(batch, "cmp");
  netlink_put_be32(batch, NFTA_CMP_SREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_CMP_OP, operation);
  put_value(batch, NFTA_CMP_DATA, data, size);
  end_expression(batch, cmp);
}

static void mask(struct netlink_batch *batch, uint32_t bits) {
  const uint32_t zero = 0;
  const struct expression bitwise = begin_expression(batch, "bitwise");
  netlink_put_be32(batch, NFTA_BITWISE_SREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_BITWISE_DREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_BITWISE_LEN, sizeof bits);
  put_value(batch, NFTA_BITWISE_MASK, &bits, sizeof bits);
  put_value(batch, NFTA_BITWISE_XOR, &zero, sizeof zero);
  end_expression(batch, bitwise);
}

void nft_match_interface(struct netlink_batch *batch, uint32_t meta_key, uint32_t operation,
                         const char *name) {
  char padded[IFNAMSIZ] = {0};
  snprintf(padded, sizeof padded, "%s", name);
  load_meta(batch, meta_key);
  compare(batch, operation, padded, sizeof padded);
}

static void load_payload(struct netlink_batch *batch, uint32_t base, uint32_t offset,
                         uint32_t length) {
  const struct expression payload = begin_expression(batch, "payload");
  netlink_put_be32(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_PAYLOAD_BASE, base);
  netlink_put_be32(batch, NFTA_PAYLOAD_OFFSET, offset);
  netlink_put_be32(batch, NFTA_PAYLOAD_LEN, length);
  end_expression(batch, payload);
}

/* In the IPv4 header. */
enum { SOURCE_OFFSET = 12, DESTINATION_OFFSET = 16 };

static void match_address(struct netlink_batch *batch, uint32_t offset, uint32_t address,
                          uint32_t bits) {
  const uint8_t ipv4 = NFPROTO_IPV4;
  const uint32_t wanted = htonl(address);
  load_meta(batch, NFT_META_NFPROTO);
  compare(batch, NFT_CMP_EQ, &ipv4, sizeof ipv4);
  load_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, offset, sizeof wanted);
  mask(batch, htonl(bits));
  compare(batch, NFT_CMP_EQ, &wanted, sizeof wanted);
}

void nft_match_source(struct netlink_batch *batch, const struct subnet *subnet) {
  match_address(batch, SOURCE_OFFSET, subnet->network, subnet_mask(subnet));
}

void nft_match_destination(struct netlink_batch *batch, uint32_t address, uint32_t bits) {
  match_address(batch, DESTINATION_OFFSET, address, bits);
}

void nft_match_local(struct netlink_batch *batch) {
  const uint8_t ipv4 = NFPROTO_IPV4;
  const uint32_t local = RTN_LOCAL;
  load_meta(batch, NFT_META_NFPROTO);
  compare(batch, NFT_CMP_EQ, &ipv4, sizeof ipv4);
  const struct expression fib = begin_expression(batch, "fib");
  netlink_put_be32(batch, NFTA_FIB_DREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  netlink_put_be32(batch, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  end_expression(batch, fib);
  compare(batch, NFT_CMP_EQ, &local, sizeof local); /* in host byte order */
}

void nft_match_port(struct netlink_batch *batch, uint8_t protocol, uint16_t port) {
  enum { PORT_OFFSET = 2 }; /* of the destination, in TCP and in UDP */
  const uint16_t wanted = htons(port);
  load_meta(batch, NFT_META_L4PROTO);
  compare(batch, NFT_CMP_EQ, &protocol, sizeof protocol);
  load_payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_OFFSET, sizeof wanted);
  compare(batch, NFT_CMP_EQ, &wanted, sizeof wanted);
}

void nft_match_conntrack(struct netlink_batch *batch, uint32_t key, uint32_t bits) {
  const uint32_t zero = 0;
  const struct expression ct = begin_expression(batch, "ct");
  netlink_put_be32(batch, NFTA_CT_DREG, NFT_REG_1);
  netlink_put_be32(batch, NFTA_CT_KEY, key);
  end_expression(batch, ct);
  mask(batch, bits); /* conntrack's values are in host byte order */
  compare(batch, NFT_CMP_NEQ, &zero, sizeof zero);
}

void nft_counter(struct netlink_batch *batch) {
  end_expression(batch, begin_expression(batch, "counter"));
}

void nft_masquerade(struct netlink_batch *batch) {
  end_expression(batch, begin_expression(batch, "masq"));
}

static void put_immediate(struct netlink_batch *batch, uint32_t to, const void *data, size_t size) {
  const struct expression immediate = begin_expression(batch, "immediate");
  netlink_put_be32(batch, NFTA_IMMEDIATE_DREG, to);
  put_value(batch, NFTA_IMMEDIATE_DATA, data, size);
  end_expression(batch, immediate);
}

void nft_translate(struct netlink_batch *batch, uint32_t address, uint16_t port) {
  const uint32_t to = htonl(address);
  const uint16_t at = htons(port);
  put_immediate(batch, NFT_REG_1, &to, sizeof to);
  put_immediate(batch, NFT_REG_2, &at, sizeof at);
  const struct expression nat = begin_expression(batch, "nat");
  netlink_put_be32(batch, NFTA_NAT_TYPE, NFT_NAT_DNAT);
  netlink_put_be32(batch, NFTA_NAT_FAMILY, NFPROTO_IPV4);
  netlink_put_be32(batch, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
  netlink_put_be32(batch, NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
  end_expression(batch, nat);
}

static void put_verdict(struct netlink_batch *batch, uint32_t verdict, const char *chain) {
  const struct expression immediate = begin_expression(batch, "immediate");
  netlink_put_be32(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  const size_t data = netlink_nest(batch, NFTA_IMMEDIATE_DATA);
  const size_t nest = netlink_nest(batch, NFTA_DATA_VERDICT);
  netlink_put_be32(batch, NFTA_VERDICT_CODE, verdict);
  if (chain != NULL) netlink_put_string(batch, NFTA_VERDICT_CHAIN, chain);
  netlink_end(batch, nest);
  netlink_end(batch, data);
  end_expression(batch, immediate);
}

void nft_jump(struct netlink_batch *batch, const char *chain) {
  put_verdict(batch, (uint32_t)NFT_JUMP, chain);
}

void nft_verdict(struct netlink_batch *batch, uint32_t verdict) {
  put_verdict(batch, verdict, NULL);
}

static bool has_comment(const struct nlattr *userdata, const char *comment) {
  const size_t length = strlen(comment) + 1;
  if (userdata == NULL || netlink_size(userdata) != 2 + length) return false;
  const unsigned char *bytes = netlink_data(userdata);
  return bytes[0] == COMMENT && bytes[1] == length && memcmp(bytes + 2, comment, length) == 0;
}

static void read_rule(const struct nlmsghdr *message, void *context) {
  struct nft_rules *rules = context;
  if (message == NULL) {
    rules->count = 0;
    return;
  }
  const size_t header = sizeof(struct nfgenmsg);
  const struct nlattr *handle = netlink_find(message, header, NFTA_RULE_HANDLE);
  if (netlink_size(handle) != sizeof rules->handles[0] ||
      !has_comment(netlink_find(message, header, NFTA_RULE_USERDATA), rules->comment))
    return;
  uint64_t value;
  memcpy(&value, netlink_data(handle), sizeof value);
  if (rules->count < NFT_HANDLES) rules->handles[rules->count] = be64toh(value);
  rules->count++;
}

int nft_find_rules(struct netlink *nl, const struct nft_place *place, struct nft_rules *rules) {
  struct netlink_batch batch = {0};
  begin_message(&batch, "list firewall rules", NFT_MSG_GETRULE, NLM_F_DUMP, place->family);
  put_rule_place(&batch, place);
  return netlink_ask(nl, &batch, read_rule, rules);
}

static void read_policy(const struct nlmsghdr *message, void *context) {
  enum nft_policy *policy = context;
  *policy = NFT_POLICY_NONE;
  if (message == NULL) return;
  const struct nlattr *found =
      netlink_find(message, sizeof(struct nfgenmsg), NFTA_CHAIN_POLICY);
  if (found != NULL)
    *policy = ntohl(netlink_u32(found)) == NF_DROP ? NFT_POLICY_DROP : NFT_POLICY_ACCEPT;
}

int nft_find_chain(struct netlink *nl, const struct nft_place *place, enum nft_policy *policy) {
  struct netlink_batch batch = {0};
  begin_message(&batch, "look for a firewall chain", NFT_MSG_GETCHAIN, 0, place->family);
  netlink_put_string(&batch, NFTA_CHAIN_TABLE, place->table);
  netlink_put_string(&batch, NFTA_CHAIN_NAME, place->chain);
  return netlink_ask(nl, &batch, read_policy, policy);
}
