/*
 * The spawner: started once, it forks a monitor for each container of a caller that has many. That
 * takes a fraction of starting this program again from a large process, whose memory is to be copied,
 * and of the C library's questions to the processor.
 *
 *   fd 3   messages, each of one kind
 *     's' and three descriptors   a monitor that has these as 1 to 3, the last as 4, too; its 0 is ours
 *     'k' and a process number    kills that monitor, unless it has ended
 *
 * It knows nothing of any container: the operations are read by the monitor, so what one was told no
 * other can find in its memory. It ends with its caller; the monitors hear of that for themselves (4).
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED = 3, LONGEST = 32 };

struct message {
  char text[LONGEST + 1];
  ssize_t size;
  int descriptors[PASSED];
  size_t count;
};

static void receive(struct message *message) {
  union {
    char bytes[CMSG_SPACE(PASSED * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {message->text, LONGEST};
  struct msghdr header = {
      .msg_iov = &part,
      .msg_iovlen = 1,
      .msg_control = control.bytes,
      .msg_controllen = sizeof control.bytes,
  };
  do {
    message->size = recvmsg(INPUT_FD, &header, MSG_CMSG_CLOEXEC);
  } while (message->size < 0 && errno == EINTR);
  message->count = 0;
  if (message->size <= 0) return;
  message->text[message->size] = '\0';
  const struct cmsghdr *passed = CMSG_FIRSTHDR(&header);
  if (passed == NULL || passed->cmsg_type != SCM_RIGHTS) return;
  message->count = (passed->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(message->descriptors, CMSG_DATA(passed), message->count * sizeof(int));
}

/* In the child: where the monitor expects them. Whoever numbered them did so above REPORT_FD. */
static void place(const int descriptors[PASSED], int signals) {
  close(signals);
  for (int i = 0; i < PASSED; i++) {
    if (dup2(descriptors[i], 1 + i) < 0) _exit(125);
  }
  if (dup2(INPUT_FD, REPORT_FD) < 0) _exit(125);
  for (size_t i = 0; i < PASSED; i++) close(descriptors[i]);
}

static void bury(int signals) {
  struct signalfd_siginfo info;
  (void)!read(signals, &info, sizeof info);
  while (waitpid(-1, NULL, WNOHANG) > 0) continue;
}

/* Only we bury it, so its number is no other's until then. */
static void kill_monitor(const char *text) {
  const pid_t monitor = (pid_t)number(text, INT32_MAX);
  if (waitpid(monitor, NULL, WNOHANG) == 0) kill(monitor, SIGKILL);
}

/* Whether this is the new monitor. */
static bool answer(const struct message *message, int signals) {
  pid_t child = -1;
  if (message->text[0] == 'k') kill_monitor(message->text + 1);
  if (message->text[0] == 's' && message->count == PASSED) {
    child = fork();
    if (child == 0) return place(message->descriptors, signals), true;
    if (child < 0) {
      report_to(message->descriptors[PASSED - 1]);
      report_error("start the container", errno, "fork");
      report_to(REPORT_FD);
    }
  }
  for (size_t i = 0; i < message->count; i++) close(message->descriptors[i]);
  return false;
}

void spawn_monitors(void) {
  sigset_t all;
  sigfillset(&all);
  /* The keys of a terminal are our caller's. */
  sigprocmask(SIG_SETMASK, &all, NULL);
  setpgid(0, 0);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  /* At REPORT_FD, so that all that are passed come above it. */
  const int made = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  const int signals = made == REPORT_FD ? made : dup3(made, REPORT_FD, O_CLOEXEC);
  if (signals < 0) _exit(125);
  if (made != REPORT_FD) close(made);
  for (;;) {
    struct pollfd fds[] = {{signals, POLLIN, 0}, {INPUT_FD, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[0].revents != 0) bury(signals);
    if (fds[1].revents == 0) continue;
    struct message message;
    receive(&message);
    if (message.size <= 0) _exit(0);
    if (!answer(&message, signals)) continue;
    report_monitor(getpid());
    return;
  }
}
