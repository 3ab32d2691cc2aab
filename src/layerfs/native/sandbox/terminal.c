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
#include <sys/un.h>
#include <termios.h>

/* ---- in PID 1 ---- */

int send_descriptor(int socket, const char *what, size_t size, int descriptor) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {{0}};
  struct iovec part = {(char *)what, size};
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
  memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
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
  if (target < 0 && errno == EEXIST && sandbox.bundle) {
    target = open_inside(dev_fd, "console", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  }
  if (target < 0) fail("make a terminal", errno, "/dev/console");
  int mount = clone_mount(slave, "", false);
  attach(mount, target, "/dev/console");
  close(mount);
  close(target);
}

/* Before the program begins, which may ask at once: the monitor may be slower. */
static void set_console_size(int master) {
  const struct word *words = sandbox.console_size;
  if (words == NULL) {
    resize_terminal(master);
    return;
  }
  const struct winsize size = {.ws_row = (unsigned short)number(words[0].text, UINT16_MAX),
                               .ws_col = (unsigned short)number(words[1].text, UINT16_MAX)};
  ioctl(master, TIOCSWINSZ, &size);
}

void take_terminal(int monitor) {
  int master = open_inside(dev_fd, "pts/ptmx", O_RDWR | O_NOCTTY, RESOLVE_NO_SYMLINKS);
  if (master < 0) fail("make a terminal", errno, "/dev/pts/ptmx");
  int slave = open_slave(master);
  if (!sandbox.joins_container) bind_console(slave);
  if (fchown(slave, sandbox.uid, (gid_t)-1) != 0) fail("make a terminal", errno, "");
  set_console_size(master);
  if (send_descriptor(monitor, "T", 1, master) != 0) fail("make a terminal", errno, "");
  close(master);
  if (ioctl(slave, TIOCSCTTY, 0) != 0) fail("make a terminal", errno, "");
  for (int fd = 0; fd <= 2; fd++) {
    if (dup2(slave, fd) < 0) fail("make a terminal", errno, "");
  }
  close(slave);
}

/* ---- in the monitor ---- */

static int console = -1;

void open_console_socket(void) {
  if (sandbox.console_socket == NULL) return;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(sandbox.console_socket) >= sizeof address.sun_path) {
    fail("connect to the console socket", ENAMETOOLONG, sandbox.console_socket);
  }
  strcpy(address.sun_path, sandbox.console_socket);
  console = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (console < 0 || connect(console, (struct sockaddr *)&address, sizeof address) != 0) {
    fail("connect to the console socket", errno, sandbox.console_socket);
  }
}

void hand_over_terminal(int master) {
  static const char name[] = "/dev/ptmx";
  if (console < 0) {
    relay_terminal(master);
    return;
  }
  (void)!send_descriptor(console, name, sizeof name - 1, master);
  close(console);
}

/* To the size of the caller's terminal, in PID 1 as long as it has that one. */
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
