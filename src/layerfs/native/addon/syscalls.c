/*
 * The addon's entry point and the code its parts share. No policy here or in the parts: see
 * syscalls.ts for what each function promises.
 */
#define _GNU_SOURCE
#include "syscalls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct arguments arguments_of(napi_env env, napi_callback_info info) {
  struct arguments args = {.env = env, .count = MAX_ARGUMENTS};
  napi_get_cb_info(env, info, &args.count, args.values, NULL, NULL);
  return args;
}

static bool type_error(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

bool read_int(const struct arguments *args, size_t index, int *result) {
  int64_t wide;
  if (!read_int64(args, index, &wide)) return false;
  /* Owners are unsigned 32-bit, so the range is that of both. */
  if (wide < INT_MIN || wide > UINT32_MAX) return type_error(args->env, "Number out of range");
  *result = (int)(uint32_t)wide;
  return true;
}

bool read_int64(const struct arguments *args, size_t index, int64_t *result) {
  if (napi_get_value_int64(args->env, args->values[index], result) == napi_ok) return true;
  return type_error(args->env, "Expected a number");
}

bool is_absent(const struct arguments *args, size_t index) {
  napi_valuetype type;
  napi_typeof(args->env, args->values[index], &type);
  return type == napi_null || type == napi_undefined;
}

bool read_bytes(const struct arguments *args, size_t index, const void **data, size_t *size) {
  bool is_typed = false;
  napi_is_typedarray(args->env, args->values[index], &is_typed);
  if (!is_typed) return type_error(args->env, "Expected a Uint8Array");
  napi_typedarray_type type;
  void *start = NULL;
  napi_get_typedarray_info(args->env, args->values[index], &type, size, &start, NULL, NULL);
  if (type != napi_uint8_array) return type_error(args->env, "Expected a Uint8Array");
  *data = start;
  return true;
}

static bool name_too_long(napi_env env) {
  errno = ENAMETOOLONG;
  throw_errno(env, "path", NULL);
  return false;
}

bool read_name(const struct arguments *args, size_t index, struct name *result) {
  napi_valuetype type;
  napi_typeof(args->env, args->values[index], &type);
  size_t size = 0;
  if (type == napi_string) {
    const napi_value value = args->values[index];
    napi_get_value_string_utf8(args->env, value, result->text, sizeof result->text, &size);
    /* It may have been cut, before the character of up to four bytes that did not fit. */
    if (size > PATH_MAX - 4) {
      size_t whole = 0;
      napi_get_value_string_utf8(args->env, value, NULL, 0, &whole);
      if (whole > PATH_MAX) return name_too_long(args->env);
    }
  } else {
    const void *data;
    if (!read_bytes(args, index, &data, &size)) return false;
    if (size > PATH_MAX) return name_too_long(args->env);
    if (size > 0) memcpy(result->text, data, size);
    result->text[size] = '\0';
  }
  /* A NUL would make the kernel see another, shorter name than the caller checked. */
  if (strlen(result->text) == size) return true;
  return type_error(args->env, "A name must not contain NUL");
}

bool read_list(const struct arguments *args, size_t index, struct arguments *members) {
  uint32_t length = 0;
  members->env = args->env;
  if (napi_get_array_length(args->env, args->values[index], &length) != napi_ok ||
      length > MAX_ARGUMENTS) {
    return type_error(args->env, "Expected a short array");
  }
  members->count = length;
  for (uint32_t i = 0; i < MAX_ARGUMENTS; i++) {
    napi_get_undefined(args->env, &members->values[i]);
    if (i < length) napi_get_element(args->env, args->values[index], i, &members->values[i]);
  }
  return true;
}

#define ERRNO(name) {name, #name}

static const struct {
  int number;
  const char *name;
} errno_names[] = {
    ERRNO(EPERM),   ERRNO(ENOENT),     ERRNO(EINTR),   ERRNO(EIO),          ERRNO(ENXIO),
    ERRNO(E2BIG),   ERRNO(EBADF),      ERRNO(EAGAIN),  ERRNO(ENOMEM),       ERRNO(EACCES),
    ERRNO(EFAULT),  ERRNO(EBUSY),      ERRNO(EEXIST),  ERRNO(EXDEV),        ERRNO(ENODEV),
    ERRNO(ENOTDIR), ERRNO(EISDIR),     ERRNO(EINVAL),  ERRNO(ENFILE),       ERRNO(EMFILE),
    ERRNO(ENOTTY),  ERRNO(ETXTBSY),    ERRNO(EFBIG),   ERRNO(ENOSPC),       ERRNO(ESPIPE),
    ERRNO(EROFS),   ERRNO(EMLINK),     ERRNO(EPIPE),   ERRNO(ERANGE),       ERRNO(ENAMETOOLONG),
    ERRNO(ENOSYS),  ERRNO(ENOTEMPTY),  ERRNO(ELOOP),   ERRNO(ENODATA),      ERRNO(EOVERFLOW),
    ERRNO(ESTALE),  ERRNO(EOPNOTSUPP), ERRNO(EDQUOT),  ERRNO(EUCLEAN),      ERRNO(ENOLCK),
};

static const char *errno_name(int number) {
  for (size_t i = 0; i < sizeof errno_names / sizeof *errno_names; i++) {
    if (errno_names[i].number == number) return errno_names[i].name;
  }
  return "EUNKNOWN";
}

static void set_string(napi_env env, napi_value object, const char *key, const char *text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, object, key, value);
}

