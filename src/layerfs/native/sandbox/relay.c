/*
 * Flows: bytes that the monitor carries from one descriptor to another, in bounded memory.
 *
 * A terminal needs two, keys and screen. Output needs one per stream when the caller reads it
 * through a socket, as Node's pipes are: a socket cannot be opened by /dev/stdout, which many
 * images have their logs written to. And one when the caller's output is a terminal that the
 * container was not given: a descriptor of it would let the program read what is typed there. So
 * the program gets pipes.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* `at` of `size` bytes are already delivered. */
static struct flow {
  int from, to;
  size_t at, size, step;
  bool ended;
  char bytes[32768];
} flows[MAX_FLOWS];
static size_t flow_count;

static bool is_logged(const struct flow *flow) { return flow->to < 0; }

static bool is_socket(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

void add_flow(int from, int to) {
  struct flow *flow = &flows[flow_count++];
  flow->from = from;
  flow->to = to;
  /* What surely fits when poll() says that something does: a writer that blocks hears nobody. */
  flow->step = is_socket(to) ? sizeof flow->bytes : 4096;
}

static bool pending(const struct flow *flow) { return flow->at < flow->size; }

static void fill(struct flow *flow) {
  ssize_t got = read(flow->from, flow->bytes, sizeof flow->bytes);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  flow->at = 0;
  flow->size = got > 0 ? (size_t)got : 0;
  flow->ended = got <= 0;
  if (!is_logged(flow)) return;
  log_output(flow->to - TO_LOG, flow->bytes, flow->size);
  flow->size = 0;
}

static void drain(struct flow *flow) {
  const size_t left = flow->size - flow->at;
  ssize_t sent = write(flow->to, flow->bytes + flow->at, left < flow->step ? left : flow->step);
  if (sent < 0 && (errno == EINTR || errno == EAGAIN)) return;
  /* Nobody reads any more: swallowed, so that the program does not wait for ever. */
  flow->at = sent < 0 ? flow->size : flow->at + (size_t)sent;
}

size_t poll_flows(struct pollfd *fds) {
  for (size_t i = 0; i < flow_count; i++) {
    const struct flow *flow = &flows[i];
    const bool reads = !pending(flow) && !flow->ended;
    fds[2 * i] = (struct pollfd){reads ? flow->from : -1, POLLIN, 0};
    fds[2 * i + 1] = (struct pollfd){pending(flow) ? flow->to : -1, POLLOUT, 0};
  }
  return 2 * flow_count;
}

void move_flows(const struct pollfd *fds) {
  for (size_t i = 0; i < flow_count; i++) {
    if (fds[2 * i].revents != 0) fill(&flows[i]);
    if (fds[2 * i + 1].revents != 0) drain(&flows[i]);
  }
}

static bool all_done(void) {
  for (size_t i = 0; i < flow_count; i++) {
    if (pending(&flows[i]) || !flows[i].ended) return false;
  }
  return true;
}

static bool any_pending(void) {
  for (size_t i = 0; i < flow_count; i++) {
    if (pending(&flows[i])) return true;
  }
  return false;
}

/* With its namespace all writers are dead, and what they wrote is here: but one may have passed its
 * end of the pipe on, to a process outside that keeps it. And where processes live on they may keep
 * it, too. Who is silent for so long is not waited for. */
static int patience_ms(void) {
  const bool all_dead = !sandbox.bundle || (sandbox.namespaces & CLONE_NEWPID) != 0;
  return all_dead ? 200 : 2000;
}

void finish_flows(bool has_caller) {
  for (size_t i = 0; i < flow_count; i++) {
    /* Keys have nobody to go to. */
    if (flows[i].from == 0) flows[i] = (struct flow){.ended = true};
  }
  while (!all_done()) {
    struct pollfd fds[2 * MAX_FLOWS + 1];
    size_t count = poll_flows(fds);
    fds[count] = (struct pollfd){has_caller ? INPUT_FD : -1, 0, 0}; /* for its hang-up alone */
    const bool is_reader_slow = any_pending();
    const int ready = poll(fds, count + 1, is_reader_slow ? -1 : patience_ms());
    if (ready == 0 || (fds[count].revents & POLLHUP) != 0) return;
    if (ready > 0) move_flows(fds);
  }
}

/* For descriptors 1 and 2: the ends of a pipe, or -1 where the program can have the caller's own. */
static struct {
  int read, write;
} outputs[2] = {{-1, -1}, {-1, -1}};

void make_output_pipes(void) {
  if (sandbox.terminal) return;
  for (int i = 0; i < 2; i++) {
    int ends[2];
    if (!sandbox.logs && !is_socket(1 + i) && !isatty(1 + i)) continue;
    if (pipe2(ends, O_CLOEXEC) != 0) fail("start the container", errno, "pipe");
    outputs[i].read = ends[0];
    outputs[i].write = ends[1];
  }
}

void write_to_output_pipes(void) {
  for (int i = 0; i < 2; i++) {
    if (outputs[i].write >= 0 && dup2(outputs[i].write, 1 + i) < 0) {
      fail("start the container", errno, "pipe");
    }
  }
}

void relay_output_pipes(void) {
  for (int i = 0; i < 2; i++) {
    if (outputs[i].read < 0) continue;
    close(outputs[i].write);
    add_flow(outputs[i].read, sandbox.logs ? TO_LOG + 1 + i : 1 + i);
  }
}
