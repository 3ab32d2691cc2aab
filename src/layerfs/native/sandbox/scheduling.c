/*
 * What a bundle says of how its process is scheduled: on which CPUs, with what priority for them and
 * for disks, from which memory nodes, and which kind of machine it is told it is on. All of it is kept
 * by whatever program the process becomes, and by its children.
 */
#include "bundle.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's, of its version 1; the C library has none. */
struct scheduling {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t least_use, most_use;
};

static void set_policy(void) {
  const struct word *w = sandbox.scheduler;
  if (w == NULL) return;
  const struct scheduling attributes = {
      .size = sizeof attributes,
      .policy = (uint32_t)number(w[0].text, UINT32_MAX),
      .flags = number(w[1].text, UINT32_MAX),
      .nice = (int32_t)number(w[2].text, 39) - 20,
      .priority = (uint32_t)number(w[3].text, UINT32_MAX),
      .runtime = number(w[4].text, UINT64_MAX),
      .deadline = number(w[5].text, UINT64_MAX),
      .period = number(w[6].text, UINT64_MAX),
  };
  if (syscall(SYS_sched_setattr, 0, &attributes, 0u) != 0) fail("set the scheduler", errno, w[7].text);
}

static void set_io_priority(void) {
  enum { OF_PROCESS = 1, CLASS_SHIFT = 13 };
  const struct word *w = sandbox.io_priority;
  if (w == NULL) return;
  const unsigned long value = number(w[0].text, 3) << CLASS_SHIFT | number(w[1].text, 7);
  if (syscall(SYS_ioprio_set, OF_PROCESS, 0, value) != 0) fail("set the I/O priority", errno, w[2].text);
}

/* Sets of numbers, of CPUs and of memory nodes, come as the kernel takes them. */
static void copy_set(const struct word *word, unsigned long *set, size_t size) {
  if (word->size > size) fail("read the operations", E2BIG, "");
  memset(set, 0, size);
  memcpy(set, word->text, word->size);
}

static void set_memory_policy(void) {
  const struct word *w = sandbox.memory_policy;
  unsigned long nodes[1024 / (8 * sizeof(long))];
  if (w == NULL) return;
  copy_set(&w[1], nodes, sizeof nodes);
  const bool names_nodes = w[1].size > 0;
  /* The kernel counts one bit less than it is told. */
  const long status = syscall(SYS_set_mempolicy, number(w[0].text, UINT32_MAX), names_nodes ? nodes : NULL,
                              names_nodes ? 8 * sizeof nodes + 1 : 0ul);
  if (status != 0) fail("set the memory policy", errno, w[2].text);
}

static void set_personality(void) {
  const struct word *w = sandbox.personality;
  if (w == NULL) return;
  if (personality(number(w[0].text, UINT32_MAX)) < 0) fail("set the personality", errno, w[0].text);
}

void set_affinity(const struct word *cpus) {
  unsigned long set[8192 / (8 * sizeof(long))];
  if (cpus == NULL) return;
  copy_set(&cpus[0], set, sizeof set);
  if (sched_setaffinity(0, sizeof set, (const cpu_set_t *)set) != 0) {
    fail("set the CPU affinity", errno, cpus[1].text);
  }
}

void set_scheduling(void) {
  set_memory_policy();
  set_personality();
  set_io_priority();
  set_policy();
}