/* `path`: NULL where the call was about none. */
static napi_value throw_message(napi_env env, int number_, const char *syscall, const char *path,
                                const char *message) {
  napi_value code, text, error, negative;
  napi_create_string_utf8(env, errno_name(number_), NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text);
  napi_create_error(env, code, text, &error);
  napi_create_int32(env, -number_, &negative);
  napi_set_named_property(env, error, "errno", negative);
  set_string(env, error, "syscall", syscall);
  if (path != NULL) set_string(env, error, "path", path);
  napi_throw(env, error);
  return NULL;
}

napi_value throw_errno(napi_env env, const char *syscall, const char *path) {
  int saved = errno;
  char message[PATH_MAX + 256];
  const char *open = path == NULL ? "" : " '", *close = path == NULL ? "" : "'";
  snprintf(message, sizeof message, "%s: %s, %s%s%s%s", errno_name(saved), strerror(saved),
           syscall, open, path == NULL ? "" : path, close);
  return throw_message(env, saved, syscall, path, message);
}

napi_value throw_errno_detail(napi_env env, const char *syscall, const char *detail) {
  int saved = errno;
  char message[1024];
  snprintf(message, sizeof message, "%s: %s, %s: %s", errno_name(saved), strerror(saved), syscall,
           detail);
  return throw_message(env, saved, syscall, NULL, message);
}

napi_value number(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

napi_value buffer(napi_env env, const void *data, size_t size) {
  napi_value result = NULL;
  napi_create_buffer_copy(env, size, data, NULL, &result);
  return result;
}

napi_value undefined(napi_env env) {
  napi_value result;
  napi_get_undefined(env, &result);
  return result;
}

static void bind(napi_env env, napi_value exports, const struct binding *table) {
  for (; table->name != NULL; table++) {
    napi_value function;
    napi_create_function(env, table->name, NAPI_AUTO_LENGTH, table->function, NULL, &function);
    napi_set_named_property(env, exports, table->name, function);
  }
}

/* Loaded once per thread that requires it: there is no state to share. */
NAPI_MODULE_INIT() {
  bind(env, exports, file_bindings);
  bind(env, exports, create_file_bindings);
  bind(env, exports, read_ahead_bindings);
  bind(env, exports, metadata_bindings);
  bind(env, exports, xattr_bindings);
  bind(env, exports, mount_bindings);
  bind(env, exports, relay_bindings);
  bind(env, exports, receive_bindings);
  bind(env, exports, list_bindings);
  bind(env, exports, compress_bindings);
  bind(env, exports, copy_file_bindings);
  bind(env, exports, socket_bindings);
  bind(env, exports, hash_bindings);
  bind(env, exports, copy_files_bindings);
  bind(env, exports, pack_files_bindings);
  bind(env, exports, file_lines_bindings);
  bind(env, exports, place_files_bindings);
  return exports;
}
