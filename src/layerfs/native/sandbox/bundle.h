/*
 * What containers of the runtime specification's bundles have beyond our own: namespaces that are
 * theirs, joined or the caller's, mounts of any kind, hooks, a start that comes later, and processes
 * that join them.
 *
 *   create   monitor: join, seal, clone ──► PID 1: sources, root, mounts ──'H'──► monitor ──made──►
 *            caller runs its hooks, writes a byte ──► monitor ──'G'──► PID 1: enters its root, is
 *            ready ──'C'──► monitor ──started──► ends (detached), and leaves PID 1 to its subreaper
 *   start    somebody connects to the start socket ──► PID 1 becomes the program; the connection
 *            closes when it is, and else brings the record of an error first
 *   join     as create, without a root of its own: the program starts at once
 *
 * Guarantees, beyond those of sandbox.h, of which (4) holds until 'C' for a detached container
 *  (8) This program's file is out of reach for who shares a process namespace with it: it runs from
 *      a sealed copy (CVE-2019-5736).
 *  (9) What a container's own processes may have prepared is not trusted by one that joins it: the
 *      host's files are opened before, the terminal is the kernel's (CVE-2025-52565).
 */
#ifndef SANDBOX_BUNDLE_H
#define SANDBOX_BUNDLE_H

#include "sandbox.h"

/* bundle.c */
_Noreturn void become_bundle(int monitor);
_Noreturn void become_joined(int monitor);

/* seal.c: starts this program again from a copy that nobody can write. */
void run_sealed(char **words);

/* join.c: in the monitor, before there are two processes; what is joined holds for both. */
void open_joined_cgroups(void);
void join_namespaces(void);
/* In the monitor: the maps of a new user namespace, then 'M'. */
void map_ids(pid_t child, int socket);
/* In PID 1: waits for the maps. Files of the host are open still as who started us. */
void wait_for_maps(int monitor);
/* Root of the namespace, who may make files where only mapped owners exist. */
void become_namespace_root(void);
/* In PID 1: through descriptors opened before the namespaces were joined. */
void enter_joined_cgroups(void);
void write_map(pid_t child, const char *file, const char *map);

/* net-devices.c: in the monitor, before it joins namespaces, and once PID 1 is there. */
void move_devices_to_joined(void);
void move_devices_to(pid_t child);

/* created.c: in the monitor, then in PID 1. */
void open_start_socket(void);
void tell_made(int monitor);
void wait_for_start(int monitor);

/* hooks.c */
enum hook_stage { CREATE_CONTAINER, START_CONTAINER };
struct hook {
  enum hook_stage stage;
  const struct word *words; /* stage, program, arguments, environment, seconds */
};
void set_hook(const struct word *words);
/* While our number is the host's, whose /proc is mounted, and no filter is loaded. */
void write_hook_states(void);
void run_hooks(enum hook_stage stage);

/* bundle-mounts.c */
void set_bind_source(const struct word *words);
int open_bind_source(const struct word *words);
void step_remount(const struct word *words);
void step_bind_source(const struct word *words);
void step_mount(const struct word *words);
void step_copied_tmpfs(const struct word *words);
void set_root_propagation(void);

/* mapped-mounts.c */
void set_mapped_source(const struct word *words);

/* scheduling.c: what is kept from then on. `cpus`: a set and its words, or NULL. */
void set_scheduling(void);
void set_affinity(const struct word *cpus);

/* copy-up.c: the directory's content, into another. */
void copy_up(int from, int to, const char *detail);

/* bundle-devices.c */
void step_default_devices(const struct word *words);
void step_device_node(const struct word *words);
/* Of the container that was joined, for its terminals. */
void open_joined_dev(void);

#endif
