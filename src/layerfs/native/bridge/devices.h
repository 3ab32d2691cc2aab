/*
 * Interfaces of this machine that go into a container's network: renamed on the way, with the addresses
 * that the kernel takes from what it moves, and up.
 * Every function: 0, or -1 with errno, and `*step` says what was being done.
 */
#ifndef LAYERFS_BRIDGE_DEVICES_H
#define LAYERFS_BRIDGE_DEVICES_H

struct netlink;

/* `home` is of the namespace that has the device. `name`: in the other one, whose file is
   `namespace`; a "%d" in it becomes the first number that is free there. A failure before the move
   leaves the device as it was. */
int device_move(struct netlink *home, const char *device, const char *name, int namespace,
                const char **step);

#endif
