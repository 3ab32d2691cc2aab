/*
 * One probe of a container's health: health.h.
 *
 *   fd 0     /dev/null                    fd 3  operations, then nothing; its end kills the probe
 *   fd 1, 2  a pipe of which we keep the  fd 4  records (report.c): why it could not start, or its end
 *            beginning                    fd 5  the container's first process
 *
 * What it starts may outlive it, as with Docker: a check that mends what it finds. Killed, all go: they
 * are in a cgroup below the container's, or, where there is none, in one group of processes.
 */
#include "health.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUT, REPORT, OUTPUT };

static struct {
  pid_t process;
  int place;          /* of the container's first process */
  int fds[PROBE_FDS]; /* our ends, or -1 */
  size_t sent;        /* of the operations */
  size_t size, record_size;
  char output[PROBE_OUTPUT], records[4096];
} probe = {.place = -1, .fds = {-1, -1, -1}};

static const char *cgroup_file(const char *name, char path[PATH_MAX]) {
  snprintf(path, PATH_MAX, "%s/%s", sandbox.health[HEALTH_CGROUP].text, name);
  return path;
}

static bool has_cgroup(void) { return sandbox.health[HEALTH_CGROUP].size > 0; }

static void write_cgroup(const char *name, const char *text) {
  char path[PATH_MAX];
  const int fd = open(cgroup_file(name, path), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, text, strlen(text));
  close(fd);
}

bool is_container_paused(void) {
  char path[PATH_MAX], state = '0';
  if (!has_cgroup()) return false;
  const int fd = open(cgroup_file("cgroup.freeze", path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  (void)!read(fd, &state, 1);
  close(fd);
  return state == '1';
}

bool is_container_ending(void) {
  char namespace[64];
  return readlinkat(probe.place, "ns/mnt", namespace, sizeof namespace) < 0 && errno == ENOENT;
}

void prepare_probes(pid_t container) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "/proc/%d", (int)container);
  probe.place = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  /* Where the container is in the process namespace of another, our next children would be, too: they
   * are to be out of its sight. */
  const int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  if (own >= 0) {
    setns(own, CLONE_NEWPID);
    close(own);
  }
}

/* What the probe before left running is the container's from now on: the end of another is not its. */
static void move_leftovers(void) {
  char path[PATH_MAX], numbers[4096];
  const int fd = open(cgroup_file("health/cgroup.procs", path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t size = read(fd, numbers, sizeof numbers - 1);
  close(fd);
  numbers[size > 0 ? size : 0] = '\0';
  char *rest = numbers;
  for (const char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
    write_cgroup("cgroup.procs", line);
  }
}

static void remove_own_cgroup(void) {
  char path[PATH_MAX];
  if (has_cgroup()) remove_cgroup(cgroup_file("health", path));
}

/* A new one for each: Linux 6.18 kills whom clone3() is to begin in a cgroup that was ever killed.
 * Where it cannot be made the probe says so. */
static void make_own_cgroup(void) {
  char path[PATH_MAX];
  if (!has_cgroup()) return;
  move_leftovers();
  remove_own_cgroup();
  mkdir(cgroup_file("health", path), 0755);
}

static _Noreturn void become_probe(int input, int report, int output) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int descriptors[] = {null, output, output, input, report, probe.place};
  /* All of them are higher than where they go. */
  for (int fd = 0; fd <= LOCK_FD; fd++) {
    if (dup2(descriptors[fd], fd) < 0) _exit(125);
  }
  char *words[] = {"sandbox", "sealed", NULL}, *none[] = {NULL};
  execve("/proc/self/exe", words, none);
  _exit(125);
}

static void close_own(int which) {
  if (probe.fds[which] >= 0) close(probe.fds[which]);
  probe.fds[which] = -1;
}

/* Both ends of three pipes: the probe's first. */
static bool make_pipes(int theirs[PROBE_FDS]) {
  for (int i = 0; i < PROBE_FDS; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      while (i-- > 0) close(theirs[i]), close_own(i);
      return false;
    }
    theirs[i] = ends[i == INPUT ? 0 : 1];
    probe.fds[i] = ends[i == INPUT ? 1 : 0];
    /* It must not be able to keep us waiting. */
    fcntl(probe.fds[i], F_SETFL, O_NONBLOCK);
  }
  return true;
}

bool start_probe(void) {
  int theirs[PROBE_FDS];
  probe.sent = probe.size = probe.record_size = 0;
  if (!make_pipes(theirs)) return false;
  make_own_cgroup();
  probe.process = fork();
  if (probe.process == 0) become_probe(theirs[INPUT], theirs[REPORT], theirs[OUTPUT]);
  const int error = errno;
  for (int i = 0; i < PROBE_FDS; i++) {
    close(theirs[i]);
    if (probe.process < 0) close_own(i);
  }
  errno = error;
  return probe.process > 0;
}

