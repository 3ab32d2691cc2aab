/* Inflate as JavaScript calls it. */
#include "inflate.h"
#include "syscalls.h"

#include <string.h>

static napi_value call_new_inflater(napi_env env, napi_callback_info info) {
  (void)info;
  void *data;
  napi_value result = NULL;
  if (napi_create_buffer(env, sizeof(struct inflater), &data, &result) != napi_ok) return NULL;
  memset(data, 0, sizeof(struct inflater));
  return result;
}

static napi_value refuse(napi_env env, const char *what) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", what);
  return NULL;
}

static bool read_progress(const struct arguments *args, size_t index, uint32_t **progress) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *start = NULL;
  napi_get_typedarray_info(args->env, args->values[index], &type, &length, &start, NULL, NULL);
  *progress = start;
  return type == napi_uint32_array && length == 2;
}

static napi_value call_inflate(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), buffers;
  const void *state, *input, *output;
  size_t state_size;
  struct inflate_io io = {0};
  uint32_t *progress;
  if (!read_bytes(&args, 0, &state, &state_size) || !read_list(&args, 1, &buffers) ||
      !read_bytes(&buffers, 0, &input, &io.input_size) ||
      !read_bytes(&buffers, 1, &output, &io.output_size)) {
    return NULL;
  }
  if (state_size != sizeof(struct inflater) || (uintptr_t)state % _Alignof(struct inflater) != 0) {
    return refuse(env, "Expected an inflater");
  }
  if (!read_progress(&args, 2, &progress) || progress[0] > io.input_size ||
      progress[1] > io.output_size) {
    return refuse(env, "Expected two places inside input and output");
  }
  io.input = input;
  io.input_at = progress[0];
  io.output = (uint8_t *)(uintptr_t)output;
  io.output_at = progress[1];
  const enum inflate_status status = inflate_some((struct inflater *)(uintptr_t)state, &io);
  progress[0] = (uint32_t)io.input_at;
  progress[1] = (uint32_t)io.output_at;
  return number(env, status);
}

const struct binding decompress_bindings[] = {
    {"newInflater", call_new_inflater},
    {"inflate", call_inflate},
    {NULL, NULL},
};
