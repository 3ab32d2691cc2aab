/*
 * The operations, as the caller writes them to descriptor 3.
 *
 *   input: u32 length of all that follows · words
 *   word:  u32 length · bytes · NUL
 *
 * The first word of an operation is its name, the table says how many words follow. Integers are in
 * the machine's byte order. Everything is read before anything is done: a caller that dies half-way
 * leaves nothing. Operations that only set a value are applied here; those that build the file system
 * are kept in order. With "program-later" there is a second input, which PID 1 reads: a caller with
 * many containers has the namespaces of the next made before it knows what is to run in them.
 */
#include "bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The caller limits what a user can make it send; this only stops a corrupted length. */
static const uint32_t max_input = 256u << 20;

static void keep(struct steps *steps, void (*run)(const struct word *), const struct word *words) {
  steps->at = grow(steps->at, steps->count, sizeof *steps->at);
  steps->at[steps->count++] = (struct step){run, words};
}

/* They need no root. */
static void set_proc(const struct word *w) { keep(&sandbox.own, step_proc, w); }
static void set_sys(const struct word *w) { keep(&sandbox.own, step_sys, w); }
static void set_cgroup2(const struct word *w) { keep(&sandbox.own, step_cgroup2, w); }
static void set_dev(const struct word *w) { keep(&sandbox.own, step_dev, w); }
static void set_device(const struct word *w) { keep(&sandbox.own, step_device, w); }

static void set_lower(const struct word *w) { append(&sandbox.lower, w[0].text); }
static void set_upper(const struct word *w) {
  sandbox.upper = w[0].text;
  sandbox.work = w[1].text;
}
static void set_directory(const struct word *w) { sandbox.directory = w[0].text; }
static void set_mask(const struct word *w) { append(&sandbox.masked, w[0].text); }
static void set_read_only_path(const struct word *w) { append(&sandbox.read_only_paths, w[0].text); }
static void set_sysctl(const struct word *w) {
  append(&sandbox.sysctls, w[0].text);
  append(&sandbox.sysctls, w[1].text);
}
static void set_rlimit(const struct word *w) {
  for (int i = 0; i < 4; i++) append(&sandbox.rlimits, w[i].text);
}
static void set_oom_score_word(const struct word *w) { sandbox.oom_score = w[0].text; }
static void set_program_later(const struct word *w) {
  (void)w;
  sandbox.program_later = true;
}
static void set_filter(const struct word *w) { sandbox.filter = w; }
static void set_filter_flags(const struct word *w) {
  sandbox.filter_flags = (unsigned)number(w[0].text, UINT32_MAX);
}
static void set_device_filter(const struct word *w) { sandbox.device_filter = w; }
static void set_argument(const struct word *w) { append(&sandbox.argv, w[0].text); }
static void set_variable(const struct word *w) { append(&sandbox.env, w[0].text); }
static void set_cgroup(const struct word *w) { append(&sandbox.cgroups, w[0].text); }
static void set_cwd(const struct word *w) { sandbox.cwd = w[0].text; }
static void set_hostname(const struct word *w) { sandbox.hostname = w[0].text; }
static void set_domainname(const struct word *w) { sandbox.domainname = w[0].text; }
static void set_user(const struct word *w) {
  sandbox.uid = (uid_t)number(w[0].text, UINT32_MAX - 1);
  sandbox.gid = (gid_t)number(w[1].text, UINT32_MAX - 1);
}
static void set_group(const struct word *w) {
  sandbox.groups = grow(sandbox.groups, sandbox.group_count, sizeof *sandbox.groups);
  sandbox.groups[sandbox.group_count++] = (gid_t)number(w[0].text, UINT32_MAX - 1);
}
static void set_capability(const struct word *w) {
  sandbox.capabilities |= UINT64_C(1) << number(w[0].text, 63);
}
static void set_host_network(const struct word *w) {
  (void)w;
  sandbox.network = NETWORK_HOST;
}
static void set_bridge(const struct word *w) {
  sandbox.network = NETWORK_BRIDGE;
  sandbox.bridge = w;
}

static void set_user_network(const struct word *w) {
  sandbox.network = NETWORK_USER;
  sandbox.helper = w;
}

static void set_published(const struct word *w) {
  for (int i = 0; i < 4; i++) append(&sandbox.published, w[i].text);
}

