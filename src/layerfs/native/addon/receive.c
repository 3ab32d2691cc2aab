/*
 * The bytes of a plain connection into a file, hashed on the way, by a thread of its own for each:
 * JavaScript hears of the end alone.
 *
 *   wait for bytes ─► take them ─► hash them ─► write them ─► count them ─► …
 *
 * 1. The thread has duplicates of both descriptors: whoever closes theirs meanwhile does not have it
 *    write to another file that got the number.
 * 2. What is counted is in the hash and in the file, in the order in which it came.
 * 3. The hash is the thread's until it has ended; hash and handle are held as long.
 */
#define _GNU_SOURCE
#include "hash.h"
#include "new-file.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Enough that the calls cost little beside the bytes, which stay in the processor's cache. */
#define PIECE (256 << 10)

/* Between two requests that the disk write what has come. */
#define STRIDE (8 << 20)

/* As `receiveEnds` in receive.ts. */
enum end { UNDER_WAY = -1, ALL_RECEIVED, SOURCE_BROKE, SOURCE_SILENT, FILE_FAILED, STOPPED };

struct reception {
  pthread_t thread;
  bool is_running;
  /* The last one wakes the thread, to be stopped. */
  int socket, file, wake_fd;
  int idle_ms;
  int64_t wanted;
  struct hash *hash;
  _Atomic int64_t received;
  atomic_bool is_stopped;
  enum end end;
  /* The errno of what failed; 0: the connection was closed. */
  int failure;
  napi_threadsafe_function done;
  napi_ref held_self, held_hash;
  uint8_t piece[PIECE];
};

/* --- The thread ----------------------------------------------------------------------------- */

static enum end failed(struct reception *reception, enum end end, int failure) {
  reception->failure = failure;
  return end;
}

/* UNDER_WAY: there may be bytes now. */
static enum end wait_for_bytes(struct reception *reception) {
  struct pollfd watched[] = {
      {.fd = reception->socket, .events = POLLIN},
      {.fd = reception->wake_fd, .events = POLLIN},
  };
  const int count = poll(watched, 2, reception->idle_ms);
  if (count == 0) return SOURCE_SILENT;
  return count < 0 && errno != EINTR ? failed(reception, SOURCE_BROKE, errno) : UNDER_WAY;
}

