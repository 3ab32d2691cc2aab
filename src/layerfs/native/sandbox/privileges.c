/*
 * From root of the host to the container's user.
 *
 *   bounding set        needs CAP_SETPCAP
 *   groups, gid, uid    in this order: each needs what the next takes away
 *   seccomp             needs CAP_SYS_ADMIN unless no_new_privs is set; kept over the change of user
 *   final capabilities  last
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/capability.h>
#include <linux/magic.h>

static const char *const step = "give up privileges";

static void drop_bounding_set(void) {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
    if ((sandbox.capabilities >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) fail(step, errno, "bounding set");
  }
}

/* What we may have at all: asking for a capability the caller lacks is EPERM otherwise. */
static uint64_t permitted(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) fail(step, errno, "capget");
  return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static void set_each(uint64_t effective, uint64_t permitted_set, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  for (int half = 0; half < 2; half++) {
    data[half] = (struct __user_cap_data_struct){(uint32_t)(effective >> 32 * half),
                                                 (uint32_t)(permitted_set >> 32 * half),
                                                 (uint32_t)(inheritable >> 32 * half)};
  }
  if (syscall(SYS_capset, &header, data) != 0) fail(step, errno, "capset");
}

/* Inheritable is always empty: a program of the image could hand it on past the bounding set. */
static void set_capabilities(uint64_t set) { set_each(set, set, 0); }

/* Unless a bundle wants it so, and names each set. */
static uint64_t wanted(enum capability_set set, uint64_t otherwise) {
  return sandbox.capability_sets[set] == NULL ? otherwise : *sandbox.capability_sets[set];
}

static void set_final_capabilities(uint64_t all) {
  const uint64_t held = all & wanted(PERMITTED, sandbox.capabilities);
  const uint64_t inheritable = all & wanted(INHERITABLE, 0);
  /* The kernel takes no others: left out, as runc leaves them out. */
  const uint64_t ambient = held & inheritable & wanted(AMBIENT, 0);
  set_each(held & wanted(EFFECTIVE, held), held, inheritable);
  for (unsigned long capability = 0; capability < 64; capability++) {
    if ((ambient >> capability & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) fail(step, errno, "ambient set");
  }
}

static void set_creation_mask(void) {
  const struct word *mask = sandbox.creation_mask;
  umask(mask == NULL ? 022 : (mode_t)number(mask->text, 0777));
}

/* In a user namespace with one id nobody may change groups, and there are no others. */
static bool groups_are_fixed(void) {
  char word[8] = {0};
  int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);
  const bool fixed = fd >= 0 && read(fd, word, sizeof word - 1) > 0 && strncmp(word, "deny", 4) == 0;
  if (fd >= 0) close(fd);
  return fixed;
}

static void become_user(void) {
  if (setgroups(sandbox.group_count, sandbox.groups) != 0 &&
      !(errno == EPERM && groups_are_fixed())) {
    fail(step, errno, "groups");
  }
  if (setresgid(sandbox.gid, sandbox.gid, sandbox.gid) != 0) fail(step, errno, "gid");
  if (setresuid(sandbox.uid, sandbox.uid, sandbox.uid) != 0) fail(step, errno, "uid");
}

/* A named one is somebody's file. */
static bool is_pipe(int fd) {
  struct stat status;
  struct statfs place;
  return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) && fstatfs(fd, &place) == 0 &&
         place.f_type == PIPEFS_MAGIC;
}

/* So that the user can open /dev/stdout: the permissions of a pipe are checked there. A file, a
 * terminal or /dev/null is the caller's and stays its own. */
static void own_output(void) {
  for (int fd = 1; fd <= 2; fd++) {
    if (!is_pipe(fd)) continue;
    /* EINVAL: no such id in this user namespace, of which become_user() tells. EPERM: a pipe of
     * somebody who is not in it; it can be written to all the same. */
    if (fchown(fd, sandbox.uid, (gid_t)-1) != 0 && errno != EINVAL && errno != EPERM) {
      fail(step, errno, "output");
    }
  }
}

void give_up_privileges(void) {
  if (!sandbox.terminal) own_output();
  const uint64_t all = permitted();
  drop_bounding_set();
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) fail(step, errno, "keepcaps");
  become_user();
  /* Changing the user cleared both. */
  if (!sandbox.detached && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail(step, errno, "death signal");
  prctl(PR_SET_DUMPABLE, 0);
  set_capabilities(all);
  if (sandbox.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    fail(step, errno, "no_new_privs");
  }
  set_creation_mask();
  if (sandbox.filter != NULL) load_filter(sandbox.filter);
  if (sandbox.seccomp) load_seccomp(sandbox.capabilities);
  set_final_capabilities(all);
}
