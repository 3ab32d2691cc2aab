/*
 * The default system call filter.
 *
 * The table has Docker's rules as spans of numbers; here they become a binary search, about 7
 * comparisons per call. The capabilities of the container decide some rules, which leaves fewer
 * spans: some 60 per architecture. Assembling takes microseconds; a filter of this size costs
 * 0.1 ms to load, one comparison after the other by name 0.7 ms.
 *
 * The program is written from its end, so that every jump goes to what is already placed:
 *
 *   by architecture → [number: search] → verdict, or → [argument: search] → verdict
 *
 * Arguments are compared by their low 32 bits, for which the kernel takes them: a family of
 * 2^32 + 38 is AF_ALG to socket(2).
 */
#include "sandbox.h"
#include "calls.h"
#include "seccomp.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>

enum verdict { ALLOW, REFUSE, UNKNOWN, CHECK_CLONE, CHECK_SOCKET, CHECK_PERSONALITY, VERDICTS };

/* The numbers from `first` to the next span. Allowed with a capability of `unlocked_by`. */
struct span {
  uint32_t first;
  enum verdict verdict;
  uint64_t unlocked_by;
};

#define BIT(capability) (UINT64_C(1) << (capability))
#include "seccomp-table.h"

/* AF_ALG (38) opens the kernel's cryptography to attack, AF_VSOCK (40) reaches the host. */
static const struct span families[] = {
    {0, ALLOW, 0}, {38, REFUSE, 0}, {39, ALLOW, 0}, {40, REFUSE, 0}, {41, ALLOW, 0},
};

/* PER_LINUX, PER_LINUX32, each with UNAME26, and "what is it?". */
static const struct span personalities[] = {
    {0, ALLOW, 0},       {1, REFUSE, 0},       {8, ALLOW, 0},       {9, REFUSE, 0},
    {0x20000, ALLOW, 0}, {0x20001, REFUSE, 0}, {0x20008, ALLOW, 0}, {0x20009, REFUSE, 0},
    {0xffffffff, ALLOW, 0},
};

static const uint32_t new_namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                       CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/* Grows downwards: `next` is the place of the latest instruction. */
struct program {
  struct sock_filter *code;
  unsigned next;
  unsigned targets[VERDICTS];
  uint64_t capabilities;
};

static unsigned emit(struct program *program, struct sock_filter instruction) {
  if (program->next == 0) fail("make the system call filter", E2BIG, "");
  program->code[--program->next] = instruction;
  return program->next;
}

static unsigned emit_load(struct program *program, unsigned offset) {
  return emit(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

static unsigned emit_return(struct program *program, uint32_t action) {
  return emit(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* To `yes` when the loaded value is (BPF_JEQ, BPF_JGE, BPF_JSET) `value`, else to `no`. */
static unsigned emit_branch(struct program *program, uint16_t is, uint32_t value,
                            const unsigned to[2]) {
  const unsigned yes = to[0] - program->next, no = to[1] - program->next;
  if (yes > 255 || no > 255) fail("make the system call filter", E2BIG, "jump");
  return emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | is | BPF_K, value, (uint8_t)yes, (uint8_t)no));
}

static enum verdict verdict_of(const struct program *program, const struct span *span) {
  return (span->unlocked_by & program->capabilities) != 0 ? ALLOW : span->verdict;
}

/* The search among spans[0..count), all of them sorted and with different neighbours. */
static unsigned emit_search(struct program *program, const struct span *spans, size_t count) {
  if (count == 1) return program->targets[spans[0].verdict];
  const size_t middle = count / 2;
  const unsigned below = emit_search(program, spans, middle);
  const unsigned above = emit_search(program, spans + middle, count - middle);
  return emit_branch(program, BPF_JGE, spans[middle].first, (unsigned[]){above, below});
}

static unsigned emit_numbers(struct program *program, const struct span *spans, size_t count) {
  struct span merged[SECCOMP_ROOM];
  size_t kept = 0;
  for (size_t i = 0; i < count && kept < SECCOMP_ROOM; i++) {
    const enum verdict verdict = verdict_of(program, &spans[i]);
    if (kept > 0 && merged[kept - 1].verdict == verdict) continue;
    merged[kept++] = (struct span){spans[i].first, verdict, 0};
  }
  emit_search(program, merged, kept);
  return emit_load(program, offsetof(struct seccomp_data, nr));
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The low half of the first argument; on a big-endian machine it would be the second word. */
static unsigned emit_load_argument(struct program *program) {
  return emit_load(program, offsetof(struct seccomp_data, args));
}

static void emit_verdicts(struct program *program) {
  unsigned *targets = program->targets;
  targets[ALLOW] = emit_return(program, SECCOMP_RET_ALLOW);
  targets[REFUSE] = emit_return(program, SECCOMP_RET_ERRNO | EPERM);
  targets[UNKNOWN] = emit_return(program, SECCOMP_RET_ERRNO | ENOSYS);
  emit_search(program, families, COUNT(families));
  targets[CHECK_SOCKET] = emit_load_argument(program);
  emit_search(program, personalities, COUNT(personalities));
  targets[CHECK_PERSONALITY] = emit_load_argument(program);
  emit_branch(program, BPF_JSET, new_namespaces, (unsigned[]){targets[REFUSE], targets[ALLOW]});
  targets[CHECK_CLONE] = emit_load_argument(program);
}

unsigned short seccomp_program(uint64_t capabilities, struct sock_filter code[SECCOMP_ROOM]) {
  struct program program = {.code = code, .next = SECCOMP_ROOM, .capabilities = capabilities};
  emit_verdicts(&program);
  /* An architecture that this kernel runs beside its own and that has no table gets nothing. */
  unsigned otherwise = program.targets[UNKNOWN];
#if defined(__x86_64__)
  const unsigned i386 = emit_numbers(&program, i386_spans, COUNT(i386_spans));
  const unsigned native = emit_numbers(&program, x86_64_spans, COUNT(x86_64_spans));
  otherwise = emit_branch(&program, BPF_JEQ, AUDIT_ARCH_I386, (unsigned[]){i386, otherwise});
  emit_branch(&program, BPF_JEQ, AUDIT_ARCH_X86_64, (unsigned[]){native, otherwise});
#elif defined(__aarch64__)
  const unsigned native = emit_numbers(&program, aarch64_spans, COUNT(aarch64_spans));
  emit_branch(&program, BPF_JEQ, AUDIT_ARCH_AARCH64, (unsigned[]){native, otherwise});
#else
#error "scripts/seccomp-table.txt has no system call numbers for this architecture"
#endif
  emit_load(&program, offsetof(struct seccomp_data, arch));
  memmove(code, code + program.next, (SECCOMP_ROOM - program.next) * sizeof *code);
  return (unsigned short)(SECCOMP_ROOM - program.next);
}

static void load(const struct sock_fprog *program) {
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, sandbox.filter_flags, program) != 0) {
    fail("load the system call filter", errno, "");
  }
}

void load_seccomp(uint64_t capabilities) {
  struct sock_filter code[SECCOMP_ROOM];
  load(&(struct sock_fprog){seccomp_program(capabilities, code), code});
}

/* Of the caller's own making; the kernel checks every instruction. */
void load_filter(const struct word *filter) {
  static struct sock_filter code[BPF_MAXINSNS];
  if (filter->size % sizeof *code != 0 || filter->size > sizeof code) {
    fail("load the system call filter", E2BIG, "");
  }
  memcpy(code, filter->text, filter->size); /* the bytes are not aligned */
  load(&(struct sock_fprog){(unsigned short)(filter->size / sizeof *code), code});
}
