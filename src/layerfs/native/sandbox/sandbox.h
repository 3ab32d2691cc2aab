/*
 * sandbox: makes a container out of a list of operations and watches over it.
 *
 * Two processes. The MONITOR stays in the caller's namespaces: it reads the operations, starts the
 * second process in new namespaces, attaches its network, passes on signals and the terminal, and
 * reports how it ended. The second process is PID 1 of the container: it builds its own file
 * system, gives up its rights and becomes the user's program.
 *
 *   fd 0-2  the container's                fd 3  in: operations (input.c), then one byte per
 *   fd 4    out: records (report.c)      signal to deliver; end of file: the caller is gone
 *   fd 5-8  of a container that may outlive the caller: keep.c
 *
 * A caller with many containers has one more: a SPAWNER, of which their monitors are forks (spawner.c).
 *
 * Guarantees
 *  (1) Every mount is made in the container's own mount namespace and ends with it; nothing that
 *      the caller could leave mounted exists at any moment.
 *  (2) A path given by an image or a user is resolved inside the root by the kernel
 *      (RESOLVE_IN_ROOT), and what is mounted on is the open file, never its name a second time.
 *  (3) /dev, /proc and /sys are built on descriptors of file systems made here. What the image has
 *      at these names is never followed: a symbolic link there is an error.
 *  (4) The container ends with the caller, unless that let it go by a byte of fd 3: the monitor
 *      kills it when fd 3 ends, and the kernel kills PID 1 when the monitor ends, and with PID 1 all
 *      the rest. While PID 1 waits for its program (child.c) it reads fd 3, and ends when that does.
 *      (A monitor killed under a set-id program is the caller's, or the next command's, to notice:
 *      the kernel takes the tie off such programs.)
 *  (5) The program starts with descriptors 0-2 only, with exactly the capabilities asked for in the
 *      bounding set, none inheritable or ambient, and a working directory inside the root.
 *  (6) Until it is the user's program, PID 1 is not dumpable, and no other process shares its PID
 *      namespace: nothing in the container can reach this program's file through /proc. As an init
 *      (init.c) it stays so, with no descriptor of ours open.
 *      Where it shares one all the same, it runs from a sealed copy (bundle.h, 8), and what is left of
 *      the container's processes is killed by its cgroup when the first has ended.
 *  (7) No device works but those asked for, even for who may make nodes: a cgroup refuses the
 *      others, or, where none can, every mount but those of /dev's own devices is "nodev".
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#define _GNU_SOURCE

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Descriptors the caller gives us. */
enum { INPUT_FD = 3, REPORT_FD = 4, LOCK_FD = 5, CONTROL_FD = 6, END_FD = 7, LOG_FD = 8 };
/* Of a bundle, instead: what its program gets from 3, and then one that paths start from. */
enum { FIRST_PRESERVED = 5 };

/* On descriptor 3, where others are signals: the container lives on when the descriptor ends. */
enum { LET_GO = 255 };

/* A word of the input; `text` ends with a NUL that `size` does not count. */
struct word {
  char *text;
  uint32_t size;
};

/* A growing list of texts, NULL-terminated: usable as argv and envp. */
struct texts {
  char **at;
  size_t count;
};

/* Operations that run in order while the file system is built. */
struct step {
  void (*run)(const struct word *words);
  const struct word *words;
};
struct steps {
  struct step *at;
  size_t count;
};

enum capability_set { PERMITTED, EFFECTIVE, INHERITABLE, AMBIENT, CAPABILITY_SETS };

enum network { NETWORK_NONE, NETWORK_HOST, NETWORK_BRIDGE, NETWORK_USER };

/* What the input asks for. One per process; filled by read_input() and constant afterwards. */
struct sandbox {
  struct texts lower;
  const char *upper, *work, *directory;
  bool overlay_volatile, overlay_classic, overlay_user, read_only;
  struct steps own; /* /proc, /dev and /sys: before there is a root */
  struct steps steps;
  struct texts masked, read_only_paths, sysctls; /* sysctls: path, value */
  struct texts rlimits;                          /* name, number, soft, hard */
  struct texts argv, env, cgroups;
  const char *cwd, *hostname, *domainname, *oom_score;
  const struct word *filter;        /* system call filter as given, instead of the default */
  unsigned filter_flags;           /* SECCOMP_FILTER_FLAG_* */
  const struct word *device_filter; /* version 2 cgroup, BPF program, "exact" or "" */
  uid_t uid;
  gid_t gid;
  gid_t *groups;
  size_t group_count;
  uint64_t capabilities; /* bit N: capability number N */
  enum network network;
  const struct word *bridge;
  const struct word *helper; /* of NETWORK_USER: "pasta" or "slirp4netns", path */
  struct texts published; /* host address, host port, port, protocol */
  struct texts own_cgroups;     /* to be removed at the end */
  const char *memory_events;    /* counts how often memory ran out */
  const struct word *discard;   /* directory to move away at the end, and where */
  const struct word *health;    /* how it is checked: health.h; NULL: not at all */
  bool keeps, logs;             /* CONTROL_FD and END_FD; LOG_FD */
  unsigned long log_limit;      /* bytes of the log that are kept; 0: all */
  bool seccomp, no_new_privileges, terminal, init;
  bool program_later; /* PID 1 reads the rest, once it is in its namespaces */
  bool host_uts, host_ipc, host_pid; /* not of its own: the host's, or a joined one */
  bool own_terminals; /* there is no group 5 to give them to */
  bool borrow_sys;   /* the caller's /sys, as nobody here may mount one */
  bool bind_devices; /* no cgroup bounds the devices: none works but those of /dev */