static void set_own_cgroup(const struct word *w) { append(&sandbox.own_cgroups, w[0].text); }
static void set_memory_events(const struct word *w) { sandbox.memory_events = w[0].text; }
static void set_log_limit(const struct word *w) {
  sandbox.log_limit = number(w[0].text, INT64_MAX / 4);
}
static void set_discard(const struct word *w) { sandbox.discard = w; }
static void set_health(const struct word *w) { sandbox.health = w; }
static void set_namespaces(const struct word *w) {
  sandbox.bundle = true;
  sandbox.namespaces = number(w[0].text, UINT32_MAX);
}
static void set_join(const struct word *w) {
  append(&sandbox.joins, w[0].text);
  append(&sandbox.joins, w[1].text);
}
static void set_net_device(const struct word *w) {
  append(&sandbox.net_devices, w[0].text);
  append(&sandbox.net_devices, w[1].text);
}
static void set_id_maps(const struct word *w) {
  sandbox.uid_map = w[0].text;
  sandbox.gid_map = w[1].text;
}
static void set_runtime(const struct word *w) { sandbox.runtime = w; }
static void set_time_offset(const struct word *w) { append(&sandbox.time_offsets, w[0].text); }
static void set_start_socket(const struct word *w) { sandbox.start_socket = w[0].text; }
static void set_console_socket(const struct word *w) { sandbox.console_socket = w[0].text; }
static void set_console_size(const struct word *w) { sandbox.console_size = w; }
static void set_creation_mask(const struct word *w) { sandbox.creation_mask = w; }
static void set_propagation(const struct word *w) { sandbox.root_propagation = w; }
static void set_scheduler(const struct word *w) { sandbox.scheduler = w; }
static void set_io_priority_words(const struct word *w) { sandbox.io_priority = w; }
static void set_memory_policy_words(const struct word *w) { sandbox.memory_policy = w; }
static void set_personality_word(const struct word *w) { sandbox.personality = w; }
static void set_cpus(const struct word *w) {
  if (strcmp(w[0].text, "initial") == 0) sandbox.first_cpus = w + 1;
  else sandbox.last_cpus = w + 1;
}
static void set_hooks_state(const struct word *w) { sandbox.hooks_state = w; }
static void set_first_cgroup(const struct word *w) { sandbox.first_cgroup = w[0].text; }
static void set_preserved(const struct word *w) { sandbox.preserved = (unsigned)number(w[0].text, 1000); }
static void set_capability_set(const struct word *w) {
  static const char *const names[CAPABILITY_SETS] = {"permitted", "effective", "inheritable", "ambient"};
  static uint64_t sets[CAPABILITY_SETS];
  for (int i = 0; i < CAPABILITY_SETS; i++) {
    if (strcmp(names[i], w[0].text) != 0) continue;
    sets[i] = number(w[1].text, UINT64_MAX);
    sandbox.capability_sets[i] = &sets[i];
  }
}

static void set_option(const struct word *w) {
  static const struct {
    const char *name;
    bool *flag;
  } options[] = {
      {"own-terminals", &sandbox.own_terminals},
      {"overlay-classic", &sandbox.overlay_classic},
      {"overlay-user", &sandbox.overlay_user},
      {"overlay-volatile", &sandbox.overlay_volatile},
      {"bind-devices", &sandbox.bind_devices},
      {"borrow-sys", &sandbox.borrow_sys},
      {"detached", &sandbox.detached},
      {"host-ipc", &sandbox.host_ipc},
      {"host-pid", &sandbox.host_pid},
      {"host-uts", &sandbox.host_uts},
      {"init", &sandbox.init},
      {"joins-container", &sandbox.joins_container},
      {"keeps", &sandbox.keeps},
      {"logs", &sandbox.logs},
      {"no-new-privileges", &sandbox.no_new_privileges},
      {"read-only", &sandbox.read_only},
      {"seccomp", &sandbox.seccomp},
      {"terminal", &sandbox.terminal},
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    if (strcmp(options[i].name, w[0].text) != 0) continue;
    *options[i].flag = true;
    return;
  }
  fail("read the operations", EINVAL, w[0].text);
}

