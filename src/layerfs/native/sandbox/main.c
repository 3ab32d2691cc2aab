/* The monitor's way: read what to do, start PID 1 in its namespaces, watch it. See sandbox.h. */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t namespaces(void) {
  /* Made once its cgroups are entered. */
  if (sandbox.bundle) return sandbox.namespaces & ~(uint64_t)CLONE_NEWCGROUP;
  const bool ours = sandbox.runtime == NULL;
  return CLONE_NEWNS | (sandbox.host_pid ? 0 : CLONE_NEWPID) | (!ours || sandbox.host_uts ? 0 : CLONE_NEWUTS) |
         (!ours || sandbox.host_ipc ? 0 : CLONE_NEWIPC) |
         (sandbox.network == NETWORK_HOST ? 0 : CLONE_NEWNET);
}

/* Only clone3() can make a time namespace: clone() has its flag's bit in the signal. Kernels without
 * them (before 5.6, or by configuration) say EINVAL; the clocks are then the host's, as before. And
 * only it lets a process begin in a cgroup: to enter one later takes the kernel milliseconds. */
static pid_t start_child(int cgroup) {
  const uint64_t time = sandbox.bundle || sandbox.runtime != NULL ? 0 : CLONE_NEWTIME;
  struct clone_args args = {.flags = namespaces() | time, .exit_signal = SIGCHLD};
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)cgroup;
  }
  pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (child < 0 && errno == EINVAL && !sandbox.bundle) {
    args.flags &= ~(uint64_t)CLONE_NEWTIME;
    child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  }
  if (cgroup >= 0) close(cgroup);
  if (child >= 0 || errno != ENOSYS || cgroup >= 0) return child;
  return (pid_t)syscall(SYS_clone, namespaces() | SIGCHLD, 0, 0, 0, 0);
}

static int open_first_cgroup(void) {
  const char *path = sandbox.device_filter != NULL ? sandbox.device_filter[0].text : sandbox.first_cgroup;
  if (path == NULL) return -1;
  const int cgroup = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (cgroup < 0) fail("enter a cgroup", errno, path);
  return cgroup;
}

/* While the paths are the host's. */
static void prepare_bundle(void) {
  open_console_socket();
  open_start_socket();
  open_joined_cgroups();
  if (sandbox.joins_container) {
    set_oom_score();
    set_affinity(sandbox.first_cpus);
  }
  open_sources(BY_MONITOR);
  move_devices_to_joined();
  join_namespaces();
}

static _Noreturn void become_child(int monitor) {
  if (sandbox.joins_container) become_joined(monitor);
  if (sandbox.bundle) become_bundle(monitor);
  if (sandbox.runtime != NULL) become_runtime_container(monitor);
  become_container(monitor);
}

int main(int count, char **words) {
  if (count > 1 && strcmp(words[1], "user-namespace") == 0) {
    return enter_user_namespace(count - 2, words + 2);
  }
  if (count > 1 && strcmp(words[1], "spawner") == 0) spawn_monitors();
  if (fcntl(INPUT_FD, F_GETFD) < 0 || fcntl(REPORT_FD, F_GETFD) < 0) {
    fputs("sandbox: started by tsbuild and tsrun only: it reads what to do from descriptor 3\n", stderr);
    return 125;
  }
  if (count > 1 && strcmp(words[1], "sealed") == 0) run_sealed(words);
  /* None of them may reach the user's program, whatever else goes wrong. */
  for (int fd = INPUT_FD; fd <= LOG_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  read_input();
  /* The keys of a terminal signal a whole process group. Without a terminal of its own the
   * container gets signals only from the caller, once each. */
  if (!sandbox.terminal) setpgid(0, 0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  if (!sandbox.detached) make_output_pipes();
  plan_device_filter();
  if (sandbox.bundle) attach_device_filter(0);
  const int cgroup = open_first_cgroup();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    fail("start the container", errno, "socketpair");
  }
  /* Not dumpable before the container exists: (6). */
  prctl(PR_SET_DUMPABLE, 0);
  if (sandbox.bundle) prepare_bundle();
  else join_namespaces();
  pid_t child = start_child(cgroup);
  if (child < 0) fail("create namespaces", errno, "");
  if (child == 0) {
    close(ends[0]);
    become_child(ends[1]);
  }
  close(ends[1]);
  close_sources();
  watch(child, ends[0]);
}
