/*
 * Between create and start: PID 1 has all it needs and waits at a socket in the state directory.
 *
 * A socket, and no FIFO, because a start has an answer: the connection closes without a word when
 * the program runs, and says why when it does not. Only who may enter the directory can connect.
 */
#include "bundle.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listener = -1;

void open_start_socket(void) {
  if (sandbox.start_socket == NULL) return;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(sandbox.start_socket) >= sizeof address.sun_path) {
    fail("make the start socket", ENAMETOOLONG, sandbox.start_socket);
  }
  strcpy(address.sun_path, sandbox.start_socket);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(listener, 1) != 0) {
    fail("make the start socket", errno, sandbox.start_socket);
  }
}

/* 'H', and waits until the caller has run what it wants to run by then. */
void tell_made(int monitor) {
  char byte;
  ssize_t size;
  if (send(monitor, "H", 1, MSG_NOSIGNAL) != 1) _exit(125);
  do {
    size = recv(monitor, &byte, 1, 0);
  } while (size < 0 && errno == EINTR);
  if (size != 1) _exit(125);
}

/* Of a process that is nothing yet: what ends others ends it, though the kernel spares PID 1. */
static void hear_signal(int signals) {
  struct signalfd_siginfo info;
  if (read(signals, &info, sizeof info) != sizeof info) return;
  switch (info.ssi_signo) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return;
    default:
      _exit(128 + (int)info.ssi_signo);
  }
}

static int accept_start(void) {
  sigset_t all;
  sigfillset(&all);
  const int signals = signalfd(-1, &all, SFD_CLOEXEC);
  if (signals < 0) fail("wait for the start", errno, "signalfd");
  struct pollfd fds[] = {{signals, POLLIN, 0}, {listener, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) fail("wait for the start", errno, "poll");
    if (fds[0].revents != 0) hear_signal(signals);
    if (fds[1].revents == 0) continue;
    const int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) continue;
    close(signals);
    close(listener);
    return connection;
  }
}

void wait_for_start(int monitor) {
  if (sandbox.detached && prctl(PR_SET_PDEATHSIG, 0) != 0) fail("wait for the start", errno, "");
  if (listener < 0) return;
  /* The directory of the state is not ours to be in, nor are descriptors of the caller. */
  close(INPUT_FD);
  if (send(monitor, "C", 1, MSG_NOSIGNAL) != 1) _exit(125);
  close(REPORT_FD);
  const int connection = accept_start();
  report_failures_to(-1);
  report_to(connection);
  close(monitor);
}