static const struct operation {
  const char *name;
  size_t words;
  void (*set)(const struct word *words); /* applied while reading */
  void (*run)(const struct word *words); /* or kept, to run in the container */
} operations[] = {
    {"lower", 1, set_lower, NULL},                     /* directory, top first */
    {"upper", 2, set_upper, NULL},                     /* directory, work directory */
    {"directory", 1, set_directory, NULL},             /* instead of an overlay */
    {"proc", 0, set_proc, NULL},                       /* */
    {"sys", 0, set_sys, NULL},                         /* */
    {"cgroup2", 0, set_cgroup2, NULL},                 /* */
    {"dev", 1, set_dev, NULL},                         /* bytes of /dev/shm */
    {"device", 2, set_device, NULL},                   /* path outside, name below /dev */
    {"bind", 4, set_bind, step_bind},                  /* source, target, rw|ro, plain|recursive */
    {"layer", 1, NULL, step_layer},                    /* directory, top first */
    {"layer-upper", 2, NULL, step_layer_upper},        /* directory, work directory */
    {"bind-layers", 3, NULL, step_bind_layers},        /* path in those, target, rw|ro */
    {"tmpfs", 3, NULL, step_tmpfs},                    /* target, size or "", mode */
    {"file", 5, NULL, step_file},                      /* target, mode, uid, gid, content */
    {"own-file", 5, NULL, step_own_file},              /* the same, but may be written */
    {"mask", 1, set_mask, NULL},                       /* absolute path in /proc or /sys */
    {"read-only-path", 1, set_read_only_path, NULL},   /* the same */
    {"sysctl", 2, set_sysctl, NULL},                   /* path below /proc/sys, value */
    {"rlimit", 4, set_rlimit, NULL},                   /* name, number, soft, hard */
    {"oom-score", 1, set_oom_score_word, NULL},        /* -1000 to 1000 */
    {"filter", 1, set_filter, NULL},                   /* BPF program for system calls */
    {"filter-flags", 1, set_filter_flags, NULL},       /* SECCOMP_FILTER_FLAG_* */
    {"device-filter", 3, set_device_filter, NULL},     /* version 2 cgroup to begin in, BPF program,
                                                          "exact" where mounts are no substitute */
    {"join", 2, set_join, NULL},                       /* kind of namespace, path: join.c */
    {"shared-memory", 1, set_shared_memory, step_shared_memory}, /* path of a mount namespace */
    {"hostname", 1, set_hostname, NULL},               /* */
    {"domainname", 1, set_domainname, NULL},           /* */
    {"host-network", 0, set_host_network, NULL},       /* default: a network of its own, lo only */
    {"bridge", 3, set_bridge, NULL},                   /* name, subnet, lock directory: bridge.h */
    {"user-network", 2, set_user_network, NULL},       /* "pasta" or "slirp4netns", its path */
    {"publish", 4, set_published, NULL},               /* address or "twin" (ports.h), port, container's
                                                          port, protocol */
    {"cgroup", 1, set_cgroup, NULL},                   /* path of a cgroup.procs file, outside */
    {"own-cgroup", 1, set_own_cgroup, NULL},           /* directory to remove at the end */
    {"memory-events", 1, set_memory_events, NULL},     /* file of a cgroup */
    {"discard", 2, set_discard, NULL},                 /* directory, where to at the end */
    {"health", 8, set_health, NULL},                   /* see health.h */
    {"log-limit", 1, set_log_limit, NULL},             /* bytes */
    {"user", 2, set_user, NULL},                       /* uid, gid */
    {"group", 1, set_group, NULL},                     /* gid */
    {"capability", 1, set_capability, NULL},           /* number */
    {"option", 1, set_option, NULL},                   /* see set_option() */
    {"cwd", 1, set_cwd, NULL},                         /* */
    {"argument", 1, set_argument, NULL},               /* */
    {"variable", 1, set_variable, NULL},               /* */
    {"program-later", 0, set_program_later, NULL},     /* */

    {"runtime", 3, set_runtime, NULL},                 /* program, bundle, id: by-runtime.c */

    /* Of bundles: bundle.h. The first makes the container one. */
    {"namespaces", 1, set_namespaces, NULL},           /* CLONE_NEW*, all that are its own */
    {"id-maps", 2, set_id_maps, NULL},                 /* lines of uid_map, of gid_map */
    {"time-offset", 1, set_time_offset, NULL},         /* line of timens_offsets */
    {"net-device", 2, set_net_device, NULL},           /* name, name in the container */
    {"start-socket", 1, set_start_socket, NULL},       /* path to make it at */
    {"console-socket", 1, set_console_socket, NULL},   /* path to send the terminal to */
    {"console-size", 2, set_console_size, NULL},       /* rows, columns */
    {"umask", 1, set_creation_mask, NULL},             /* decimal */
    {"root-propagation", 1, set_propagation, NULL},    /* MS_SHARED and its like */
    {"begin-in-cgroup", 1, set_first_cgroup, NULL},    /* directory of version 2 */
    {"preserve", 1, set_preserved, NULL},              /* how many descriptors */
    {"capability-set", 2, set_capability_set, NULL},   /* name, bits; the plain ones are the bounding set */
    {"scheduler", 8, set_scheduler, NULL},             /* policy, flags, 20 more than nice, priority, runtime,
                                                          deadline, period, the policy's name */
    {"io-priority", 3, set_io_priority_words, NULL},   /* class, priority, the class's name */
    {"memory-policy", 3, set_memory_policy_words, NULL}, /* mode and flags, set of nodes, the mode's name */
    {"personality", 1, set_personality_word, NULL},    /* PER_LINUX and its like */
    {"cpus", 3, set_cpus, NULL},                       /* initial|final, set, its words */
    {"hooks-state", 3, set_hooks_state, NULL},         /* what hooks of create, of start read before the
                                                          process id, and what after it */
    {"hook", 5, set_hook, NULL},                       /* stage, program, words, words, seconds */
    {"bind-source", 8, set_bind_source, step_bind_source}, /* see bundle-mounts.c */
    {"mapped-source", 11, set_mapped_source, step_bind_source}, /* see mapped-mounts.c */
    {"remount", 3, NULL, step_remount},                /* target, attributes to set, to clear */
    {"mount", 6, NULL, step_mount},                    /* the same */
    {"copied-tmpfs", 6, NULL, step_copied_tmpfs},      /* the same */
    {"default-devices", 0, NULL, step_default_devices}, /* */
    {"device-node", 7, NULL, step_device_node},        /* path, c|b|p, major, minor, mode, uid, gid */
};

