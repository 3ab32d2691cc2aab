/*
 * Bytes from a socket or a file to a socket without passing through this process's memory: splice(2)
 * by way of a pipe, or sendfile(2). A few threads do it for all relays, and JavaScript hears of the
 * end alone.
 *
 * 1. A relay has duplicates of both descriptors. Whoever closes theirs meanwhile does not make the
 *    thread write into another file that got the number.
 * 2. What was received is sent before the end is told, unless the target broke or we were stopped.
 * 3. A relay belongs to its thread, and so does what comes after it in the thread's list. Others look
 *    for it under the lock, add before the first, and touch its counters and `is_stopped` alone.
 */
#define _GNU_SOURCE
#include "syscalls.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

/* A pipe's, as the kernel makes it: with larger ones the sides wait for each other (measured). */
#define PIPE_SIZE (64 << 10)

/* After so many bytes it is the next relay's turn. */
#define TURN (8 << 20)

/*
 * What may wait in the target's buffer unsent. The kernel sends what waits as the client's
 * acknowledgements come in, which on this machine is the client's time: a tenth of what it takes to
 * read a large blob (measured).
 */
#define UNSENT (32 << 10)

#define EVENTS 64

/* A file may have to come from the disk, and the others of its thread wait for that. */
#define THREADS 4

/* As `relayEnds` in relay.ts. */
enum end { UNDER_WAY = -1, ALL_SENT, SOURCE_BROKE, TARGET_BROKE, STOPPED };

struct relay {
  uint32_t id;
  struct thread *thread;
  int from, to;
  /* -1 for a file, which is sent from `at` on. */
  int pipe_in, pipe_out;
  off_t at;
  /* Not received yet, of a file: not sent; received and in the pipe. */
  int64_t left, held;
  bool has_source_broken, is_ready, is_watched;
  enum end end;
  atomic_bool is_stopped;
  _Atomic int64_t received, sent;
  napi_threadsafe_function done;
  struct relay *next;
};

struct thread {
  bool is_running;
  int epoll_fd, wake_fd;
  struct relay *relays;
  size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread threads[THREADS];
static uint32_t last_id;

static void wake(const struct thread *thread) {
  const uint64_t one = 1;
  if (write(thread->wake_fd, &one, sizeof one) < 0) return; /* Full: it is awake. */
}

/* --- A thread ------------------------------------------------------------------------------- */

static bool is_file(const struct relay *relay) { return relay->pipe_in < 0; }

static int64_t smaller(int64_t one, int64_t other) { return one < other ? one : other; }

/* Whether it failed for good: not because there is nothing to do at the moment. */
static bool is_broken(ssize_t count) {
  return count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
}

static bool receive(struct relay *relay) {
  if (relay->left == 0 || relay->has_source_broken) return false;
  const size_t wanted = (size_t)smaller(relay->left, PIPE_SIZE);
  const ssize_t count =
      splice(relay->from, NULL, relay->pipe_in, NULL, wanted, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (is_broken(count)) relay->has_source_broken = true;
  if (count <= 0) return false;
  relay->left -= count;
  relay->held += count;
  relay->received += count;
  return true;
}

static bool send_on(struct relay *relay, bool has_more) {
  if (relay->held == 0) return false;
  const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (has_more ? SPLICE_F_MORE : 0);
  const ssize_t count =
      splice(relay->pipe_out, NULL, relay->to, NULL, (size_t)relay->held, flags);
  if (is_broken(count)) relay->end = TARGET_BROKE;
  if (count <= 0) return false;
  relay->held -= count;
  relay->sent += count;
  return true;
}

/* Of a file that ended before its time, or failed: what ends a socket has other numbers. */
static bool is_end_of_file(ssize_t count) {
  return count == 0 || (errno != EPIPE && errno != ECONNRESET && errno != ETIMEDOUT);
}

/* As `pump`. */
static void send_file(struct relay *relay) {
  for (int64_t before = relay->sent; relay->left > 0 && relay->sent - before < TURN;) {
    const size_t wanted = (size_t)smaller(relay->left, TURN);
    const ssize_t count = sendfile(relay->to, relay->from, &relay->at, wanted);
    if (is_broken(count)) relay->end = is_end_of_file(count) ? SOURCE_BROKE : TARGET_BROKE;
    if (count <= 0) {
      relay->is_ready = false;
      return;
    }
    relay->left -= count;
    relay->sent += count;
  }
  if (relay->left == 0) relay->end = ALL_SENT;
}

/*
 * Moves what can be moved now, a turn at most. Sockets are watched for changes only, so unless
 * there is more at once, each side has been tried until it would block.
 */
static void pump(struct relay *relay) {
  const int64_t before = relay->sent;
  for (;;) {
    const bool has_received = receive(relay);
    const bool has_sent = send_on(relay, has_received && relay->left > 0);
    if (relay->end == UNDER_WAY && relay->held == 0) {
      if (relay->left == 0) relay->end = ALL_SENT;
      else if (relay->has_source_broken) relay->end = SOURCE_BROKE;
    }
    if (relay->end != UNDER_WAY || (!has_received && !has_sent)) break;
    if (relay->sent - before >= TURN) return;
  }
  relay->is_ready = false;
}

static void watch(struct relay *relay) {
  struct epoll_event from = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = relay};
  struct epoll_event to = {.events = EPOLLOUT | EPOLLET, .data.ptr = relay};
  const int epoll_fd = relay->thread->epoll_fd;
  const int unsent = UNSENT;
  /* Of a connection that is not TCP's it fails, and nothing is lost. */
  setsockopt(relay->to, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
  relay->is_watched = true;
  if ((!is_file(relay) && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, relay->from, &from) != 0) ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, relay->to, &to) != 0) {
    relay->end = SOURCE_BROKE;
  }
}

