/**
 * A SeccompProfile as a program for the kernel: which calls, on which architectures, get what.
 *
 * As libseccomp, whose files these are: of several rules for a call, one without conditions decides
 * when no other applies; conditions on the same argument in one rule are alternatives; a call that no
 * rule names gets the profile's default. Two things differ, both as our own default filter: calls
 * newer than all we know fail with ENOSYS when the default is an error, so that C libraries fall
 * back, and so do those of architectures that are not listed (x32 among them) instead of killing.
 */
import { OciError, printable } from '../../../oci/errors.ts'
import { Assembler, type Label } from './assembler.ts'
import type {
  ArgumentCondition,
  RuleScope,
  SeccompAction,
  SeccompProfile,
  SeccompRule,
} from './profile.ts'
import { type Architecture, newestNumber, syscallNumber } from './syscall-numbers.ts'

export interface SeccompSurroundings {
  /** Of the container: `CAP_CHOWN`. */
  readonly capabilities: readonly string[]
  /** As `process.arch` names it. */
  readonly machine: string
  /** As `uname -r` has it. */
  readonly kernel: string
}

/** Throws `invalid` for a profile that no program can hold, `unsupported` on other machines. */
export function compileSeccomp(profile: SeccompProfile, around: SeccompSurroundings): Uint8Array {
  const machine = machines[around.machine]
  if (machine === undefined) {
    throw new OciError(
      'unsupported',
      `Cannot use a seccomp profile on ${printable(around.machine)}: its calls are not known`,
    )
  }
  const rules = profile.rules.filter(rule => applies(rule, machine.goName, around))
  const assembler = new Assembler()
  let next = assembler.verdict(unknownCall)
  for (const architecture of machine.architectures) {
    const isNative = architecture === machine.architectures[0]
    if (!isNative && !profile.architectures.includes(profileNames[architecture])) continue
    const code = emitNumbers(assembler, { rules, otherwise: profile.otherwise, architecture })
    next = assembler.branch('eq', auditNumbers[architecture], [code, next])
  }
  assembler.load(architectureOffset, next)
  return assembler.finish()
}

/** The native architecture first. */
const machines: Readonly<
  Record<string, { readonly goName: string; readonly architectures: readonly Architecture[] }>
> = {
  x64: { goName: 'amd64', architectures: ['x86_64', 'i386'] },
  arm64: { goName: 'arm64', architectures: ['aarch64'] },
}

const profileNames: Readonly<Record<Architecture, string>> = {
  x86_64: 'SCMP_ARCH_X86_64',
  i386: 'SCMP_ARCH_X86',
  aarch64: 'SCMP_ARCH_AARCH64',
}

const auditNumbers: Readonly<Record<Architecture, number>> = {
  x86_64: 0xc000_003e,
  i386: 0x4000_0003,
  aarch64: 0xc000_00b7,
}

/** In struct seccomp_data; both machines are little-endian. */
const numberOffset = 0
const architectureOffset = 4
const argumentsOffset = 16

const errorAction = 0x0005_0000
/** ENOSYS. */
const unknownCall: SeccompAction = errorAction + 38

function applies(
  { includes, excludes }: SeccompRule,
  goName: string,
  around: SeccompSurroundings,
): boolean {
  const has = (capability: string) => around.capabilities.includes(capability)
  const isOld = ({ kernel }: RuleScope) =>
    kernel !== undefined && compareVersions(around.kernel, kernel) < 0
  const isNamed = ({ architectures }: RuleScope) => architectures.includes(goName)
  return (
    includes.capabilities.every(has) &&
    (includes.architectures.length === 0 || isNamed(includes)) &&
    !isOld(includes) &&
    !excludes.capabilities.some(has) &&
    !isNamed(excludes) &&
    (excludes.kernel === undefined || isOld(excludes))
  )
}

/** By major and minor number alone, as Docker. */
function compareVersions(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(part => Number.parseInt(part, 10))
  const [bMajor = 0, bMinor = 0] = b.split('.').map(part => Number.parseInt(part, 10))
  return aMajor - bMajor || aMinor - bMinor
}

interface CallTable {
  readonly rules: readonly SeccompRule[]
  readonly otherwise: SeccompAction
  readonly architecture: Architecture
}

/** Calls from `first` to the next span get the same code. */
interface Span {
  readonly first: number
  readonly code: Label
}