  const struct word *runtime; /* program, bundle, id: by-runtime.c */

  /* A container of a bundle, or a process that joins one (bundle.h). */
  bool bundle, joins_container, detached;
  uint64_t namespaces;     /* CLONE_NEW*, all that a bundle's container has of its own */
  struct texts joins;      /* kind, path; of other containers, too */
  struct texts time_offsets;
  struct texts net_devices; /* name, name in the container */
  const char *uid_map, *gid_map;
  const char *first_cgroup; /* version 2, to begin in */
  const char *start_socket, *console_socket;
  const struct word *hooks_state; /* what hooks read: see input.c */
  const struct word *console_size, *creation_mask, *root_propagation;
  const struct word *scheduler, *io_priority, *memory_policy, *personality; /* scheduling.c */
  const struct word *first_cpus, *last_cpus; /* of a process that joins: before its cgroup, in it */
  struct hook *hooks;
  size_t hook_count;
  struct mount_source *sources; /* of binds: mounts.c */
  size_t source_count;
  const uint64_t *capability_sets[CAPABILITY_SETS]; /* NULL: as `capabilities` says */
  unsigned preserved; /* descriptors from FIRST_PRESERVED, for the program from 3 */
};

extern struct sandbox sandbox;

/* input.c: reads once, and a second time where the program comes later. */
void read_input(void);
void run_steps(const struct steps *steps);

/* settings.c */
unsigned long number(const char *text, unsigned long limit);
/* The array with room for one more than `count`. */
void *grow(void *array, size_t count, size_t size);
void append(struct texts *list, char *text);

/* report.c: `step` names what was attempted, `detail` the object it failed on. */
_Noreturn void fail(const char *step, int error, const char *detail);
/* In the monitor, once there is a PID 1, which ends first; 0: there is none yet. With errno. */
_Noreturn void fail_with_child(pid_t child, const char *step, const char *detail);
void report_error(const char *step, int error, const char *detail);
void report_created(const char *path, bool directory, const struct timespec times[2]);
void report_started(pid_t pid);
/* By a spawner's child, before anything else. */
void report_monitor(pid_t pid);
void report_network(const char *address, const char *gateway, const char *blocked_by);
void report_port(const char *host, unsigned host_port, unsigned port, const char *protocol);
void report_exit(int code, int signal);
/* In PID 1: a failure also tells the monitor, through `fd`, that nothing was started. */
void report_failures_to(int fd);
/* From now on somewhere else than to REPORT_FD. */
void report_to(int fd);
/* Where reports go, a second time, at `lowest` or above. */
int duplicate_report(int lowest);
/* The namespaces are there and the file system built, but for entering it: (bundle.h). */
void report_made(pid_t pid);

/* spawner.c: returns in each monitor that it makes. */
void spawn_monitors(void);

/* child.c: the way of PID 1, from its birth to the user's program. */
_Noreturn void become_container(int monitor);
/* Loopback device and names of the namespaces. */
void set_up_host_parts(void);
void start_loopback(void);
/* Until the network stands. */
void wait_for_monitor(int monitor);

/* by-runtime.c */
_Noreturn void become_runtime_container(int monitor);

/* root.c: what make_root() mounts lies over the parking. */
/* A detached overlay; -1 where the kernel takes layers by mount(2) only. */
int mount_overlay(const struct texts *lower, const char *upper, const char *work);
void make_root(void);
void enter_root(void);
void seal_root(void);

/* inside.c */
extern int root_fd;
int open_inside(int directory, const char *path, int flags, uint64_t resolve);
enum kind { KIND_DIRECTORY, KIND_FILE };
int open_target(const char *path, enum kind kind);
/* A directory of the root that no symbolic link leads to; made when the image lacks it. */
int open_fixed(const char *path);
void enter_working_directory(void);

/* mounts.c */
int new_filesystem(const char *type, const char *const options[][2], uint64_t attributes);
/* The first mount of all. */
void make_parking(void);
/* Once nothing more is opened by paths of the host. Whether it no longer lies over the host's root. */
bool put_parking_aside(void);
/* Attaches a mount out of sight, so that it can be cloned. */
void park(int mount);
void attach(int mount, int target, const char *detail);
void attach_at(int mount, const char *target, enum kind kind);
/* From now on nothing is attached on this mount at a path of the user's choice. */
void keep_uncovered(int mount);
int clone_mount(int fd, const char *path, bool recursive);
void set_attributes(int mount, uint64_t set, bool recursive, const char *detail);
/* What binds show: opened before anything is mounted in the root, so that it is the host and nothing
 * of ours over it, tied to the host's mounts as they are then. `take_source` gives the mount for the
 * operation. */