static void close_if_open(int fd) {
  if (fd >= 0) close(fd);
}

static void close_all(struct relay *relay) {
  close_if_open(relay->from);
  close_if_open(relay->to);
  close_if_open(relay->pipe_in);
  close_if_open(relay->pipe_out);
}

static void finish(struct relay *relay) {
  /* The caller's descriptors keep the sockets open, and those would stay watched. */
  if (!is_file(relay)) epoll_ctl(relay->thread->epoll_fd, EPOLL_CTL_DEL, relay->from, NULL);
  epoll_ctl(relay->thread->epoll_fd, EPOLL_CTL_DEL, relay->to, NULL);
  close_all(relay);
  napi_threadsafe_function done = relay->done;
  if (napi_call_threadsafe_function(done, relay, napi_tsfn_blocking) != napi_ok) free(relay);
  napi_release_threadsafe_function(done, napi_tsfn_release);
}

static void remove_from_list(struct relay *relay) {
  pthread_mutex_lock(&lock);
  struct relay **place = &relay->thread->relays;
  while (*place != relay) place = &(*place)->next;
  *place = relay->next;
  relay->thread->count--;
  pthread_mutex_unlock(&lock);
}

/* Whether it can go on at once. */
static bool serve(struct relay *relay) {
  if (!relay->is_watched) watch(relay);
  if (relay->is_stopped) relay->end = STOPPED;
  if (relay->end == UNDER_WAY && relay->is_ready) (is_file(relay) ? send_file : pump)(relay);
  if (relay->end == UNDER_WAY) return relay->is_ready;
  remove_from_list(relay);
  finish(relay);
  return false;
}

static void *run(void *of) {
  const struct thread *thread = of;
  struct epoll_event events[EVENTS];
  for (bool has_ready = false;;) {
    const int count = epoll_wait(thread->epoll_fd, events, EVENTS, has_ready ? 0 : -1);
    for (int i = 0; i < count; i++) {
      struct relay *relay = events[i].data.ptr;
      uint64_t wakes;
      if (relay != NULL) relay->is_ready = true;
      else if (read(thread->wake_fd, &wakes, sizeof wakes) < 0) continue; /* Another wake took it. */
    }
    has_ready = false;
    pthread_mutex_lock(&lock);
    struct relay *relay = thread->relays;
    pthread_mutex_unlock(&lock);
    /* Others add before the first, so what comes after it is ours to follow. */
    for (struct relay *next; relay != NULL; relay = next) {
      next = relay->next;
      has_ready = serve(relay) || has_ready;
    }
  }
  return NULL;
}

/* 0, or what failed. */
static int start(struct thread *thread) {
  thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct epoll_event wakes = {.events = EPOLLIN, .data.ptr = NULL};
  int failure = 0;
  if (thread->epoll_fd < 0 || thread->wake_fd < 0 ||
      epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, thread->wake_fd, &wakes) != 0) {
    failure = errno;
  } else {
    pthread_t id;
    failure = start_thread(&id, run, thread);
    if (failure == 0) pthread_detach(id);
  }
  thread->is_running = failure == 0;
  if (failure != 0) {
    close_if_open(thread->epoll_fd);
    close_if_open(thread->wake_fd);
  }
  return failure;
}

/* --- JavaScript's side ----------------------------------------------------------------------- */

static void tell_end(napi_env env, napi_value done, void *context, void *data) {
  (void)context;
  struct relay *relay = data;
  const int64_t end = relay->end, sent = relay->sent;
  free(relay);
  if (env == NULL) return; /* Its thread of JavaScript has ended. */
  napi_value arguments[] = {number(env, end), number(env, sent)};
  napi_call_function(env, undefined(env), done, 2, arguments, NULL);
}

