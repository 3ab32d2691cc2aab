#define _GNU_SOURCE
#include "relay.h"

#include "relay-datagrams.h"
#include "relay-streams.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534, EVENTS = 64 };

/* Nothing else of the monitor's stays open, neither the lock of the container nor the owner of its
 * firewall table. */
static void close_others(const struct relayed_port *ports, size_t count, int ready) {
  unsigned from = 0;
  for (;;) {
    unsigned next = (unsigned)ready >= from ? (unsigned)ready : ~0u;
    for (size_t i = 0; i < count; i++) {
      const unsigned fd = (unsigned)ports[i].socket;
      if (fd >= from && fd < next) next = fd;
    }
    if (next > from && syscall(SYS_close_range, from, next == ~0u ? ~0u : next - 1, 0u) != 0) _exit(1);
    if (next == ~0u) return;
    from = next + 1;
  }
}

/* (2). A directory of /proc that is empty once its process is gone; ours, while we are there, has the
 * numbers of sockets, and may not be opened by who is nobody. */
static void give_up_rights(pid_t monitor) {
  if (chroot("/proc/self/fdinfo") != 0 || chdir("/") != 0) _exit(1);
  if (setgroups(0, NULL) != 0 && errno != EPERM) _exit(1);
  if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0) _exit(1);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0) _exit(1);
  /* After the change of user, which clears it. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != monitor) _exit(1);
}

static void watch_ports(int epoll, struct in_addr container, const struct relayed_port *ports,
                        size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(ports[i].port), .sin_addr = container};
    const int status = ports[i].protocol == IPPROTO_TCP ? streams_listen(epoll, ports[i].socket, &to)
                                                        : datagrams_listen(epoll, ports[i].socket, &to);
    if (status != 0) _exit(1);
  }
}

static _Noreturn void carry(int epoll) {
  for (;;) {
    struct epoll_event events[EVENTS];
    const int count = epoll_wait(epoll, events, EVENTS, -1);
    if (count == -1 && errno != EINTR) _exit(1);
    for (int i = 0; i < count; i++) {
      struct relay_source *source = events[i].data.ptr;
      source->ready(source, events[i].events);
    }
    /* What ended in this round may still have been among its events. */
    streams_sweep();
    datagrams_sweep();
  }
}

static _Noreturn void become_relay(struct in_addr container, const struct relayed_port *ports,
                                   size_t count, int ready, pid_t monitor) {
  prctl(PR_SET_NAME, "tsrun-relay");
  close_others(ports, count, ready);
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  give_up_rights(monitor);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll == -1) _exit(1);
  watch_ports(epoll, container, ports, count);
  if (write(ready, "", 1) != 1) _exit(1);
  close(ready);
  carry(epoll);
}

int relay_start(struct in_addr container, const struct relayed_port *ports, size_t count) {
  int ends[2];
  char byte;
  const pid_t monitor = getpid();
  const pid_t child = pipe2(ends, O_CLOEXEC) == -1 ? -1 : fork();
  if (child == 0) become_relay(container, ports, count, ends[1], monitor);
  const int error = errno;
  for (size_t i = 0; i < count; i++) close(ports[i].socket);
  errno = error;
  if (child == -1) return -1;
  close(ends[1]);
  const ssize_t size = TEMP_FAILURE_RETRY(read(ends[0], &byte, 1));
  /* Its end closes next, and then it has nothing of ours. */
  if (size == 1) TEMP_FAILURE_RETRY(read(ends[0], &byte, 1));
  close(ends[0]);
  errno = ECHILD;
  return size == 1 ? 0 : -1;
}