function emitNumbers(assembler: Assembler, table: CallTable): Label {
  const { otherwise, architecture } = table
  const isError = (otherwise & 0x7fff_0000) === errorAction
  const spans: Span[] = []
  const add = (first: number, code: Label) => {
    if (spans.at(-1)?.code !== code) spans.push({ first, code })
  }
  const known = rulesByNumber(table)
  const newest = newestNumber(architecture)
  for (let number = 0; number <= newest; number++) {
    add(number, emitCall(assembler, known.get(number) ?? [], otherwise))
  }
  // x32 calls come as x86_64's with a high bit set, and are above all others.
  add(newest + 1, assembler.verdict(isError ? unknownCall : otherwise))
  if (architecture === 'x86_64') add(0x4000_0000, assembler.verdict(unknownCall))
  return assembler.load(numberOffset, emitSearch(assembler, spans))
}

function rulesByNumber({ rules, architecture }: CallTable): Map<number, SeccompRule[]> {
  const byNumber = new Map<number, SeccompRule[]>()
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = syscallNumber(name, architecture)
      // Names of other architectures and of newer kernels are no error: profiles list them all.
      if (number === undefined) continue
      const list = byNumber.get(number)
      if (list === undefined) byNumber.set(number, [rule])
      else list.push(rule)
    }
  }
  return byNumber
}

function emitSearch(assembler: Assembler, spans: readonly Span[]): Label {
  const [only, second] = spans
  if (only === undefined) throw new Error('A search needs something to find')
  if (second === undefined) return only.code
  const middle = spans.length >> 1
  const upper = spans.slice(middle)
  const below = emitSearch(assembler, spans.slice(0, middle))
  const above = emitSearch(assembler, upper)
  return assembler.branch('ge', upper[0]?.first ?? 0, [above, below])
}

/** The rules of one call, from the last to the first, which is tried first. */
function emitCall(
  assembler: Assembler,
  rules: readonly SeccompRule[],
  otherwise: SeccompAction,
): Label {
  const plain = rules.find(rule => rule.conditions.length === 0)
  let next = assembler.verdict(plain?.action ?? otherwise)
  for (const rule of rules.filter(each => each.conditions.length > 0).reverse()) {
    for (const conditions of alternatives(rule.conditions)) {
      next = emitConditions(assembler, conditions, [assembler.verdict(rule.action), next])
    }
  }
  return next
}

/** Conditions on one argument are alternatives, as runc hands them to libseccomp. */
function alternatives(conditions: readonly ArgumentCondition[]): ArgumentCondition[][] {
  const isRepeated = new Set(conditions.map(({ index }) => index)).size < conditions.length
  return isRepeated ? conditions.map(condition => [condition]) : [[...conditions]]
}

function emitConditions(
  assembler: Assembler,
  conditions: readonly ArgumentCondition[],
  [yes, no]: readonly [Label, Label],
): Label {
  return conditions.reduceRight(
    (target, condition) => emitCondition(assembler, condition, [target, no]),
    yes,
  )
}

/** 64 bits in two words: the high ones decide unless they are the same. */
function emitCondition(
  assembler: Assembler,
  { index, operator, value, masked }: ArgumentCondition,
  [yes, no]: readonly [Label, Label],
): Label {
  const offset = argumentsOffset + 8 * index
  const [high, low] = [Number(value >> 32n), Number(value & 0xffff_ffffn)]
  const test = (word: 'high' | 'low', is: 'eq' | 'ge' | 'gt', to: readonly [Label, Label]) => {
    const compare = assembler.branch(is, word === 'high' ? high : low, to)
    return assembler.load(word === 'high' ? offset + 4 : offset, compare)
  }
  const ordered = (is: 'ge' | 'gt', to: readonly [Label, Label]) => {
    const sameHigh = test('low', is, to)
    const notAbove = test('high', 'eq', [sameHigh, to[1]])
    return test('high', 'gt', [to[0], notAbove])
  }
  switch (operator) {
    case 'eq':
      return test('high', 'eq', [test('low', 'eq', [yes, no]), no])
    case 'ne':
      return test('high', 'eq', [test('low', 'eq', [no, yes]), yes])
    case 'ge':
    case 'gt':
      return ordered(operator, [yes, no])
    case 'lt':
      return ordered('ge', [no, yes])
    case 'le':
      return ordered('gt', [no, yes])
    case 'masked': {
      assembler.branch('eq', Number(masked & 0xffff_ffffn), [yes, no])
      const lowWord = assembler.load(offset, assembler.and(low))
      assembler.branch('eq', Number(masked >> 32n), [lowWord, no])
      return assembler.load(offset + 4, assembler.and(high))
    }
  }
}
