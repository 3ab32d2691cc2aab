/*
 * The ways of a bundle's PID 1 and of a process that joins a container, as child.c has ours. What
 * is host's comes first; the monitor's word that hooks have run is awaited before the root is
 * entered, the start after all that can fail for want of a file or a right.
 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tie_to_monitor(void) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("tie to the monitor", errno, "");
  prctl(PR_SET_DUMPABLE, 0);
}

static void begin(int monitor) {
  report_failures_to(monitor);
  tie_to_monitor();
  /* The directory that paths were opened from, the last descriptor that the caller gave us. */
  close(FIRST_PRESERVED + (int)sandbox.preserved);
  umask(0);
  setsid();
  if (!sandbox.detached) write_to_output_pipes();
}

/* Keys of the caller's session are not the container's; see child.c. */
static void leave_keyring(void) { (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL); }

static void enter_own_cgroups(void) {
  enter_joined_cgroups();
  if ((sandbox.namespaces & CLONE_NEWCGROUP) == 0) return;
  if (unshare(CLONE_NEWCGROUP) != 0) fail("create namespaces", errno, "cgroup");
}

static void build_root(int monitor) {
  write_hook_states();
  open_sources(BY_CHILD);
  make_parking();
  make_root();
  become_namespace_root();
  tie_to_monitor(); /* which another user is no longer */
  run_steps(&sandbox.steps);
  tell_made(monitor);
  run_hooks(CREATE_CONTAINER);
  enter_root();
  write_sysctls();
  hide_paths();
}

void become_bundle(int monitor) {
  begin(monitor);
  set_oom_score();
  wait_for_maps(monitor);
  enter_own_cgroups();
  set_up_host_parts();
  leave_keyring();
  build_root(monitor);
  enter_working_directory();
  if (sandbox.terminal) take_terminal(monitor);
  set_root_propagation();
  seal_root();
  set_resource_limits();
  set_scheduling();
  assert_program();
  wait_for_start(monitor);
  give_up_privileges();
  run_hooks(START_CONTAINER);
  run_program();
}

void become_joined(int monitor) {
  begin(monitor);
  enter_joined_cgroups();
  set_affinity(sandbox.last_cpus);
  leave_keyring();
  become_namespace_root();
  tie_to_monitor();
  root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) fail("enter the root", errno, "/");
  enter_working_directory();
  if (sandbox.terminal) {
    open_joined_dev();
    take_terminal(monitor);
  }
  set_resource_limits();
  set_scheduling();
  wait_for_start(monitor);
  give_up_privileges();
  run_program();
}
