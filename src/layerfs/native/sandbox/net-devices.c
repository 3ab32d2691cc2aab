/*
 * Interfaces of this machine for a bundle's network. They are moved by who is where they are: before
 * any namespace is joined, where the network is one of those; else once PID 1 has its own, and before it
 * may go on. Those that were moved when something fails go as the namespace goes: the kernel brings
 * the machine's own back, and ends the others.
 */
#include "bundle.h"
#include "../bridge/devices.h"
#include "../bridge/netlink.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* `child`: 0 where there is none yet. */
static void move_all(pid_t child, const char *path) {
  struct netlink home;
  const char *step = "open the network namespace";
  const int namespace = open(path, O_RDONLY | O_CLOEXEC);
  if (namespace < 0 || netlink_open(&home, NETLINK_ROUTE) != 0) fail_with_child(child, step, path);
  for (size_t i = 0; i + 1 < sandbox.net_devices.count; i += 2) {
    const char *device = sandbox.net_devices.at[i], *name = sandbox.net_devices.at[i + 1];
    if (device_move(&home, device, name, namespace, &step) != 0) fail_with_child(child, step, device);
  }
  netlink_close(&home);
  close(namespace);
}

static const char *joined_network(void) {
  for (size_t i = 0; i + 1 < sandbox.joins.count; i += 2) {
    if (strcmp(sandbox.joins.at[i], "network") == 0) return sandbox.joins.at[i + 1];
  }
  return NULL;
}

void move_devices_to_joined(void) {
  const char *path = joined_network();
  if (sandbox.net_devices.count > 0 && path != NULL) move_all(0, path);
}

void move_devices_to(pid_t child) {
  char path[64];
  if (sandbox.net_devices.count == 0 || joined_network() != NULL) return;
  snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
  move_all(child, path);
}
