/* Local sockets, descriptors that go over them, and second ones: socketpair, sendmsg with SCM_RIGHTS, dup. */
#define _GNU_SOURCE
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static napi_value call_socket_pair(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct name kind;
  int ends[2];
  if (!read_name(&args, 0, &kind)) return NULL;
  const int type = strcmp(kind.text, "messages") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return throw_errno(env, "socketpair", NULL);
  napi_value pair;
  napi_create_array_with_length(env, 2, &pair);
  for (uint32_t i = 0; i < 2; i++) napi_set_element(env, pair, i, number(env, ends[i]));
  return pair;
}

static napi_value call_send_descriptors(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info), list;
  int socket, descriptors[MAX_ARGUMENTS];
  struct name message;
  if (!read_int(&args, 0, &socket) || !read_name(&args, 1, &message) || !read_list(&args, 2, &list)) {
    return NULL;
  }
  for (size_t i = 0; i < list.count; i++) {
    if (!read_int(&list, i, &descriptors[i])) return NULL;
  }
  union {
    char bytes[CMSG_SPACE(MAX_ARGUMENTS * sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  struct iovec part = {message.text, strlen(message.text)};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
  if (list.count > 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(list.count * sizeof(int));
    struct cmsghdr *passed = CMSG_FIRSTHDR(&header);
    passed->cmsg_level = SOL_SOCKET;
    passed->cmsg_type = SCM_RIGHTS;
    passed->cmsg_len = CMSG_LEN(list.count * sizeof(int));
    memcpy(CMSG_DATA(passed), descriptors, list.count * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? throw_errno(env, "sendmsg", NULL) : undefined(env);
}

static napi_value call_duplicate(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int fd;
  if (!read_int(&args, 0, &fd)) return NULL;
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return duplicate < 0 ? throw_errno(env, "dup", NULL) : number(env, duplicate);
}

const struct binding socket_bindings[] = {
    {"duplicate", call_duplicate},
    {"socketPair", call_socket_pair},
    {"sendDescriptors", call_send_descriptors},
    {NULL, NULL},
};