enum opener { BY_CHILD, BY_MONITOR };
void add_source(const struct word *words, int (*open_it)(const struct word *words), enum opener opener);
void open_sources(enum opener opener);
/* Of the monitor's, once PID 1 has them. */
void close_sources(void);
int take_source(const struct word *words);
void set_bind(const struct word *words);
void set_shared_memory(const struct word *words);
void step_shared_memory(const struct word *words);
void step_bind(const struct word *words);
void step_tmpfs(const struct word *words);
void step_file(const struct word *words);
void step_own_file(const struct word *words);
/* Adds the host name's line to the /etc/hosts that step_file() made, if it made one. */
void name_address(const char *address);

/* layers.c: the first two say what the third takes its source from. */
void step_layer(const struct word *words);
void step_layer_upper(const struct word *words);
void step_bind_layers(const struct word *words);

/* kernel.c: /proc, /sys and what is hidden in them. The steps make them out of sight. */
void step_proc(const struct word *words);
void step_sys(const struct word *words);
void step_cgroup2(const struct word *words);
void hide_paths(void);
/* Into the root, with what was mounted in them; dev.c has one for /dev. */
void attach_kernel_filesystems(void);
void write_sysctls(void);
/* Of our own process namespace, over the host's. */
void mount_own_proc(void);

/* dev.c */
extern int dev_fd;
void step_dev(const struct word *words);
void attach_dev(void);
void step_device(const struct word *words);
struct stat;
/* Like `like`, or, where no node would work, the host's own at `source`. */
void make_device(int place, const char *name, const char *source, const struct stat *like);
/* Devices and links that everybody has, but for those of which `is_there` says so. */
void make_default_devices(int place, bool (*is_there)(int, const char *, const struct stat *));

/* limits.c: the first two in the monitor, before PID 1 is there and before it goes on (with 0: before
 * it is there), the others in PID 1. */
void plan_device_filter(void);
void attach_device_filter(pid_t child);
void set_oom_score(void);
void set_resource_limits(void);

/* init.c: returns in a child that becomes the user's program; PID 1 stays to reap. */
void start_under_init(void);

/* terminal.c: the first in PID 1, the others in the monitor. */
void take_terminal(int monitor);
void open_console_socket(void);
/* To whoever listens at the console socket, or to and from the caller's. */
void hand_over_terminal(int master);
void relay_terminal(int master);
void resize_terminal(int master);
void restore_terminal(void);

/* relay.c: bytes that the monitor carries; two descriptors to poll for each flow. */
enum { MAX_FLOWS = 2 };
struct pollfd;
enum { TO_LOG = -1000 };
void add_flow(int from, int to); /* to a descriptor, or to TO_LOG + 1 or + 2: the log's streams */
size_t poll_flows(struct pollfd *fds);
void move_flows(const struct pollfd *fds);
void finish_flows(bool has_caller);
void make_output_pipes(void);     /* before there are two processes */
void write_to_output_pipes(void); /* in PID 1 */
void relay_output_pipes(void);    /* in the monitor */

/* log.c, keep.c: a container that lives on. */
void log_output(int stream, const char *bytes, size_t size);
/* Those that live on without their first process, in whose namespace they are not. */
void kill_the_rest(void);
void keep_end(int code, int signal);
void remove_cgroup(const char *path);
/* terminal.c: a descriptor over a socket, beside `what`. */
int send_descriptor(int socket, const char *what, size_t size, int descriptor);

/* network.c: connects PID 1's network and tells it to go on, with its address if it has one. */
void attach_network(pid_t child, int socket);

/* published-ports.c: as the input has them, and as people are told. */
struct published_port;
struct published_port *read_ports(pid_t child, size_t count);
void report_ports(const struct published_port *ports, size_t count);
_Noreturn void fail_port(pid_t child, const struct published_port *port);
const char *protocol_of(const struct published_port *port);

/* user-network.c, slirp-ports.c: the network of a container of who is not the host's root. */
void attach_user_network(pid_t child, struct published_port *ports, size_t count);
void end_user_network(void);
const char *slirp_socket(void);
void slirp_publish(pid_t child, const struct published_port *port);
void slirp_remove_socket(void);

/* monitor.c */
_Noreturn void watch(pid_t child, int child_socket);

/* privileges.c */
void give_up_privileges(void);

/* seccomp.c */
void load_seccomp(uint64_t capabilities);
void load_filter(const struct word *filter);

/* user-namespace.c: the other mode; its exit code, when it could not become the program. */
int enter_user_namespace(int count, char **words);

/* exec.c */
void assert_program(void);
/* All descriptors from `first` close when a program is executed, whoever left them open. */
void close_range_marked(unsigned first);
_Noreturn void run_program(void);

#endif
