/*
 * The flow of one attach:
 *   1 what the request says        parsed before anything is touched
 *   2 the container's namespace    one descriptor of it, so all that follows means the same one
 *   3 under the lock of the set-up: the bridge, forwarding, the firewall, a free address
 *   4 outside the lock: the veth pair, then the container's own side of it
 * Step 4 needs no lock: its names come from the address, and the address is ours by then.
 */
#define _GNU_SOURCE
#include "bridge.h"

#include "firewall.h"
#include "links.h"
#include "subnet.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct attachment {
  const struct bridge_request *request;
  struct bridge_result *result;
  struct netlink nl;
  struct subnet subnet;
  int bridge; /* interface index */
  int namespace;
};

static int close_keeping_errno(int fd) {
  const int error = errno;
  if (fd != -1) close(fd);
  errno = error;
  return -1;
}

/* The name becomes part of a path below /proc/sys and of a chain's name. */
static bool is_link_name(const char *name) {
  const size_t length = strlen(name);
  if (length == 0 || length >= IFNAMSIZ || !isalpha((unsigned char)name[0])) return false;
  for (size_t i = 1; i < length; i++) {
    if (!isalnum((unsigned char)name[i]) && strchr("_-.", name[i]) == NULL) return false;
  }
  return true;
}

static int read_request(struct attachment *attachment) {
  attachment->result->failed_step = "read the bridge's name";
  if (!is_link_name(attachment->request->name)) {
    errno = EINVAL;
    return -1;
  }
  attachment->result->failed_step = "read the bridge's subnet";
  return subnet_parse(attachment->request->subnet, &attachment->subnet);
}

static int open_namespace(struct attachment *attachment, pid_t child) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
  attachment->result->failed_step = "open the container's network namespace";
  attachment->namespace = open(path, O_RDONLY | O_CLOEXEC);
  const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  struct stat theirs, ours;
  if (attachment->namespace == -1 || home == -1 || fstat(attachment->namespace, &theirs) == -1 ||
      fstat(home, &ours) == -1) {
    return close_keeping_errno(home);
  }
  close(home);
  if (theirs.st_ino != ours.st_ino) return 0;
  /* Otherwise the host's own interfaces would be configured. */
  attachment->result->failed_step = "find the container outside the host's network namespace";
  errno = EINVAL;
  return -1;
}

static int enable_forwarding(void) {
  char value = 0;
  const int fd = open("/proc/sys/net/ipv4/ip_forward", O_RDONLY | O_CLOEXEC);
  if (fd == -1 || read(fd, &value, 1) != 1) return close_keeping_errno(fd);
  close(fd);
  if (value != '0') return 0;
  const int writable = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
  if (writable == -1 || write(writable, "1", 1) != 1) return close_keeping_errno(writable);
  return close(writable);
}

/* The lock file remembers the address given last, so that a freed one rests as long as possible.
   A text that is no address, after a crash or by hand, means: from the start. */
static int claim_address(struct attachment *attachment, int directory, int lock) {
  struct bridge_result *result = attachment->result;
  char text[INET_ADDRSTRLEN + 1] = {0};
  struct in_addr address = {0};
  if (pread(lock, text, sizeof text - 1, 0) > 0) text[strcspn(text, "\n")] = '\0';
  uint32_t last = inet_pton(AF_INET, text, &address) == 1 ? ntohl(address.s_addr) : 0;

  result->failed_step = "claim a free address of the bridge's subnet";
  result->lock_fd = subnet_claim(&attachment->subnet, directory, &last);
  if (result->lock_fd == -1) return -1;
  result->address.s_addr = htonl(last);
  inet_ntop(AF_INET, &result->address, text, sizeof text);
  strcat(text, "\n");
  const size_t length = strlen(text);
  if (pwrite(lock, text, length, 0) != (ssize_t)length || ftruncate(lock, (off_t)length) == -1) {
    return -1;
  }
  return 0;
}

static int set_up_shared(struct attachment *attachment, int directory, int lock) {
  struct bridge_result *result = attachment->result;
  const char *name = attachment->request->name;
  if (links_bridge(&attachment->nl, name, &attachment->subnet, &attachment->bridge,
                   &result->failed_step) == -1) {
    return -1;
  }
  result->failed_step = "switch on IP forwarding";
  if (enable_forwarding() == -1) return -1;
  const struct firewall firewall = {.bridge = name, .subnet = attachment->subnet};
  if (firewall_ensure(&firewall, &result->blocked_by, &result->failed_step) == -1) return -1;
  return claim_address(attachment, directory, lock);
}

static int make_directories(const char *path) {
  char prefix[PATH_MAX];
  if (path[0] != '/' || snprintf(prefix, sizeof prefix, "%s", path) >= PATH_MAX) {
    errno = EINVAL;
    return -1;
  }
  for (char *slash = strchr(prefix + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(prefix, 0755) == -1 && errno != EEXIST) return -1;
    *slash = '/';
  }
  return mkdir(prefix, 0700) == -1 && errno != EEXIST ? -1 : 0;
}

/* Both locks end when their descriptors do: with the process, whatever ends it. */
static int set_up_under_lock(struct attachment *attachment) {
  const char *path = attachment->request->lock_dir;
  attachment->result->failed_step = "open the directory of the network's locks";
  if (make_directories(path) == -1) return -1;
  const int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory == -1) return -1;
  attachment->result->failed_step = "lock the network's set-up";
  const int lock = openat(directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  int status = lock == -1 ? -1 : TEMP_FAILURE_RETRY(flock(lock, LOCK_EX));
  if (status == 0) status = set_up_shared(attachment, directory, lock);
  close_keeping_errno(lock);
  close_keeping_errno(directory);
  return status;
}

static int connect_container(struct attachment *attachment) {
  struct bridge_result *result = attachment->result;
  struct veth veth = {
      .bridge = attachment->bridge,
      .namespace = attachment->namespace,
      .address = ntohl(result->address.s_addr),
      .subnet = attachment->subnet,
  };
  links_name(veth.address, veth.name);
  if (links_veth(&attachment->nl, &veth, &result->failed_step) == -1) return -1;
  if (links_inside(&veth, &result->failed_step) == 0) return 0;
  links_remove(&attachment->nl, veth.name);
  return -1;
}

static int attach(struct attachment *attachment, pid_t child) {
  if (read_request(attachment) == -1 || open_namespace(attachment, child) == -1) return -1;
  attachment->result->failed_step = "open a netlink socket to the links";
  if (netlink_open(&attachment->nl, NETLINK_ROUTE) == -1) return -1;
  if (set_up_under_lock(attachment) == -1 || connect_container(attachment) == -1) return -1;
  attachment->result->prefix = attachment->subnet.prefix;
  attachment->result->gateway.s_addr = htonl(subnet_gateway(&attachment->subnet));
  attachment->result->failed_step = NULL;
  return 0;
}

int bridge_attach(pid_t child, const struct bridge_request *request, struct bridge_result *result) {
  *result = (struct bridge_result){.lock_fd = -1};
  struct attachment attachment = {
      .request = request, .result = result, .nl = {.fd = -1}, .namespace = -1};
  const int status = attach(&attachment, child);
  netlink_close(&attachment.nl);
  close_keeping_errno(attachment.namespace);
  if (status == -1) {
    close_keeping_errno(result->lock_fd);
    result->lock_fd = -1;
  }
  return status;
}
