#define _GNU_SOURCE
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
  ANSWER_BYTES = 32768,   /* the kernel fills at most this much of one dump datagram */
  ANSWER_TIMEOUT = 10,    /* seconds; the kernel answers within the send, so this is for bugs */
  DUMP_ATTEMPTS = 8,
};

int netlink_open(struct netlink *nl, int protocol) {
  *nl = (struct netlink){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)};
  if (nl->fd == -1) return -1;
  const int on = 1;
  const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT};
  /* Answers without a copy of the question, and dumps that honour their filters: both only spare
     work, so a kernel that lacks them is fine. */
  setsockopt(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(nl->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  return 0;
}

void netlink_close(struct netlink *nl) {
  const int error = errno;
  if (nl->fd != -1) close(nl->fd);
  nl->fd = -1;
  errno = error;
}

/* On overflow starts again at the front: every later write stays inside, and nothing is sent. */
static void *reserve(struct netlink_batch *batch, size_t size) {
  const size_t padded = NLMSG_ALIGN(size);
  if (padded > sizeof batch->bytes - batch->length) {
    batch->overflowed = true;
    batch->length = 0;
    batch->message = 0;
  }
  void *place = batch->bytes + batch->length;
  memset(place, 0, padded);
  batch->length += padded;
  return place;
}

/* The message's length is kept right after every write, so no call is needed to finish one. */
static void *append(struct netlink_batch *batch, size_t size) {
  void *place = reserve(batch, size);
  struct nlmsghdr *message = (void *)(batch->bytes + batch->message);
  message->nlmsg_len = (uint32_t)(batch->length - batch->message);
  return place;
}

void *netlink_begin(struct netlink_batch *batch, const char *step, uint16_t type, uint16_t flags,
                    size_t size) {
  if (batch->count == NETLINK_BATCH_MESSAGES) {
    batch->overflowed = true;
    batch->count = 0;
  }
  batch->steps[batch->count++] = step;
  batch->message = batch->length;
  struct nlmsghdr *message = append(batch, NLMSG_HDRLEN);
  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST | flags | (step != NULL ? NLM_F_ACK : 0);
  return append(batch, size);
}

void netlink_put(struct netlink_batch *batch, uint16_t type, const void *data, size_t size) {
  struct nlattr *attribute = append(batch, NLA_HDRLEN + size);
  attribute->nla_type = type;
  attribute->nla_len = (uint16_t)(NLA_HDRLEN + size);
  if (size > 0) memcpy((unsigned char *)attribute + NLA_HDRLEN, data, size);
}

void netlink_put_string(struct netlink_batch *batch, uint16_t type, const char *text) {
  netlink_put(batch, type, text, strlen(text) + 1);
}

void netlink_put_u32(struct netlink_batch *batch, uint16_t type, uint32_t value) {
  netlink_put(batch, type, &value, sizeof value);
}

void netlink_put_be32(struct netlink_batch *batch, uint16_t type, uint32_t value) {
  netlink_put_u32(batch, type, htonl(value));
}

void *netlink_put_header(struct netlink_batch *batch, size_t size) {
  return append(batch, size);
}

size_t netlink_nest(struct netlink_batch *batch, uint16_t type) {
  netlink_put(batch, type | NLA_F_NESTED, NULL, 0);
  return batch->length - NLA_HDRLEN;
}

void netlink_end(struct netlink_batch *batch, size_t nest) {
  struct nlattr *attribute = (void *)(batch->bytes + nest);
  attribute->nla_len = (uint16_t)(batch->length - nest);
}

/* Returns the sequence number of the first message, or 0 with errno. */
static uint32_t send_batch(struct netlink *nl, struct netlink_batch *batch) {
  if (batch->overflowed) {
    errno = EMSGSIZE;
    return 0;
  }
  const uint32_t first = nl->sequence + 1;
  for (size_t at = 0; at < batch->length;) {
    struct nlmsghdr *message = (void *)(batch->bytes + at);
    message->nlmsg_seq = ++nl->sequence;
    at += NLMSG_ALIGN(message->nlmsg_len);
  }
  const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  const ssize_t sent =
      TEMP_FAILURE_RETRY(sendto(nl->fd, batch->bytes, batch->length, 0,
                                (const struct sockaddr *)&kernel, sizeof kernel));
  return sent == -1 ? 0 : first;
}

/* From the kernel, which is 0; other processes can write to a netlink socket, too. */
static ssize_t receive(struct netlink *nl, void *answers) {
  struct sockaddr_nl from;
  ssize_t length;
  do {
    socklen_t size = sizeof from;
    length = TEMP_FAILURE_RETRY(
        recvfrom(nl->fd, answers, ANSWER_BYTES, MSG_TRUNC, (struct sockaddr *)&from, &size));
  } while (length != -1 && from.nl_pid != 0);
  if (length > ANSWER_BYTES) {
    errno = EMSGSIZE;
    return -1;
  }
  if (length == -1 && errno == EAGAIN) errno = ETIMEDOUT;
  return length;
}

static int error_of(const struct nlmsghdr *message) {
  const struct nlmsgerr *answer = NLMSG_DATA(message);
  return message->nlmsg_len < NLMSG_LENGTH(sizeof answer->error) ? EBADMSG : -answer->error;
}

/* Counts the answers of one datagram to the batch that began with `first`: -1 at the first that
   refuses, with errno. */
static int count_answers(const struct netlink_batch *batch, uint32_t first,
                         const struct nlmsghdr *message, size_t left, const char **step) {
  int answered = 0;
  for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
    const uint32_t index = message->nlmsg_seq - first;
    if (message->nlmsg_type != NLMSG_ERROR || index >= batch->count) continue;
    errno = error_of(message);
    if (errno == 0) {
      answered++;
      continue;
    }
    if (batch->steps[index] != NULL) *step = batch->steps[index];
    return -1;
  }
  return answered;
}