static void read_fully(void *buffer, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = read(INPUT_FD, (char *)buffer + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    /* The end before the end: the caller is gone, and there is nobody to tell. */
    if (got <= 0) _exit(125);
    done += (size_t)got;
  }
}

/* Splits the bytes in place; ends with a word whose text is NULL. */
static struct word *split_words(char *bytes, uint32_t size) {
  struct word *words = NULL;
  size_t count = 0;
  uint32_t at = 0;
  while (at < size) {
    uint32_t length;
    if (size - at < sizeof length) fail("read the operations", EBADMSG, "");
    memcpy(&length, bytes + at, sizeof length);
    at += sizeof length;
    if (length >= size - at || bytes[at + length] != '\0') fail("read the operations", EBADMSG, "");
    words = grow(words, count, sizeof *words);
    words[count++] = (struct word){bytes + at, length};
    at += length + 1;
  }
  words = grow(words, count, sizeof *words);
  words[count] = (struct word){NULL, 0};
  return words;
}

static size_t words_left(const struct word *word) {
  size_t count = 0;
  while (word[count].text != NULL) count++;
  return count;
}

static const struct operation *find_operation(const struct word *word) {
  for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
    if (strcmp(operations[i].name, word->text) == 0) return &operations[i];
  }
  fail("read the operations", EINVAL, word->text);
}

void run_steps(const struct steps *steps) {
  for (size_t i = 0; i < steps->count; i++) steps->at[i].run(steps->at[i].words);
}

void read_input(void) {
  uint32_t size;
  read_fully(&size, sizeof size);
  if (size > max_input) fail("read the operations", EFBIG, "");
  char *bytes = malloc(size + 1);
  if (bytes == NULL) fail("read the operations", ENOMEM, "");
  read_fully(bytes, size);
  const struct word *word = split_words(bytes, size);
  size_t left = words_left(word);
  while (left > 0) {
    const struct operation *operation = find_operation(word++);
    left--;
    if (operation->words > left) fail("read the operations", EINVAL, operation->name);
    if (operation->set != NULL) operation->set(word);
    if (operation->run != NULL) keep(&sandbox.steps, operation->run, word);
    word += operation->words;
    left -= operation->words;
  }
  if (sandbox.argv.count == 0 && !sandbox.program_later) fail("read the operations", EINVAL, "argument");
}
