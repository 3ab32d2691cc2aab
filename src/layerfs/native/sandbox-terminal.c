/*
 * The terminal: a pseudo-terminal of the container's own devpts. PID 1 gets its slave, the monitor
 * its master, and the caller's terminal is in raw mode meanwhile, so that every key reaches the
 * container and is answered there.
 */
#include "sandbox.h"
#include "sandbox-calls.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

/* ---- in PID 1 ---- */

static void send_master(int monitor, int master) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {{0}};
  struct iovec part = {(char[]){'T'}, 1};
  struct msghdr message = {
      .msg_iov = &part,
      .msg_iovlen = 1,
      .msg_control = control.bytes,
      .msg_controllen = sizeof control.bytes,
  };
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &master, sizeof master);
  if (sendmsg(monitor, &message, MSG_NOSIGNAL) < 0) fail("make a terminal", errno, "");
}

/* The slave is opened through its master (CVE-2025-52565: never by its name in /dev/pts). */
static int open_slave(int master) {
  const int unlocked = 0;
  if (ioctl(master, TIOCSPTLCK, &unlocked) != 0) fail("make a terminal", errno, "");
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) fail("make a terminal", errno, "");
  return slave;
}

static void bind_console(int slave) {
  int target = openat(dev_fd, "console", O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0620);
  if (target < 0) fail("make a terminal", errno, "/dev/console");
  int mount = clone_mount(slave, "", false);
  attach(mount, target, "/dev/console");
  close(mount);
  close(target);
}

void take_terminal(int monitor) {
  int master = open_inside(dev_fd, "pts/ptmx", O_RDWR | O_NOCTTY, RESOLVE_NO_SYMLINKS);
  if (master < 0) fail("make a terminal", errno, "/dev/pts/ptmx");
  int slave = open_slave(master);
  bind_console(slave);
  if (fchown(slave, sandbox.uid, (gid_t)-1) != 0) fail("make a terminal", errno, "");
  send_master(monitor, master);
  close(master);
  if (ioctl(slave, TIOCSCTTY, 0) != 0) fail("make a terminal", errno, "");
  for (int fd = 0; fd <= 2; fd++) {
    if (dup2(slave, fd) < 0) fail("make a terminal", errno, "");
  }
  close(slave);
}

/* ---- in the monitor ---- */

/* Bytes on their way. `at` of `size` are already delivered. */
struct flow {
  size_t at, size;
  bool ended;
  char bytes[4096];
};

struct relay {
  int master;
  bool raw;
  struct termios saved;
  struct flow typed, shown;
};

void resize_terminal(int master) {
  struct winsize size;
  for (int fd = 0; fd <= 2; fd++) {
    if (ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
    ioctl(master, TIOCSWINSZ, &size);
    return;
  }
}

static void restore_terminal(struct relay *relay) {
  if (relay->raw) tcsetattr(0, TCSADRAIN, &relay->saved);
  relay->raw = false;
}

struct relay *start_relay(int master) {
  struct relay *relay = calloc(1, sizeof *relay);
  if (relay == NULL) fail("make a terminal", ENOMEM, "");
  relay->master = master;
  resize_terminal(master);
  if (tcgetattr(0, &relay->saved) == 0) {
    struct termios raw = relay->saved;
    cfmakeraw(&raw);
    relay->raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
  }
  return relay;
}

static void fill(struct flow *flow, int fd) {
  ssize_t got = read(fd, flow->bytes, sizeof flow->bytes);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  flow->at = 0;
  flow->size = got > 0 ? (size_t)got : 0;
  flow->ended = got <= 0;
}

static void drain(struct flow *flow, int fd) {
  ssize_t sent = write(fd, flow->bytes + flow->at, flow->size - flow->at);
  if (sent < 0 && (errno == EINTR || errno == EAGAIN)) return;
  /* A closed output swallows the rest: the program must not block on it for ever. */
  flow->at = sent < 0 ? flow->size : flow->at + (size_t)sent;
}

static bool pending(const struct flow *flow) { return flow->at < flow->size; }

size_t relay_poll(struct relay *relay, struct pollfd *fds) {
  short master = 0;
  if (!pending(&relay->shown) && !relay->shown.ended) master |= POLLIN;
  if (pending(&relay->typed)) master |= POLLOUT;
  const bool reads = !pending(&relay->typed) && !relay->typed.ended;
  fds[0] = (struct pollfd){master == 0 ? -1 : relay->master, master, 0};
  fds[1] = (struct pollfd){reads ? 0 : -1, POLLIN, 0};
  fds[2] = (struct pollfd){pending(&relay->shown) ? 1 : -1, POLLOUT, 0};
  return 3;
}

void relay_move(struct relay *relay, const struct pollfd *fds) {
  if ((fds[0].revents & POLLOUT) != 0) drain(&relay->typed, relay->master);
  if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !pending(&relay->shown)) {
    fill(&relay->shown, relay->master);
  }
  if (fds[1].revents != 0) fill(&relay->typed, 0);
  if (fds[2].revents != 0) drain(&relay->shown, 1);
}

/* PID 1 is gone and so is every slave: what the master still holds is the end of the output. */
void finish_relay(struct relay *relay) {
  relay->typed = (struct flow){.ended = true};
  while (pending(&relay->shown) || !relay->shown.ended) {
    struct pollfd fds[4];
    size_t count = relay_poll(relay, fds);
    fds[count] = (struct pollfd){INPUT_FD, 0, 0}; /* only for its hang-up */
    if (poll(fds, count + 1, -1) < 0 && errno != EINTR) break;
    if ((fds[count].revents & POLLHUP) != 0) break;
    relay_move(relay, fds);
  }
  restore_terminal(relay);
}
