/*
 * Limits of the process itself, and the filter of devices where the cgroup's version wants one.
 * A limit that was asked for and cannot be set ends the run.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <linux/bpf.h>

/* Version 2 has no list of devices: a program decides. It lives as long as the cgroup. */
static int attach_program(const char *directory, const struct word *code) {
  static struct bpf_insn instructions[256];
  if (code->size > sizeof instructions || code->size % sizeof *instructions != 0) {
    errno = E2BIG;
    return -1;
  }
  memcpy(instructions, code->text, code->size); /* the bytes are not aligned */
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE};
  load.insn_cnt = (uint32_t)(code->size / sizeof *instructions);
  load.insns = (uintptr_t)instructions;
  load.license = (uintptr_t)"Apache-2.0";
  const int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  if (program < 0) return -1;
  const int cgroup = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  union bpf_attr attach = {.attach_type = BPF_CGROUP_DEVICE};
  attach.target_fd = (uint32_t)cgroup;
  attach.attach_bpf_fd = (uint32_t)program;
  /* Those of the cgroups above must allow a device, too. */
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  const int status = cgroup < 0 ? -1 : (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
  const int error = errno;
  if (cgroup >= 0) close(cgroup);
  close(program);
  errno = error;
  return status;
}

/* Whether the kernel has such programs at all, and lets us ask: to attach one takes no more, as who
 * may mount may do both. */
static bool has_device_filters(const char *directory) {
  const int cgroup = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  union bpf_attr query = {0};
  query.query.target_fd = (uint32_t)cgroup;
  query.query.attach_type = BPF_CGROUP_DEVICE;
  const bool has = cgroup >= 0 && syscall(SYS_bpf, BPF_PROG_QUERY, &query, sizeof query) == 0;
  const int error = errno;
  if (cgroup >= 0) close(cgroup);
  errno = error;
  return has;
}

void plan_device_filter(void) {
  if (sandbox.device_filter == NULL) return;
  const struct word *words = sandbox.device_filter;
  if (has_device_filters(words[0].text)) return;
  /* A kernel that cannot: mounts bound devices, too (7), but not how they are accessed. */
  if (strcmp(words[2].text, "exact") == 0) fail("bound the devices", errno, words[0].text);
  sandbox.bind_devices = true;
}

void attach_device_filter(pid_t child) {
  const struct word *words = sandbox.device_filter;
  if (words == NULL || sandbox.bind_devices || attach_program(words[0].text, &words[1]) == 0) return;
  fail_with_child(child, "bound the devices", words[0].text);
}

void set_oom_score(void) {
  if (sandbox.oom_score == NULL) return;
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  const size_t size = strlen(sandbox.oom_score);
  if (fd < 0 || write(fd, sandbox.oom_score, size) != (ssize_t)size) {
    fail("set the out-of-memory score", errno, sandbox.oom_score);
  }
  close(fd);
}

void set_resource_limits(void) {
  for (size_t i = 0; i + 3 < sandbox.rlimits.count; i += 4) {
    char *const *word = sandbox.rlimits.at + i;
    const struct rlimit limit = {number(word[2], RLIM_INFINITY), number(word[3], RLIM_INFINITY)};
    const int resource = (int)number(word[1], RLIM_NLIMITS - 1);
    if (setrlimit((__rlimit_resource_t)resource, &limit) != 0) {
      fail("set a resource limit", errno, word[0]);
    }
  }
}
