/*
 * The terminal: a pseudo-terminal of the container's own devpts. PID 1 gets its slave, the monitor
 * its master, and the caller's terminal is in raw mode meanwhile, so that every key reaches the
 * container and is answered there.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
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

void resize_terminal(int master) {
  struct winsize size;
  for (int fd = 0; fd <= 2; fd++) {
    if (ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
    ioctl(master, TIOCSWINSZ, &size);
    return;
  }
}

static bool is_raw;
static struct termios saved;

void relay_terminal(int master) {
  if (sandbox.logs) {
    add_flow(master, TO_LOG + 1);
    return;
  }
  resize_terminal(master);
  if (tcgetattr(0, &saved) == 0) {
    struct termios raw = saved;
    cfmakeraw(&raw);
    is_raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
  }
  add_flow(0, master);
  add_flow(master, 1);
}

void restore_terminal(void) {
  if (is_raw) tcsetattr(0, TCSADRAIN, &saved);
}
