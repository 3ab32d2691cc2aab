/*
 * The plain files of a directory, copied at once: as copy-file.c, by several threads. For each file
 * the ways into C and back, and one processor alone, cost as much as the kernel does.
 */
#define _GNU_SOURCE
#include "list.h"
#include "parts.h"
#include "plain.h"
#include "syscalls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Modes that no file has: it is not wanted, or keeps its own. */
#define NOT_WANTED UINT32_MAX
#define OWN_MODE (UINT32_MAX - 1)

struct file {
  const char *name;
  uint32_t mode;
  uint8_t *status;
};

struct copy {
  int from_fd, to_fd;
  const double *numbers;
  struct file *files;
};

static void copy_part(struct part *part) {
  const struct copy *copy = part->data;
  double numbers[NUMBERS];
  memcpy(numbers, copy->numbers, sizeof numbers);
  for (size_t i = part->start; i < part->end; i++) {
    const struct file *file = &copy->files[i];
    numbers[MODE] = file->mode == OWN_MODE ? -1.0 : (double)file->mode;
    const char *call = NULL;
    const int status =
        copy_plain(copy->from_fd, file->name, copy->to_fd, file->name, numbers, &call);
    /* An owner that there is none of here: the long way knows what can be done about it. */
    if (status < 0 && strcmp(call, "fchown") != 0) {
      part->failure = errno;
      part->call = call;
      part->name = file->name;
      return;
    }
    *file->status = status < 0 ? IS_NOT_PLAIN : (uint8_t)status;
  }
}

/* `files` has room for all. Returns how many are wanted. */
static size_t find_wanted(const char *listing, size_t size, const uint32_t *modes, uint8_t *statuses,
                          struct file *files) {
  size_t count = 0, index = 0;
  struct entry entry;
  for (size_t at = 0; at < size && read_entry(listing + at, size - at, &entry); at += entry.size) {
    statuses[index] = IS_NOT_WANTED;
    if (modes[index] != NOT_WANTED) {
      files[count++] = (struct file){listing + at + sizeof entry, modes[index], &statuses[index]};
    }
    index++;
  }
  return count;
}

static bool read_modes(const struct arguments *args, size_t index, size_t count,
                       const uint32_t **modes) {
  const void *data;
  size_t size;
  if (!read_bytes(args, index, &data, &size)) return false;
  *modes = data;
  if (size == count * sizeof **modes && (uintptr_t)data % sizeof **modes == 0) return true;
  napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected a mode for each entry");
  return false;
}

/* copyFiles([fromFd, listing], toFd, modes, numbers): a Buffer of one answer for each entry. */
static napi_value call_copy_files(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct arguments from = {.env = env};
  struct copy copy = {0};
  const void *listing, *numbers;
  size_t size, numbers_size;
  const uint32_t *modes;
  if (!read_list(&args, 0, &from) || !read_int(&from, 0, &copy.from_fd) ||
      !read_bytes(&from, 1, &listing, &size) || !read_int(&args, 1, &copy.to_fd) ||
      !read_bytes(&args, 3, &numbers, &numbers_size)) {
    return NULL;
  }
  const size_t count = count_entries(listing, size);
  if (!read_modes(&args, 2, count, &modes)) return NULL;
  if (numbers_size != NUMBERS * sizeof(double)) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "Expected six numbers");
    return NULL;
  }
  void *statuses;
  napi_value result;
  if (napi_create_buffer(env, count, &statuses, &result) != napi_ok) return NULL;
  struct file *files = malloc((count + 1) * sizeof *files);
  if (files == NULL) {
    errno = ENOMEM;
    return throw_errno(env, "copyFiles", NULL);
  }
  double aligned[NUMBERS];
  memcpy(aligned, numbers, sizeof aligned);
  copy.numbers = aligned;
  copy.files = files;
  struct part failed;
  const size_t wanted = find_wanted(listing, size, modes, statuses, files);
  const bool is_done = in_parts(wanted, FILES_WORTH_A_THREAD, copy_part, &copy, &failed);
  free(files);
  if (is_done) return result;
  errno = failed.failure;
  return throw_errno(env, failed.call, failed.name);
}

const struct binding copy_files_bindings[] = {{"copyFiles", call_copy_files}, {NULL, NULL}};