/* The disk works while the rest comes: whoever syncs the file at the end waits for little then. */
static void start_writing(const struct reception *reception, int64_t before) {
  const int64_t now = reception->received;
  if (now / STRIDE == before / STRIDE) return;
  /* Of the whole file: what is on its way already costs nothing. Where it cannot be done, nothing is lost. */
  sync_file_range(reception->file, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static enum end store(struct reception *reception, size_t size) {
  if (!update_hash(reception->hash, reception->piece, size)) return failed(reception, FILE_FAILED, EIO);
  if (!write_all(reception->file, (const char *)reception->piece, size)) {
    return failed(reception, FILE_FAILED, errno);
  }
  const int64_t before = reception->received;
  reception->received += (int64_t)size;
  start_writing(reception, before);
  return UNDER_WAY;
}

static enum end receive_some(struct reception *reception) {
  const int64_t left = reception->wanted - reception->received;
  if (left == 0) return ALL_RECEIVED;
  if (reception->is_stopped) return STOPPED;
  const size_t room = left < PIECE ? (size_t)left : PIECE;
  const ssize_t count = recv(reception->socket, reception->piece, room, MSG_DONTWAIT);
  if (count > 0) return store(reception, (size_t)count);
  if (count < 0 && errno == EAGAIN) return wait_for_bytes(reception);
  if (count < 0 && errno == EINTR) return UNDER_WAY;
  return failed(reception, SOURCE_BROKE, count < 0 ? errno : 0);
}

static void *run(void *of) {
  struct reception *reception = of;
  do {
    reception->end = receive_some(reception);
  } while (reception->end == UNDER_WAY);
  napi_call_threadsafe_function(reception->done, reception, napi_tsfn_blocking);
  return NULL;
}

static void end_thread(void *of) {
  struct reception *reception = of;
  if (!reception->is_running) return;
  const uint64_t one = 1;
  reception->is_stopped = true;
  if (write(reception->wake_fd, &one, sizeof one) < 0) return; /* Never: once is not too often. */
  pthread_join(reception->thread, NULL);
  reception->is_running = false;
}

/* All of JavaScript ends, and with it what would have called it. */
static void give_up(void *of) {
  struct reception *reception = of;
  end_thread(reception);
  reception->done = NULL;
}

static bool start(struct reception *reception) {
  errno = start_thread(&reception->thread, run, reception);
  reception->is_running = errno == 0;
  return reception->is_running;
}

/* --- JavaScript's side ---------------------------------------------------------------------- */

static void close_if_open(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Ends the thread, and gives back what it worked with. */
static void stop(napi_env env, struct reception *reception) {
  if (reception->is_running) napi_remove_env_cleanup_hook(env, give_up, reception);
  end_thread(reception);
  close_if_open(&reception->socket);
  close_if_open(&reception->file);
  close_if_open(&reception->wake_fd);
  if (reception->hash != NULL) set_busy(reception->hash, false);
  reception->hash = NULL;
  if (reception->held_hash != NULL) napi_delete_reference(env, reception->held_hash);
  if (reception->done != NULL) napi_release_threadsafe_function(reception->done, napi_tsfn_release);
  reception->held_hash = NULL;
  reception->done = NULL;
  /* Last: nothing else may keep it. */
  if (reception->held_self != NULL) napi_delete_reference(env, reception->held_self);
  reception->held_self = NULL;
}

static void free_reception(napi_env env, void *data, void *hint) {
  (void)hint;
  stop(env, data);
  free(data);
}

static void tell_end(napi_env env, napi_value done, void *context, void *data) {
  (void)context;
  struct reception *reception = data;
  if (env == NULL) return; /* Its thread of JavaScript has ended. */
  napi_value arguments[] = {
      number(env, reception->end),
      number(env, reception->received),
      number(env, reception->failure),
  };
  /* Whoever is told may use the hash. */
  stop(env, reception);
  napi_call_function(env, undefined(env), done, 3, arguments, NULL);
}

/* Duplicates, and what wakes the thread. */
static bool open_all(struct reception *reception, int socket, int file) {
  reception->socket = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (reception->socket >= 0) reception->file = fcntl(file, F_DUPFD_CLOEXEC, 0);
  if (reception->file >= 0) reception->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return reception->wake_fd >= 0;
}

/* The handle, and what it stands for in `reception`; NULL after throwing. */
static napi_value new_reception(napi_env env, struct reception **reception) {
  napi_value handle;
  *reception = calloc(1, sizeof **reception);
  if (*reception == NULL) return throw_errno(env, "receive", NULL);
  (*reception)->socket = (*reception)->file = (*reception)->wake_fd = -1;
  if (napi_create_external(env, *reception, free_reception, NULL, &handle) == napi_ok) return handle;
  free(*reception);
  errno = ENOMEM;
  return throw_errno(env, "receive", NULL);
}

/* startReceive(socket, file, [count, idleMs], hash, done): `done(end, received, errno)` is called once, later. */
static napi_value call_start_receive(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), limits;
  int socket, file, idle_ms;
  int64_t count;
  if (!read_int(&args, 0, &socket) || !read_int(&args, 1, &file) || !read_list(&args, 2, &limits) ||
      !read_int64(&limits, 0, &count) || !read_int(&limits, 1, &idle_ms)) {
    return NULL;
  }
  struct hash *hash = read_hash(&args, 3);
  struct reception *reception;
  napi_value handle = hash == NULL ? NULL : new_reception(env, &reception);
  if (handle == NULL) return NULL;
  reception->wanted = count;
  reception->idle_ms = idle_ms;
  if (!open_all(reception, socket, file)) return throw_errno(env, "receive", NULL);
  reception->done = new_callback(env, args.values[4], "receive", tell_end);
  if (reception->done == NULL) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "Expected a function");
    return NULL;
  }
  napi_create_reference(env, args.values[3], 1, &reception->held_hash);
  set_busy(hash, true);
  reception->hash = hash;
  if (!start(reception)) {
    throw_errno(env, "receive", NULL);
    stop(env, reception);
    return NULL;
  }
  napi_create_reference(env, handle, 1, &reception->held_self);
  /* The hash may go before `free_reception` is called. */
  napi_add_env_cleanup_hook(env, give_up, reception);
  return handle;
}

static struct reception *read_reception(const struct arguments *args) {
  void *reception = NULL;
  if (napi_get_value_external(args->env, args->values[0], &reception) == napi_ok && reception != NULL) {
    return reception;
  }
  napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected what startReceive gave");
  return NULL;
}

/* stopReceive(reception): its end is told all the same, and before it if it was near. */
static napi_value call_stop_receive(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct reception *reception = read_reception(&args);
  if (reception == NULL) return NULL;
  const uint64_t one = 1;
  reception->is_stopped = true;
  if (reception->wake_fd >= 0 && write(reception->wake_fd, &one, sizeof one) < 0) {
    return throw_errno(env, "receive", NULL);
  }
  return undefined(env);
}

/* receivedSoFar(reception): how many bytes. */
static napi_value call_received_so_far(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct reception *reception = read_reception(&args);
  return reception == NULL ? NULL : number(env, reception->received);
}

const struct binding receive_bindings[] = {
    {"startReceive", call_start_receive},
    {"stopReceive", call_stop_receive},
    {"receivedSoFar", call_received_so_far},
    {NULL, NULL},
};
