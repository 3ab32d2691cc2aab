/*
 * Mounts out of another file system state: its layers are stacked as the root's are, mounted
 * nowhere, and a path inside is mounted in the container. The path is resolved inside that state
 * (RESOLVE_IN_ROOT): neither ".." nor a link of it leads to the host or to the container's root.
 */
#include "sandbox.h"
#include "calls.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* The state that the next step_bind_layers() is about; operations come in order. */
static struct texts lower;
static const char *upper, *work;

void step_layer(const struct word *words) { append(&lower, words[0].text); }

void step_layer_upper(const struct word *words) {
  upper = words[0].text;
  work = words[1].text;
}

/* One directory alone is no overlay. */
static int open_state(const char *source) {
  if (upper == NULL && lower.count == 1) {
    int directory = open(lower.at[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) fail("open the source of a mount", errno, lower.at[0]);
    return directory;
  }
  int overlay = mount_overlay(&lower, upper, work);
  if (overlay < 0) fail("open the source of a mount", ENOSYS, source);
  park(overlay);
  return overlay;
}

void step_bind_layers(const struct word *words) {
  const char *source = words[0].text;
  int state = open_state(source);
  lower.count = 0;
  upper = work = NULL;
  int found = open_inside(state, source, O_PATH, 0);
  struct stat status;
  if (found < 0 || fstat(found, &status) != 0) fail("open the source of a mount", errno, source);
  int mount = clone_mount(found, "", false);
  const bool read_only = strcmp(words[2].text, "ro") == 0;
  set_attributes(mount, MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0), false, source);
  attach_at(mount, words[1].text, S_ISDIR(status.st_mode) ? KIND_DIRECTORY : KIND_FILE);
  close(found);
  close(state);
}
