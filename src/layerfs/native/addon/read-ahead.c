/*
 * A file read, inflated and hashed by a thread of its own, ahead of the one that works on the bytes:
 *
 *   thread       wait for a free slot ─► read or inflate into it ─► it is full ─► hash it ─► …
 *   JavaScript   nextAhead: the slot before is free, wait for a full one ─► work on it ─► …
 *
 * 1. The slots are JavaScript's memory, and the hash is its too: both are held until the thread has
 *    ended, which `closeAhead` waits for, and so does whoever collects what was not closed.
 * 2. The thread writes to a slot that is free, and reads one that is full; JavaScript has it meanwhile.
 * 3. It waits for nobody but JavaScript: to be closed is all that it takes to end it.
 */
#define _GNU_SOURCE
#include "gzip-file.h"
#include "hash.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As `aheadSlots` of syscalls.ts. Each has room for a window before its bytes. */
#define SLOTS 4

struct ahead {
  pthread_t thread;
  bool is_running;
  int fd;
  /* Of a plain file: where it goes on. */
  off_t at;
  struct gzip_file *gzip;
  struct hash *hash;
  napi_ref held_memory, held_hash;
  uint8_t *slots;
  size_t slot_size;

  pthread_mutex_t lock;
  pthread_cond_t has_changed;
  /* How many slots were filled, and asked for, since the beginning. */
  uint64_t filled, wanted;
  bool is_closed;
  /* 0: at the end; -1: it failed. With either it has ended. */
  ssize_t lengths[SLOTS];
  bool has_ended;
  int failure;
};

/* --- The thread ----------------------------------------------------------------------------- */

/* The slot, once it is free; NULL: nobody wants more. */
static uint8_t *free_slot(struct ahead *ahead, uint64_t number_) {
  pthread_mutex_lock(&ahead->lock);
  /* One that is asked for is in use until the next is. */
  while (!ahead->is_closed && number_ >= ahead->wanted + SLOTS - 1) {
    pthread_cond_wait(&ahead->has_changed, &ahead->lock);
  }
  const bool is_closed = ahead->is_closed;
  pthread_mutex_unlock(&ahead->lock);
  return is_closed ? NULL : ahead->slots + number_ % SLOTS * ahead->slot_size;
}

static ssize_t fill(struct ahead *ahead, uint8_t *slot) {
  if (ahead->gzip != NULL) return read_gzip(ahead->gzip, slot, ahead->slot_size);
  const size_t room = ahead->slot_size - INFLATE_WINDOW;
  const ssize_t length = read_at(ahead->fd, ahead->at, slot + INFLATE_WINDOW, room);
  if (length > 0) ahead->at += length;
  return length;
}

static void tell_filled(struct ahead *ahead, uint64_t number_, ssize_t length) {
  const int failure = errno;
  pthread_mutex_lock(&ahead->lock);
  ahead->lengths[number_ % SLOTS] = length;
  ahead->failure = failure;
  ahead->filled = number_ + 1;
  ahead->has_ended = length <= 0;
  pthread_cond_signal(&ahead->has_changed);
  pthread_mutex_unlock(&ahead->lock);
}

static void *run(void *of) {
  struct ahead *ahead = of;
  for (uint64_t i = 0;; i++) {
    uint8_t *slot = free_slot(ahead, i);
    if (slot == NULL) return NULL;
    const ssize_t length = fill(ahead, slot);
    /* Before it is hashed: JavaScript works on the bytes meanwhile. */
    tell_filled(ahead, i, length);
    if (length <= 0) return NULL;
    if (ahead->hash != NULL) update_hash(ahead->hash, slot + INFLATE_WINDOW, (size_t)length);
  }
}

static void end_thread(void *of) {
  struct ahead *ahead = of;
  if (!ahead->is_running) return;
  pthread_mutex_lock(&ahead->lock);
  ahead->is_closed = true;
  pthread_cond_signal(&ahead->has_changed);
  pthread_mutex_unlock(&ahead->lock);
  pthread_join(ahead->thread, NULL);
  ahead->is_running = false;
}

static bool start(struct ahead *ahead) {
  errno = start_thread(&ahead->thread, run, ahead);
  ahead->is_running = errno == 0;
  return ahead->is_running;
}

/* --- JavaScript's side ---------------------------------------------------------------------- */

/* Ends the thread, and gives back what it worked with. */
static void stop(napi_env env, struct ahead *ahead) {
  if (ahead->is_running) napi_remove_env_cleanup_hook(env, end_thread, ahead);
  end_thread(ahead);
  if (ahead->fd >= 0) close(ahead->fd);
  ahead->fd = -1;
  if (ahead->hash != NULL) set_busy(ahead->hash, false);
  ahead->hash = NULL;
  if (ahead->held_hash != NULL) napi_delete_reference(env, ahead->held_hash);
  if (ahead->held_memory != NULL) napi_delete_reference(env, ahead->held_memory);
  ahead->held_hash = ahead->held_memory = NULL;
}

