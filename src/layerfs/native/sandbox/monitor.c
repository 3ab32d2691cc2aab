/*
 * The monitor: finishes the set-up from outside, then passes on what happens until PID 1 ends.
 *
 *   set-up    network attached → "go" to PID 1 → its socket closes at exec → "started"
 *   running   signals sent to the monitor and bytes of fd 3 → PID 1; terminal ⇄ caller
 *   ending    PID 1 reaped (the kernel has killed the rest by then) → terminal drained → "exit"
 */
#include "bundle.h"
#include "health.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct watch {
  pid_t child;
  int socket;  /* to PID 1; -1 once it is the user's program, or has failed */
  int control; /* -1 once the caller is gone, and while PID 1 reads from there */
  bool let_go; /* the caller may go without the container */
  int signals;
  int master; /* of the container's terminal, or -1 */
  bool failed;
  bool asked;   /* PID 1 of a bundle waits for the caller's word to go on */
  bool created; /* and then for its start */
};

/* A detached container is its subreaper's from here on, not ours to reap. */
static void tell_started(struct watch *watch) {
  begin_health(watch->child);
  if (!watch->created) report_started(watch->child);
  watch->created = true;
  if (sandbox.detached) _exit(0);
}

/* A message of PID 1: its terminal, that it has read its program, or that it failed. The end: it is
 * the user's program. */
static void hear_child(struct watch *watch) {
  char what = 0;
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {&what, 1};
  struct msghdr message = {
      .msg_iov = &part,
      .msg_iovlen = 1,
      .msg_control = control.bytes,
      .msg_controllen = sizeof control.bytes,
  };
  ssize_t got = recvmsg(watch->socket, &message, MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EINTR) return;
  if (got == 1 && what == 'T') {
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL) return;
    memcpy(&watch->master, CMSG_DATA(header), sizeof watch->master);
    hand_over_terminal(watch->master);
    return;
  }
  if (got == 1 && what == 'H') {
    watch->asked = true;
    report_made(watch->child);
    return;
  }
  if (got == 1 && what == 'R') {
    watch->control = INPUT_FD;
    attach_network(watch->child, watch->socket);
    return;
  }
  if (got == 1 && what == 'C') {
    tell_started(watch);
    return;
  }
  if (got == 1 && what == '!') watch->failed = true;
  if (got <= 0 && !watch->failed) tell_started(watch);
  close(watch->socket);
  watch->socket = -1;
}

/* Of a process that joins a container its whole group: it is no first process, with which all end. */
static void kill_child(pid_t child) {
  if (sandbox.joins_container) kill(-child, SIGKILL);
  kill(child, SIGKILL);
}

/* Each byte of fd 3 is a signal to deliver, but LET_GO. Its end is the caller's: (4). */
static void hear_caller(struct watch *watch) {
  unsigned char signals[64];
  ssize_t got = read(watch->control, signals, sizeof signals);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got > 0 && watch->asked) {
    watch->asked = false;
    (void)!send(watch->socket, "G", 1, MSG_NOSIGNAL);
    return;
  }
  for (ssize_t i = 0; i < got; i++) {
    if (signals[i] == LET_GO) watch->let_go = true;
    else kill(watch->child, signals[i]);
  }
  if (got > 0) return;
  if (!watch->let_go) kill_child(watch->child);
  watch->control = -1;
}

/* Signals that later commands send. */
static void hear_later_callers(const struct watch *watch) {
  unsigned char signals[64];
  ssize_t got = read(CONTROL_FD, signals, sizeof signals);
  for (ssize_t i = 0; i < got; i++) kill(watch->child, signals[i]);
}

static bool is_our_own(uint32_t signal) {
  switch (signal) {
    case SIGCHLD: /* the child's */
    case SIGPIPE: /* of our own writing */
    case SIGTTIN:
    case SIGTTOU: /* of our own use of the terminal */
    case SIGXCPU:
    case SIGXFSZ: /* of our own limits, as the caller's are: a log that may not grow */
      return true;
    default:
      return false;
  }
}

static void hear_signal(struct watch *watch) {
  struct signalfd_siginfo info;
  if (read(watch->signals, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo == SIGWINCH && watch->master >= 0) {
    resize_terminal(watch->master);
  } else if (!is_our_own(info.ssi_signo)) {
    kill(watch->child, (int)info.ssi_signo);
  }
}

enum { SIGNALS, CONTROL, LATER, SOCKET, PROBE, FLOWS = PROBE + PROBE_FDS };

/* One turn; whether PID 1 ended, with its status. */
static bool turn(struct watch *watch, int *status) {
  struct pollfd fds[FLOWS + 2 * MAX_FLOWS] = {
      [SIGNALS] = {watch->signals, POLLIN, 0},
      [CONTROL] = {watch->control, POLLIN, 0},
      [LATER] = {sandbox.keeps ? CONTROL_FD : -1, POLLIN, 0},
      [SOCKET] = {watch->socket, POLLIN, 0},
  };
  const int patience = poll_health(fds + PROBE);
  const size_t count = FLOWS + poll_flows(fds + FLOWS);
  if (poll(fds, count, patience) < 0) return false;
  move_flows(fds + FLOWS);
  move_health(fds + PROBE);
  if (fds[SOCKET].revents != 0) hear_child(watch);
  if (fds[CONTROL].revents != 0) hear_caller(watch);
  if (fds[LATER].revents != 0) hear_later_callers(watch);
  if (fds[SIGNALS].revents != 0) hear_signal(watch);
  return waitpid(watch->child, status, WNOHANG) == watch->child;
}

void watch(pid_t child, int child_socket) {
  struct watch state = {.child = child,
                        .socket = child_socket,
                        .control = sandbox.program_later ? -1 : INPUT_FD,
                        .signals = -1,
                        .master = -1};
  sigset_t all;
  sigfillset(&all);
  state.signals = signalfd(-1, &all, SFD_CLOEXEC);
  if (state.signals < 0) fail("watch the container", errno, "signalfd");
  relay_output_pipes();
  if (sandbox.bundle) {
    map_ids(child, child_socket);
    move_devices_to(child);
  } else {
    attach_device_filter(child);
    /* While PID 1 builds its file system; it becomes the program only when this has told it to. */
    if (!sandbox.program_later) attach_network(child, child_socket);
  }
  int status;
  while (!turn(&state, &status)) continue;
  kill_the_rest();
  /* A program that ends at once: its start is still unheard. */
  while (state.socket >= 0) hear_child(&state);
  end_health();
  finish_flows(!state.let_go);
  end_user_network();
  restore_terminal();
  if (!state.failed) {
    int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    keep_end(code, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    report_exit(code, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  }
  _exit(0);
}