void poll_probe(struct pollfd *fds) {
  const bool sends = sandbox.health != NULL && probe.sent < sandbox.health[HEALTH_OPERATIONS].size;
  fds[INPUT] = (struct pollfd){sends ? probe.fds[INPUT] : -1, POLLOUT, 0};
  fds[REPORT] = (struct pollfd){probe.fds[REPORT], POLLIN, 0};
  fds[OUTPUT] = (struct pollfd){probe.fds[OUTPUT], POLLIN, 0};
}

static bool is_nothing_yet(ssize_t moved) { return moved < 0 && (errno == EAGAIN || errno == EINTR); }

static void send_operations(void) {
  const struct word *all = &sandbox.health[HEALTH_OPERATIONS];
  const ssize_t sent = write(probe.fds[INPUT], all->text + probe.sent, all->size - probe.sent);
  if (is_nothing_yet(sent)) return;
  /* It has ended: its records say why, or that there are none. */
  probe.sent = sent < 0 ? all->size : probe.sent + (size_t)sent;
}

static size_t append_bytes(char *to, size_t size, size_t limit, const char *bytes, size_t count) {
  const size_t taken = count < limit - size ? count : limit - size;
  memcpy(to + size, bytes, taken);
  return size + taken;
}

/* Whether there was some. What is too much is read and forgotten. */
static bool take_output(void) {
  char bytes[4096];
  const ssize_t got = read(probe.fds[OUTPUT], bytes, sizeof bytes);
  if (got <= 0) {
    if (!is_nothing_yet(got)) close_own(OUTPUT);
    return false;
  }
  probe.size = append_bytes(probe.output, probe.size, sizeof probe.output, bytes, (size_t)got);
  return true;
}

static enum probe_news take_records(void) {
  char bytes[4096];
  const ssize_t got = read(probe.fds[REPORT], bytes, sizeof bytes);
  if (is_nothing_yet(got)) return PROBE_RUNS;
  if (got <= 0) return PROBE_ENDED;
  const bool is_first = probe.record_size == 0;
  probe.record_size =
      append_bytes(probe.records, probe.record_size, sizeof probe.records, bytes, (size_t)got);
  return is_first ? PROBE_STARTED : PROBE_RUNS;
}

static void set_end(struct probe_end *end, const char *result, const char *output, size_t size) {
  snprintf(end->result, sizeof end->result, "%s", result);
  end->size = append_bytes(end->output, 0, sizeof end->output, output, size);
}

/* By the record that has it, if any: who killed the probe left none. */
static void read_records(struct probe_end *end) {
  static const char failed[] = "error", ended[] = "exit";
  set_end(end, "lost", probe.output, probe.size);
  uint32_t size;
  for (size_t at = 0; at + sizeof size < probe.record_size; at += size) {
    memcpy(&size, probe.records + at, sizeof size);
    at += sizeof size;
    const char *words = probe.records + at;
    const size_t left = probe.record_size - at;
    if (size > left) size = (uint32_t)left;
    if (size > sizeof failed && memcmp(words, failed, sizeof failed) == 0) {
      set_end(end, "failed", words + sizeof failed, size - sizeof failed);
      return;
    }
    if (size <= sizeof ended || memcmp(words, ended, sizeof ended) != 0) continue;
    /* The code, of which a NUL follows. */
    if (memchr(words + sizeof ended, 0, size - sizeof ended) == NULL) continue;
    set_end(end, words + sizeof ended, probe.output, probe.size);
  }
}

static void bury(void) {
  while (waitpid(probe.process, NULL, 0) < 0 && errno == EINTR) continue;
  probe.process = 0;
  for (int i = 0; i < PROBE_FDS; i++) close_own(i);
}

enum probe_news hear_probe(const struct pollfd *fds, struct probe_end *end) {
  if (fds[INPUT].revents != 0 && probe.fds[INPUT] >= 0) send_operations();
  if (fds[OUTPUT].revents != 0) take_output();
  const enum probe_news news = fds[REPORT].revents == 0 ? PROBE_RUNS : take_records();
  if (news != PROBE_ENDED) return news;
  /* What it wrote last; no more than a pipe holds, as what it left running may write for ever. */
  for (int i = 0; i < 16 && probe.fds[OUTPUT] >= 0 && take_output(); i++) continue;
  read_records(end);
  bury();
  return news;
}

void kill_probe(void) {
  if (has_cgroup()) write_cgroup("health/cgroup.kill", "1");
  close_own(INPUT);
}

void finish_probes(void) {
  if (probe.process > 0) {
    kill(probe.process, SIGKILL);
    bury();
  }
  remove_own_cgroup();
}
