/*
 * The packet filter's part of the bridge network.
 *
 * In our table `inet tsrun`, three chains per bridge:
 *   <bridge>-postrouting   what leaves the bridge's subnet for elsewhere takes the host's address
 *   <bridge>-forward       to a container goes what it asked for, what was published to it (DNAT)
 *                          and what comes from its neighbours; nothing else. Forwarding may have
 *                          been switched on by us, so others must not reach containers by routing.
 *   <bridge>-raw           from containers nothing goes to 127.0.0.0/8: see ports.h
 * They are written in one transaction, when they are missing or not as we write them: each rule
 * carries a comment naming bridge, subnet and version. Other chains of the table are left alone.
 *
 * An accept of ours cannot overrule another's drop: a packet must pass every base chain of a hook.
 * Docker, when it is the one that switches forwarding on, sets the policy of `ip filter FORWARD` to
 * drop, and keeps the chain DOCKER-USER for others to say what may pass: there two rules accept what
 * enters or leaves our bridge (the second is safe because the chain above has the last word). They
 * precede Docker's own, so our containers reach Docker's. A Docker started later than a container
 * cuts it off until the next attach adds them. Where a drop stands without DOCKER-USER (ufw,
 * firewalld), or Docker uses iptables-legacy, which nf_tables cannot see, the owner of the host must
 * accept the bridge's packets.
 */
#ifndef LAYERFS_BRIDGE_FIREWALL_H
#define LAYERFS_BRIDGE_FIREWALL_H

#include "subnet.h"

struct firewall {
  const char *bridge;
  struct subnet subnet;
};

/* `*blocked_by`: a well-known chain that drops forwarded packets by policy and that we may not
   write to, or NULL. 0, or -1 with errno, and `*step` says what was being done. */
int firewall_ensure(const struct firewall *firewall, const char **blocked_by, const char **step);

#endif
