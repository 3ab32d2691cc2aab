/*
 * System calls of the mount interface, by number: the C library learned them later than the kernel
 * (glibc 2.36, musl not yet). Include it instead of <sys/mount.h>, with which <linux/mount.h>
 * collides.
 */
#ifndef SANDBOX_CALLS_H
#define SANDBOX_CALLS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static inline int sys_openat2(int directory, const char *path, const struct open_how *how) {
  return (int)syscall(SYS_openat2, directory, path, how, sizeof *how);
}
static inline int sys_fsopen(const char *type) {
  return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}
static inline int sys_fsconfig(int fd, unsigned command, const char *key, const char *value) {
  return (int)syscall(SYS_fsconfig, fd, command, key, value, 0);
}
static inline int sys_fsmount(int fd, uint64_t attributes) {
  return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes);
}
static inline int sys_open_tree(int directory, const char *path, unsigned flags) {
  return (int)syscall(SYS_open_tree, directory, path, flags | OPEN_TREE_CLOEXEC);
}
static inline int sys_move_mount(int from, int to, const char *path, unsigned flags) {
  return (int)syscall(SYS_move_mount, from, "", to, path, flags | MOVE_MOUNT_F_EMPTY_PATH);
}
static inline int sys_mount_setattr(int fd, unsigned flags, const struct mount_attr *attr) {
  return (int)syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, attr, sizeof *attr);
}
static inline int sys_mount(const char *source, const char *target, const char *type,
                            unsigned long flags, const void *data) {
  return (int)syscall(SYS_mount, source, target, type, flags, data);
}
static inline int sys_umount(const char *target, int flags) {
  return (int)syscall(SYS_umount2, target, flags);
}
static inline int sys_pivot_root(const char *root, const char *old) {
  return (int)syscall(SYS_pivot_root, root, old);
}

#endif
