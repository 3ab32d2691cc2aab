/* Threads that live for one call: it takes milliseconds, and to start one takes a hundredth of that. */
#define _GNU_SOURCE
#include "parts.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

enum { MOST_THREADS = 4 };

struct thread {
  struct part part;
  void (*work)(struct part *);
  pthread_t id;
  bool is_started;
};

static void *run(void *data) {
  struct thread *thread = data;
  thread->work(&thread->part);
  return NULL;
}

/* The number of processors is read from a file: not for what one thread does. */
static size_t threads_for(size_t count, size_t worth) {
  const size_t useful = count / worth;
  if (useful < 2) return 1;
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  const size_t most = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (size_t)processors;
  return useful < most ? useful : most;
}

/* This thread does the first part; where there is no other, all of them. */
bool in_parts(size_t count, size_t worth, void (*work)(struct part *), void *data,
              struct part *failed) {
  struct thread threads[MOST_THREADS];
  const size_t parts = threads_for(count, worth);
  const size_t each = (count + parts - 1) / parts;
  for (size_t i = 0; i < parts; i++) {
    const size_t start = i * each < count ? i * each : count;
    const size_t end = count - start < each ? count : start + each;
    threads[i] = (struct thread){.part = {.data = data, .start = start, .end = end}, .work = work};
    threads[i].is_started = i > 0 && pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0;
  }
  for (size_t i = 0; i < parts; i++) {
    if (!threads[i].is_started) work(&threads[i].part);
  }
  bool is_done = true;
  for (size_t i = parts; i-- > 0;) {
    if (threads[i].is_started) pthread_join(threads[i].id, NULL);
    if (threads[i].part.call == NULL) continue;
    *failed = threads[i].part;
    is_done = false;
  }
  return is_done;
}