/* Duplicates, and the pipe of what is no file, or none of them. */
static bool open_all(struct relay *relay, int from, int to, bool has_pipe) {
  int ends[2] = {-1, -1};
  relay->pipe_in = relay->pipe_out = -1;
  relay->from = fcntl(from, F_DUPFD_CLOEXEC, 0);
  relay->to = relay->from < 0 ? -1 : fcntl(to, F_DUPFD_CLOEXEC, 0);
  if (relay->to >= 0 && (!has_pipe || pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0)) {
    relay->pipe_out = ends[0];
    relay->pipe_in = ends[1];
    return true;
  }
  const int saved = errno;
  close_all(relay);
  errno = saved;
  return false;
}

/* The thread that has least to do, one that has nothing before one that is to be started. */
static struct thread *next_thread(void) {
  struct thread *best = &threads[0];
  for (int i = 1; i < THREADS && best->count > 0; i++) {
    if (threads[i].count < best->count) best = &threads[i];
  }
  return best;
}

/* Its id; the relay is its thread's from then on. 0: with errno, and the relay is still the caller's. */
static uint32_t enlist(struct relay *relay) {
  pthread_mutex_lock(&lock);
  struct thread *thread = relay->thread = next_thread();
  const int failure = thread->is_running ? 0 : start(thread);
  uint32_t id = 0;
  if (failure == 0) {
    if (++last_id == 0) last_id = 1;
    id = relay->id = last_id;
    relay->next = thread->relays;
    thread->relays = relay;
    thread->count++;
    wake(thread);
  }
  pthread_mutex_unlock(&lock);
  errno = failure;
  return id;
}

/*
 * startRelay(from, at, to, count, done): its id. `at` is where in the file `from` it begins, or null
 * for a socket. `done(end, sent)` is called once, later.
 */
static napi_value call_start_relay(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  const bool is_socket = is_absent(&args, 1);
  int from, to;
  int64_t at = 0, count;
  if (!read_int(&args, 0, &from) || (!is_socket && !read_int64(&args, 1, &at)) ||
      !read_int(&args, 2, &to) || !read_int64(&args, 3, &count)) {
    return NULL;
  }
  struct relay *relay = calloc(1, sizeof *relay);
  if (relay == NULL) return throw_errno(env, "relay", NULL);
  relay->at = at;
  relay->left = count;
  /* A file is there: it is the target that is waited for. */
  relay->received = is_socket ? 0 : count;
  relay->end = UNDER_WAY;
  relay->is_ready = true;
  if (!open_all(relay, from, to, is_socket)) {
    free(relay);
    return throw_errno(env, "relay", NULL);
  }
  relay->done = new_callback(env, args.values[4], "relay", tell_end);
  const uint32_t id = relay->done == NULL ? 0 : enlist(relay);
  if (id != 0) return number(env, id);
  if (relay->done == NULL) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "Expected a function");
  } else {
    throw_errno(env, "relay", NULL);
    napi_release_threadsafe_function(relay->done, napi_tsfn_abort);
  }
  close_all(relay);
  free(relay);
  return NULL;
}

/* Calls under the lock with the relay that is under way under this id, or NULL. */
static struct relay *find(int64_t id) {
  for (int i = 0; i < THREADS; i++) {
    for (struct relay *relay = threads[i].relays; relay != NULL; relay = relay->next) {
      if (relay->id == id) return relay;
    }
  }
  return NULL;
}

static napi_value call_stop_relay(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int64_t id;
  if (!read_int64(&args, 0, &id)) return NULL;
  pthread_mutex_lock(&lock);
  struct relay *relay = find(id);
  if (relay != NULL) {
    relay->is_stopped = true;
    wake(relay->thread);
  }
  pthread_mutex_unlock(&lock);
  return undefined(env);
}

/* [received, sent] so far; undefined once it has ended. */
static napi_value call_relay_progress(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int64_t id, received = 0, sent = 0;
  if (!read_int64(&args, 0, &id)) return NULL;
  pthread_mutex_lock(&lock);
  struct relay *relay = find(id);
  if (relay != NULL) {
    received = relay->received;
    sent = relay->sent;
  }
  pthread_mutex_unlock(&lock);
  if (relay == NULL) return undefined(env);
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, number(env, received));
  napi_set_element(env, result, 1, number(env, sent));
  return result;
}

const struct binding relay_bindings[] = {
    {"startRelay", call_start_relay},
    {"stopRelay", call_stop_relay},
    {"relayProgress", call_relay_progress},
    {NULL, NULL},
};