int netlink_commit(struct netlink *nl, struct netlink_batch *batch, const char **step) {
  int awaited = 0;
  /* Until an answer says more, the step is the first that has a name. */
  for (unsigned i = batch->count; i > 0; i--) {
    if (batch->steps[i - 1] == NULL) continue;
    *step = batch->steps[i - 1];
    awaited++;
  }
  const uint32_t first = send_batch(nl, batch);
  if (first == 0) return -1;

  _Alignas(struct nlmsghdr) unsigned char answers[ANSWER_BYTES];
  while (awaited > 0) {
    const ssize_t length = receive(nl, answers);
    if (length == -1) return -1;
    const int answered = count_answers(batch, first, (void *)answers, (size_t)length, step);
    if (answered == -1) return -1;
    awaited -= answered;
  }
  return 0;
}

struct question {
  uint32_t sequence;
  netlink_visitor *visit;
  void *context;
  /* The kernel's list changed while it was being told. */
  bool interrupted;
};

/* One datagram of answers: 1 when more will come, 0 after the last, -1 with errno. */
static int visit_answers(struct question *question, const struct nlmsghdr *message, size_t left) {
  for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
    if (message->nlmsg_seq != question->sequence) continue;
    question->interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    if (message->nlmsg_type == NLMSG_DONE) return 0;
    if (message->nlmsg_type == NLMSG_ERROR) {
      errno = error_of(message);
      return errno == 0 ? 0 : -1;
    }
    question->visit(message, question->context);
  }
  return 1;
}

int netlink_ask(struct netlink *nl, struct netlink_batch *batch, netlink_visitor *visit,
                void *context) {
  _Alignas(struct nlmsghdr) unsigned char answers[ANSWER_BYTES];
  for (int attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
    visit(NULL, context);
    struct question question = {
        .sequence = send_batch(nl, batch), .visit = visit, .context = context};
    if (question.sequence == 0) return -1;
    int status = 1;
    /* Read to the end even when interrupted: a socket can hold one listing at a time. */
    while (status == 1) {
      const ssize_t length = receive(nl, answers);
      status = length == -1 ? -1 : visit_answers(&question, (void *)answers, (size_t)length);
    }
    if (status == -1 || !question.interrupted) return status;
  }
  errno = EAGAIN;
  return -1;
}

static const struct nlattr *find(const unsigned char *at, size_t left, uint16_t type) {
  while (left >= NLA_HDRLEN) {
    const struct nlattr *attribute = (const void *)at;
    const size_t size = attribute->nla_len;
    if (size < NLA_HDRLEN || size > left) return NULL;
    if ((attribute->nla_type & NLA_TYPE_MASK) == type) return attribute;
    const size_t step = NLA_ALIGN(size);
    if (step > left) return NULL;
    at += step;
    left -= step;
  }
  return NULL;
}

const struct nlattr *netlink_find(const struct nlmsghdr *message, size_t header, uint16_t type) {
  const size_t skipped = NLMSG_HDRLEN + NLMSG_ALIGN(header);
  if (message->nlmsg_len < skipped) return NULL;
  return find((const unsigned char *)message + skipped, message->nlmsg_len - skipped, type);
}

const struct nlattr *netlink_find_in(const struct nlattr *nest, uint16_t type) {
  return nest == NULL ? NULL : find(netlink_data(nest), netlink_size(nest), type);
}

const void *netlink_data(const struct nlattr *attribute) {
  return (const unsigned char *)attribute + NLA_HDRLEN;
}

size_t netlink_size(const struct nlattr *attribute) {
  return attribute == NULL ? 0 : attribute->nla_len - (size_t)NLA_HDRLEN;
}

uint32_t netlink_u32(const struct nlattr *attribute) {
  uint32_t value = 0;
  if (netlink_size(attribute) >= sizeof value)
    memcpy(&value, netlink_data(attribute), sizeof value);
  return value;
}
