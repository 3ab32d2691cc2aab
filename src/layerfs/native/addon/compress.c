/* Deflate as JavaScript calls it: in libuv's thread pool, as long as the input is held. */
#include "deflate.h"
#include "syscalls.h"

#include <stdlib.h>

struct work {
  napi_async_work work;
  napi_deferred deferred;
  /* Keeps the input. */
  napi_ref held;
  const uint8_t *input;
  size_t before, size;
  uint8_t *output;
  size_t output_size;
};

static void run(napi_env env, void *data) {
  (void)env;
  struct work *work = data;
  work->output = malloc(deflate_bound(work->size));
  if (work->output == NULL) return;
  work->output_size = deflate_piece(work->input, work->before, work->size, work->output);
}

static void finish(napi_env env, napi_status status, void *data) {
  struct work *work = data;
  napi_value result = NULL;
  if (status == napi_ok && work->output_size > 0) {
    result = buffer(env, work->output, work->output_size);
  }
  if (result != NULL) {
    napi_resolve_deferred(env, work->deferred, result);
  } else {
    napi_value text, error;
    napi_create_string_utf8(env, "Cannot compress: no memory", NAPI_AUTO_LENGTH, &text);
    napi_create_error(env, NULL, text, &error);
    napi_reject_deferred(env, work->deferred, error);
  }
  napi_delete_reference(env, work->held);
  napi_delete_async_work(env, work->work);
  free(work->output);
  free(work);
}

static napi_value call_deflate(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  const void *input;
  size_t length;
  int64_t before;
  if (!read_bytes(&args, 0, &input, &length) || !read_int64(&args, 1, &before)) return NULL;
  if (before < 0 || before > DEFLATE_WINDOW || (size_t)before > length || length > INT32_MAX) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "Expected a window within the input");
    return NULL;
  }
  struct work *work = calloc(1, sizeof *work);
  if (work == NULL) return throw_errno(env, "malloc", NULL);
  work->input = input;
  work->before = (size_t)before;
  work->size = length - (size_t)before;
  napi_value promise, name;
  napi_create_promise(env, &work->deferred, &promise);
  napi_create_reference(env, args.values[0], 1, &work->held);
  napi_create_string_utf8(env, "deflate", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, run, finish, work, &work->work);
  napi_queue_async_work(env, work->work);
  return promise;
}

const struct binding compress_bindings[] = {{"deflate", call_deflate}, {NULL, NULL}};
