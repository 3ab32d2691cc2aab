/*
 * What outlives the caller. A container that lives on has its monitor alone, so that is who
 *
 *   hears of signals      bytes of CONTROL_FD, a named pipe whose both ends the monitor has open:
 *                         it never ends, and who finds no reader there finds no container
 *   keeps the output      log.c
 *   tells the end         one line in END_FD: code, signal, out of memory, time; empty until then
 *   clears up             cgroups, and the container's directory where it was to go at its end
 *
 * The order at the end: the line, the directory moved away, then the lock (LOCK_FD) let go by the
 * exit. Whoever sees the lock free sees everything that there will be.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/limits.h>

/* How often the kernel killed for want of memory; both versions of cgroups name it the same. */
static unsigned long memory_kills(const char *path) {
  char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return 0;
  text[size] = '\0';
  for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (strncmp(line, "oom_kill ", 9) == 0) return strtoul(line + 9, NULL, 10);
  }
  return 0;
}

static void tell_end(int code, int signal) {
  struct timespec now;
  char line[128];
  clock_gettime(CLOCK_REALTIME, &now);
  const bool out_of_memory = sandbox.memory_events != NULL && memory_kills(sandbox.memory_events) > 0;
  const int size = snprintf(line, sizeof line, "%d %d %d %lld.%03ld\n", code, signal, out_of_memory,
                            (long long)now.tv_sec, now.tv_nsec / 1000000);
  /* One write: there is no half of a line. Where the disk is full, none: as if we had been killed. */
  (void)!write(END_FD, line, (size_t)size);
}

/* The last process may be dead and not yet forgotten. What stays, the next run removes. */
void remove_cgroup(const char *path) {
  for (int attempt = 0; attempt < 50; attempt++) {
    if (rmdir(path) == 0 || errno != EBUSY) return;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

static bool is_populated(const char *directory) {
  char path[PATH_MAX], text[256] = "";
  snprintf(path, sizeof path, "%s/cgroup.events", directory);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const bool said = fd >= 0 && read(fd, text, sizeof text - 1) > 0;
  if (fd >= 0) close(fd);
  return said && strstr(text, "populated 1") != NULL;
}

void kill_the_rest(void) {
  const char *directory = sandbox.device_filter != NULL ? sandbox.device_filter[0].text : sandbox.first_cgroup;
  char path[PATH_MAX];
  if (sandbox.bundle || !sandbox.host_pid || directory == NULL) return;
  snprintf(path, sizeof path, "%s/cgroup.kill", directory);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, "1", 1);
  close(fd);
  for (int waited = 0; waited < 1000 && is_populated(directory); waited++) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

void keep_end(int code, int signal) {
  if (!sandbox.keeps) return;
  tell_end(code, signal);
  for (size_t i = 0; i < sandbox.own_cgroups.count; i++) remove_cgroup(sandbox.own_cgroups.at[i]);
  if (sandbox.discard != NULL) (void)!rename(sandbox.discard[0].text, sandbox.discard[1].text);
}
