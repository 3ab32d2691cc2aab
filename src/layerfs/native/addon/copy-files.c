/*
 * The plain files of a directory, copied at once: as copy-file.c, by several threads. For each file
 * the ways into C and back, and one processor alone, cost as much as the kernel does.
 */
#define _GNU_SOURCE
#include "list.h"
#include "plain.h"
#include "syscalls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 4, FILES_OF_A_THREAD = 32 };

/* A mode that no file has: it is not wanted. */
#define NOT_WANTED UINT32_MAX

struct file {
  const char *name;
  uint32_t mode;
  uint8_t *status;
};

/* What a thread does, and how it failed: `call` is NULL when it did not. */
struct job {
  int from_fd, to_fd;
  const double *numbers;
  const struct file *files;
  size_t count;
  const char *call, *name;
  int failure;
};

static void *copy_all(void *data) {
  struct job *job = data;
  double numbers[NUMBERS];
  memcpy(numbers, job->numbers, sizeof numbers);
  for (const struct file *file = job->files; file < job->files + job->count; file++) {
    numbers[MODE] = file->mode;
    const char *call = NULL;
    const int status =
        copy_plain(job->from_fd, file->name, job->to_fd, file->name, numbers, &call);
    /* An owner that there is none of here: the long way knows what can be done about it. */
    if (status < 0 && strcmp(call, "fchown") != 0) {
      job->failure = errno;
      job->call = call;
      job->name = file->name;
      return NULL;
    }
    *file->status = status < 0 ? IS_NOT_PLAIN : (uint8_t)status;
  }
  return NULL;
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

static size_t threads_for(size_t count) {
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  const size_t most = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (size_t)processors;
  const size_t useful = count / FILES_OF_A_THREAD;
  return useful < 1 ? 1 : useful < most ? useful : most;
}

/* The first job that failed, or NULL. This thread does the first; where there is no other, all. */
static const struct job *run(const struct job *all) {
  static _Thread_local struct job jobs[MOST_THREADS];
  pthread_t threads[MOST_THREADS];
  bool is_started[MOST_THREADS] = {false};
  const size_t parts = threads_for(all->count);
  const size_t each = (all->count + parts - 1) / parts;
  for (size_t i = 0; i < parts; i++) {
    const size_t start = i * each < all->count ? i * each : all->count;
    jobs[i] = *all;
    jobs[i].files += start;
    jobs[i].count = all->count - start < each ? all->count - start : each;
    is_started[i] = i > 0 && pthread_create(&threads[i], NULL, copy_all, &jobs[i]) == 0;
  }
  for (size_t i = 0; i < parts; i++) {
    if (!is_started[i]) copy_all(&jobs[i]);
  }
  const struct job *failed = NULL;
  for (size_t i = parts; i-- > 0;) {
    if (is_started[i]) pthread_join(threads[i], NULL);
    if (jobs[i].call != NULL) failed = &jobs[i];
  }
  return failed;
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
  struct job job = {0};
  const void *listing, *numbers;
  size_t size, numbers_size;
  const uint32_t *modes;
  if (!read_list(&args, 0, &from) || !read_int(&from, 0, &job.from_fd) ||
      !read_bytes(&from, 1, &listing, &size) || !read_int(&args, 1, &job.to_fd) ||
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
  job.numbers = aligned;
  job.files = files;
  job.count = find_wanted(listing, size, modes, statuses, files);
  const struct job *failed = run(&job);
  free(files);
  if (failed == NULL) return result;
  errno = failed->failure;
  return throw_errno(env, failed->call, failed->name);
}

const struct binding copy_files_bindings[] = {{"copyFiles", call_copy_files}, {NULL, NULL}};
