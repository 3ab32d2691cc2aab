/*
 * Digests in libuv's thread pool, by the OpenSSL that Node has in it: JavaScript goes on meanwhile.
 *
 * Its functions are looked up by name when the first hash is opened, so nothing is linked: a Node that
 * does not show them has no such hashes, and what needs one computes it the ordinary way. They are the
 * same in OpenSSL 1.1 and 3.
 *
 * One update at a time: until it has settled the hash is the thread's.
 */
#define _GNU_SOURCE
#include "hash.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#define LONGEST_DIGEST 64

/* The library's own, opaque. */
typedef struct context context;
typedef struct method method;

static struct {
  const method *(*find)(const char *name);
  context *(*open)(void);
  void (*close)(context *);
  int (*begin)(context *, const method *, void *engine);
  int (*update)(context *, const void *, size_t);
  int (*finish)(context *, unsigned char *, unsigned *);
  int (*copy)(context *to, const context *from);
} library;

static bool has_library;

static bool look_up(const char *name, void *function) {
  void *const found = dlsym(RTLD_DEFAULT, name);
  *(void **)function = found;
  return found != NULL;
}

static void find_library(void) {
  has_library = look_up("EVP_get_digestbyname", &library.find) &&
                look_up("EVP_MD_CTX_new", &library.open) &&
                look_up("EVP_MD_CTX_free", &library.close) &&
                look_up("EVP_DigestInit_ex", &library.begin) &&
                look_up("EVP_DigestUpdate", &library.update) &&
                look_up("EVP_DigestFinal_ex", &library.finish) &&
                look_up("EVP_MD_CTX_copy_ex", &library.copy);
}

struct hash {
  context *context;
  bool is_busy;
};

static void free_hash(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct hash *hash = data;
  library.close(hash->context);
  free(hash);
}

/* A hash with nothing in it, and the value that JavaScript has of it; NULL without memory. */
static struct hash *new_hash(napi_env env, napi_value *value) {
  struct hash *hash = calloc(1, sizeof *hash);
  if (hash == NULL) return NULL;
  hash->context = library.open();
  if (hash->context != NULL && napi_create_external(env, hash, free_hash, NULL, value) == napi_ok) {
    return hash;
  }
  if (hash->context != NULL) library.close(hash->context);
  free(hash);
  return NULL;
}

static napi_value fail(napi_env env, const char *message) {
  napi_throw_error(env, NULL, message);
  return NULL;
}

/* openHash(algorithm): undefined where Node shows no such thing. */
static napi_value call_open_hash(napi_env env, napi_callback_info info) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  struct arguments args = arguments_of(env, info);
  struct name algorithm;
  napi_value value;
  if (!read_name(&args, 0, &algorithm)) return NULL;
  pthread_once(&once, find_library);
  const method *const wanted = has_library ? library.find(algorithm.text) : NULL;
  if (wanted == NULL) return undefined(env);
  struct hash *hash = new_hash(env, &value);
  if (hash == NULL) return fail(env, "Cannot open hash: no memory");
  return library.begin(hash->context, wanted, NULL) == 1 ? value : undefined(env);
}

struct hash *read_hash(const struct arguments *args, size_t index) {
  void *hash = NULL;
  if (napi_get_value_external(args->env, args->values[index], &hash) != napi_ok || hash == NULL) {
    napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected a hash");
    return NULL;
  }
  if (!((struct hash *)hash)->is_busy) return hash;
  fail(args->env, "Cannot use hash: it is being updated");
  return NULL;
}

void set_busy(struct hash *hash, bool is_busy) { hash->is_busy = is_busy; }

bool update_hash(struct hash *hash, const void *data, size_t size) {
  return library.update(hash->context, data, size) == 1;
}

struct piece {
  const void *data;
  size_t size;
};

struct update {
  napi_async_work work;
  napi_deferred deferred;
  /* Keep the hash and the array with the pieces. */
  napi_ref held_hash, held_pieces;
  struct hash *hash;
  bool has_failed;
  uint32_t count;
  struct piece pieces[];
};

