/*
 * The network of a container of a user who may not connect interfaces of the host: a helper carries
 * its packets, pasta or slirp4netns, started here and ended with us.
 *
 *   ports tried        so that one that is taken is told as it is on a bridge; the helper binds
 *                      them a moment later
 *   helper started     its standard input is the container's network namespace: the one descriptor
 *                      that it surely keeps, and opening its path needs no right over the container
 *   ready              once the namespace has a default route
 *
 * The helper dies with the monitor (PR_SET_PDEATHSIG; slirp4netns by its --exit-fd, too). It reads
 * what the container sends, so it shuts itself in: pasta always, slirp4netns when it is asked to.
 */
#include "sandbox.h"
#include "../bridge/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FD = 3, PATIENCE_MS = 5000 };

struct helper {
  const char *program;
  bool is_pasta;
  struct texts words;
  int namespace; /* the container's */
  int routes;    /* its table, as text */
  int said;      /* what the helper wrote to its standard error */
  pid_t pid;
};

static pid_t running;

static int open_of(pid_t child, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)child, name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_with_child(child, "attach the network", path);
  return fd;
}

/* Finds a port where any is wanted, and whether anybody has it. */
static void try_port(pid_t child, struct published_port *port) {
  const bool tcp = port->protocol == IPPROTO_TCP;
  const int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  const int on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port->host_port), .sin_addr = port->host};
  socklen_t size = sizeof address;
  if (tcp) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
      (tcp && listen(fd, 0) != 0) ||
      getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    fail_port(child, port);
  }
  port->host_port = ntohs(address.sin_port);
  close(fd);
}

static void add_words(struct helper *helper, const char *const *words) {
  for (; *words != NULL; words++) append(&helper->words, (char *)*words);
}

static void add_pasta_port(struct helper *helper, const struct published_port *port) {
  char host[INET_ADDRSTRLEN], text[64];
  const bool all = port->host.s_addr == htonl(INADDR_ANY);
  inet_ntop(AF_INET, &port->host, host, sizeof host);
  snprintf(text, sizeof text, "%s%s%u:%u", all ? "" : host, all ? "" : "/", port->host_port,
           port->port);
  append(&helper->words, port->protocol == IPPROTO_UDP ? "-u" : "-t");
  char *copy = strdup(text);
  if (copy == NULL) fail("attach the network", ENOMEM, "");
  append(&helper->words, copy);
}

/* The container does not reach what listens on the host's loopback, and gets those ports alone. */
static void pasta_words(struct helper *helper, const struct published_port *ports, size_t count) {
  static const char *const base[] = {
      "pasta", "--foreground", "--quiet", "--config-net", "--no-map-gw", "--netns-only",
      "--no-netns-quit", "--netns", "/proc/self/fd/0", "-T", "none", "-U", "none", NULL};
  bool has[2] = {false, false};
  add_words(helper, base);
  for (size_t i = 0; i < count; i++) {
    add_pasta_port(helper, &ports[i]);
    has[ports[i].protocol == IPPROTO_UDP] = true;
  }
  if (!has[0]) add_words(helper, (const char *const[]){"-t", "none", NULL});
  if (!has[1]) add_words(helper, (const char *const[]){"-u", "none", NULL});
}

static void slirp_words(struct helper *helper, size_t count) {
  static const char *const base[] = {
      "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--exit-fd=3",
      "--enable-sandbox", "--enable-seccomp", NULL};
  add_words(helper, base);
  if (count > 0) add_words(helper, (const char *const[]){"--api-socket", slirp_socket(), NULL});
  add_words(helper, (const char *const[]){"--netns-type=path", "/proc/self/fd/0", "eth0", NULL});
}

static _Noreturn void become_helper(const struct helper *helper, int life, pid_t monitor) {
  char *none[] = {NULL};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != monitor) _exit(125);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || dup2(helper->namespace, 0) < 0 || dup2(null, 1) < 0 || dup2(helper->said, 2) < 0 ||
      dup2(life, EXIT_FD) < 0) {
    _exit(125);
  }
  close_range_marked(EXIT_FD);
  fcntl(EXIT_FD, F_SETFD, 0);
  signal(SIGPIPE, SIG_DFL);
  sigset_t all;
  sigemptyset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  execve(helper->program, helper->words.at, none);
  dprintf(2, "%s", strerror(errno));
  _exit(125);
}

static void start_helper(struct helper *helper, pid_t child) {
  static int life[2]; /* never closed: its end is ours */
  const pid_t monitor = getpid();
  helper->said = memfd_create("helper", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (helper->said < 0 || pipe2(life, O_CLOEXEC) != 0) fail_with_child(child, "attach the network", "pipe");
  helper->pid = fork();
  if (helper->pid < 0) fail_with_child(child, "attach the network", "fork");
  if (helper->pid == 0) become_helper(helper, life[0], monitor);
  close(life[0]);
}

static bool has_default_route(int routes) {
  char text[4096];
  const ssize_t size = pread(routes, text, sizeof text - 1, 0);
  if (size <= 0) return false;
  text[size] = '\0';
  for (const char *line = strchr(text, '\n'); line != NULL; line = strchr(line + 1, '\n')) {
    const char *destination = strchr(line, '\t');
    if (destination != NULL && strncmp(destination, "\t00000000\t", 10) == 0) return true;
  }
  return false;
}

/* The last line that is one, of what it said before it ended. */
static _Noreturn void fail_as_it_said(const struct helper *helper, pid_t child) {
  static char text[1024];
  ssize_t size = pread(helper->said, text, sizeof text - 1, 0);
  while (size > 0 && text[size - 1] <= ' ') size--;
  text[size > 0 ? size : 0] = '\0';
  const char *line = strrchr(text, '\n');
  errno = 0;
  fail_with_child(child, helper->is_pasta ? "start pasta" : "start slirp4netns",
          line == NULL ? text : line + 1);
}

/* Where only the sixth version has a way out, no such route comes: then it must be ready by now. */
static void wait_until_ready(const struct helper *helper, pid_t child) {
  for (int waited = 0; waited < PATIENCE_MS && !has_default_route(helper->routes); waited++) {
    if (waitpid(helper->pid, NULL, WNOHANG) == helper->pid) fail_as_it_said(helper, child);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

void attach_user_network(pid_t child, struct published_port *ports, size_t count) {
  struct helper helper = {.program = sandbox.helper[1].text,
                          .is_pasta = strcmp(sandbox.helper[0].text, "pasta") == 0};
  for (size_t i = 0; i < count; i++) try_port(child, &ports[i]);
  helper.namespace = open_of(child, "ns/net");
  helper.routes = open_of(child, "net/route");
  if (helper.is_pasta) {
    pasta_words(&helper, ports, count);
  } else {
    slirp_words(&helper, count);
  }
  start_helper(&helper, child);
  wait_until_ready(&helper, child);
  for (size_t i = 0; !helper.is_pasta && i < count; i++) slirp_publish(child, &ports[i]);
  if (!helper.is_pasta && count > 0) slirp_remove_socket();
  /* Packets of the container may make it complain for ever, in memory that nobody limits. */
  fcntl(helper.said, F_ADD_SEALS, F_SEAL_GROW);
  close(helper.namespace);
  close(helper.routes);
  close(helper.said);
  running = helper.pid;
}

/* Its ports are free when the end is told. */
void end_user_network(void) {
  if (running <= 0) return;
  kill(running, SIGKILL);
  waitpid(running, NULL, 0);
}
