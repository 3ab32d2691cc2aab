/*
 * The way of PID 1. The order matters:
 *
 *   tie to the monitor    before anything can be left behind (4)
 *   out-of-memory score   through the host's /proc
 *   cgroups               while the host's paths exist; their namespace after, so they are its root
 *   /proc, /dev, /sys     in the parking, with sysctls and masks: an image or a user has no say in them
 *   program               where it comes later: nothing before this depends on it
 *   root, mounts          sources are host paths: before the root is entered. What is masked nobody
 *                         mounts anything on
 *   enter the root        from here on no path of the host can be named
 *   working directory     as root, which can enter all of the image's; made when missing
 *   terminal              needs the container's own devpts
 *   read-only root        after the last mount target may have been made
 *   wait for the monitor  the network must be there before the program looks at it
 *   resource limits       the least that is still needed has been opened
 *   privileges, program   last: nothing after may fail for want of a right
 */
#include "sandbox.h"
#include "../bridge/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/keyctl.h>

static void enter_cgroups(void) {
  for (size_t i = 0; i < sandbox.cgroups.count; i++) {
    const char *path = sandbox.cgroups.at[i];
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    /* "0" is the writer: our own number means nothing in the host's PID namespace. */
    if (fd < 0 || write(fd, "0", 1) != 1) fail("enter a cgroup", errno, path);
    close(fd);
  }
  /* After entering: the cgroups just joined are the root of what the container sees. */
  if (unshare(CLONE_NEWCGROUP) != 0 && errno != EINVAL) fail("create namespaces", errno, "cgroup");
}

void start_loopback(void) {
  if (sandbox.network != NETWORK_NONE && sandbox.network != NETWORK_USER) return;
  if (network_loopback_up() != 0) fail("start the loopback device", errno, "lo");
}

static void name_host(void) {
  const char *host = sandbox.hostname, *domain = sandbox.domainname;
  if (sandbox.host_uts) return;
  if (host != NULL && sethostname(host, strlen(host)) != 0) fail("set the host name", errno, host);
  if (domain != NULL && setdomainname(domain, strlen(domain)) != 0) {
    fail("set the domain name", errno, domain);
  }
}

/* Until the network stands. The message is the container's address, or empty without a bridge. */
void wait_for_monitor(int monitor) {
  char address[64];
  ssize_t size;
  do {
    size = recv(monitor, address, sizeof address - 1, 0);
  } while (size < 0 && errno == EINTR);
  /* The monitor is gone, or reported an error of its own. */
  if (size <= 0) _exit(125);
  address[size] = '\0';
  if (address[0] != '\0') name_address(address);
}

void set_up_host_parts(void) {
  start_loopback();
  name_host();
}

/* From here on the caller's bytes are the monitor's again: they are signals. */
static void read_program(int monitor) {
  sandbox.program_later = false;
  read_input();
  (void)!send(monitor, "R", 1, MSG_NOSIGNAL);
}

static void make_own_filesystems(void) {
  make_parking();
  run_steps(&sandbox.own);
  write_sysctls();
  hide_paths();
}

static void build_root(void) {
  make_root();
  attach_dev();
  attach_kernel_filesystems();
  run_steps(&sandbox.steps);
  enter_root();
  enter_working_directory();
}

void become_container(int monitor) {
  report_failures_to(monitor);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("tie to the monitor", errno, "");
  umask(0);
  setsid();
  write_to_output_pipes();
  set_oom_score();
  enter_cgroups();
  set_up_host_parts();
  /* Keys of the caller's session are not the container's. Without room for a keyring, or where
   * the call is filtered, there is none to protect. */
  (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  open_sources(BY_CHILD);
  make_own_filesystems();
  if (sandbox.program_later) {
    read_program(monitor);
    open_sources(BY_CHILD);
  }
  build_root();
  if (sandbox.terminal) take_terminal(monitor);
  seal_root();
  wait_for_monitor(monitor);
  set_resource_limits();
  give_up_privileges();
  if (sandbox.init) start_under_init();
  run_program();
}