static void run(napi_env env, void *data) {
  (void)env;
  struct update *update = data;
  for (uint32_t i = 0; i < update->count; i++) {
    const struct piece *piece = &update->pieces[i];
    if (!update_hash(update->hash, piece->data, piece->size)) update->has_failed = true;
  }
}

static void settle(napi_env env, napi_status status, void *data) {
  struct update *update = data;
  set_busy(update->hash, false);
  if (status == napi_ok && !update->has_failed) {
    napi_resolve_deferred(env, update->deferred, undefined(env));
  } else {
    napi_value text, error;
    napi_create_string_utf8(env, "Cannot update hash", NAPI_AUTO_LENGTH, &text);
    napi_create_error(env, NULL, text, &error);
    napi_reject_deferred(env, update->deferred, error);
  }
  napi_delete_reference(env, update->held_hash);
  napi_delete_reference(env, update->held_pieces);
  napi_delete_async_work(env, update->work);
  free(update);
}

static bool read_pieces(const struct arguments *args, struct update *update) {
  for (uint32_t i = 0; i < update->count; i++) {
    struct arguments piece = {.env = args->env, .count = 1};
    if (napi_get_element(args->env, args->values[1], i, &piece.values[0]) != napi_ok) return false;
    if (!read_bytes(&piece, 0, &update->pieces[i].data, &update->pieces[i].size)) return false;
  }
  return true;
}

/* updateHash(hash, pieces): a promise. Nobody changes the pieces before it has settled. */
static napi_value call_update_hash(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct hash *hash = read_hash(&args, 0);
  uint32_t count = 0;
  if (hash == NULL) return NULL;
  if (napi_get_array_length(env, args.values[1], &count) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "Expected an array");
    return NULL;
  }
  struct update *update = calloc(1, sizeof *update + count * sizeof update->pieces[0]);
  if (update == NULL) return fail(env, "Cannot update hash: no memory");
  update->hash = hash;
  update->count = count;
  if (!read_pieces(&args, update)) {
    free(update);
    return NULL;
  }
  napi_value promise, name;
  napi_create_promise(env, &update->deferred, &promise);
  napi_create_reference(env, args.values[0], 1, &update->held_hash);
  napi_create_reference(env, args.values[1], 1, &update->held_pieces);
  napi_create_string_utf8(env, "hash", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, run, settle, update, &update->work);
  set_busy(hash, true);
  napi_queue_async_work(env, update->work);
  return promise;
}

/* updateHashNow(hash, piece): by the caller's thread. */
static napi_value call_update_hash_now(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct hash *hash = read_hash(&args, 0);
  const void *data;
  size_t size;
  if (hash == NULL || !read_bytes(&args, 1, &data, &size)) return NULL;
  if (!update_hash(hash, data, size)) return fail(env, "Cannot update hash");
  return undefined(env);
}

/* copyHash(hash): another that has seen the same. */
static napi_value call_copy_hash(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  const struct hash *hash = read_hash(&args, 0);
  napi_value value;
  if (hash == NULL) return NULL;
  struct hash *copy = new_hash(env, &value);
  if (copy == NULL || library.copy(copy->context, hash->context) != 1) {
    return fail(env, "Cannot copy hash");
  }
  return value;
}

/* finishHash(hash): the digest's bytes. The hash goes on from where it is. */
static napi_value call_finish_hash(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  const struct hash *hash = read_hash(&args, 0);
  unsigned char digest[LONGEST_DIGEST];
  unsigned size = 0;
  if (hash == NULL) return NULL;
  context *const copy = library.open();
  const bool is_done = copy != NULL && library.copy(copy, hash->context) == 1 &&
                       library.finish(copy, digest, &size) == 1;
  if (copy != NULL) library.close(copy);
  return is_done ? buffer(env, digest, size) : fail(env, "Cannot finish hash");
}

const struct binding hash_bindings[] = {
    {"openHash", call_open_hash},
    {"updateHash", call_update_hash},
    {"updateHashNow", call_update_hash_now},
    {"copyHash", call_copy_hash},
    {"finishHash", call_finish_hash},
    {NULL, NULL},
};