static void free_ahead(napi_env env, void *data, void *hint) {
  (void)hint;
  struct ahead *ahead = data;
  stop(env, ahead);
  pthread_mutex_destroy(&ahead->lock);
  pthread_cond_destroy(&ahead->has_changed);
  free(ahead->gzip);
  free(ahead);
}

/* Everything but the thread. False: errno. */
static bool fill_in(struct ahead *ahead, int fd, bool is_gzip) {
  pthread_mutex_init(&ahead->lock, NULL);
  pthread_cond_init(&ahead->has_changed, NULL);
  /* Its own: whoever closes theirs does not have it read another file. */
  ahead->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (ahead->fd < 0) return false;
  if (!is_gzip) return true;
  ahead->gzip = calloc(1, sizeof *ahead->gzip);
  if (ahead->gzip != NULL) ahead->gzip->fd = ahead->fd;
  return ahead->gzip != NULL;
}

/* openAhead(fd, isGzip, memory, hash): what the others want. Without a hash nothing is hashed. */
static napi_value call_open_ahead(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  const void *memory;
  size_t size;
  int fd;
  bool is_gzip = false;
  napi_get_value_bool(env, args.values[1], &is_gzip);
  if (!read_int(&args, 0, &fd) || !read_bytes(&args, 2, &memory, &size)) return NULL;
  struct hash *hash = NULL;
  if (!is_absent(&args, 3) && (hash = read_hash(&args, 3)) == NULL) return NULL;
  if (size / SLOTS <= INFLATE_WINDOW) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "Expected memory for slots and their windows");
    return NULL;
  }
  struct ahead *ahead = calloc(1, sizeof *ahead);
  if (ahead == NULL) return throw_errno(env, "openAhead", NULL);
  napi_value result;
  const bool is_filled = fill_in(ahead, fd, is_gzip);
  const int failure = errno;
  if (napi_create_external(env, ahead, free_ahead, NULL, &result) != napi_ok) {
    free_ahead(env, ahead, NULL);
    errno = ENOMEM;
    return throw_errno(env, "openAhead", NULL);
  }
  errno = failure;
  if (!is_filled) return throw_errno(env, "openAhead", NULL);
  ahead->slots = (uint8_t *)(uintptr_t)memory;
  ahead->slot_size = size / SLOTS;
  napi_create_reference(env, args.values[2], 1, &ahead->held_memory);
  if (hash != NULL) {
    napi_create_reference(env, args.values[3], 1, &ahead->held_hash);
    set_busy(hash, true);
  }
  ahead->hash = hash;
  if (!start(ahead)) return throw_errno(env, "openAhead", NULL);
  /* Where all of JavaScript ends, hash and memory may go before `free_ahead` is called. */
  napi_add_env_cleanup_hook(env, end_thread, ahead);
  return result;
}

static struct ahead *read_ahead(const struct arguments *args) {
  void *ahead = NULL;
  if (napi_get_value_external(args->env, args->values[0], &ahead) == napi_ok && ahead != NULL) {
    return ahead;
  }
  napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected what openAhead gave");
  return NULL;
}

/* The length of the slot that was filled after the one before, for which this waits. */
static ssize_t next_length(struct ahead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  const uint64_t wanted = ahead->wanted++;
  pthread_cond_signal(&ahead->has_changed);
  while (ahead->filled <= wanted && !ahead->has_ended) {
    pthread_cond_wait(&ahead->has_changed, &ahead->lock);
  }
  const uint64_t last = ahead->filled - 1;
  const ssize_t length = ahead->lengths[(wanted < last ? wanted : last) % SLOTS];
  errno = ahead->failure;
  pthread_mutex_unlock(&ahead->lock);
  return length;
}

/*
 * nextAhead(ahead): the length of the next slot, 0 at the end; as a text, what makes no sense in the
 * file. Whoever asks again after those gets the same.
 */
static napi_value call_next_ahead(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct ahead *ahead = read_ahead(&args);
  if (ahead == NULL) return NULL;
  if (!ahead->is_running) {
    napi_throw_error(env, NULL, "Cannot read ahead: it is closed");
    return NULL;
  }
  const ssize_t length = next_length(ahead);
  if (length >= 0) return number(env, length);
  const char *damage = ahead->gzip == NULL ? NULL : ahead->gzip->damage;
  if (damage == NULL) return throw_errno(env, "pread", NULL);
  napi_value text;
  napi_create_string_utf8(env, damage, NAPI_AUTO_LENGTH, &text);
  return text;
}

/* closeAhead(ahead): once it returns the thread has ended, and the hash has seen what was filled. */
static napi_value call_close_ahead(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct ahead *ahead = read_ahead(&args);
  if (ahead != NULL) stop(env, ahead);
  return ahead == NULL ? NULL : undefined(env);
}

const struct binding read_ahead_bindings[] = {
    {"openAhead", call_open_ahead},
    {"nextAhead", call_next_ahead},
    {"closeAhead", call_close_ahead},
    {NULL, NULL},
};
