/**
 * SeccompProfile: a system call filter as Docker's and OCI's JSON files say it, checked.
 *
 * Docker's form adds conditions (capabilities, architectures, kernel) to OCI's list; files of both
 * are read by the same rules.
 */
import { OciError, printable } from '../../../oci/errors.ts'
import {
  asArray,
  asSize,
  asString,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from '../../../oci/json.ts'

export interface SeccompProfile {
  readonly otherwise: SeccompAction
  readonly rules: readonly SeccompRule[]
  /** Names as in the file: `SCMP_ARCH_X86`; absent: that of the machine alone. */
  readonly architectures: readonly string[]
}

export interface SeccompRule {
  readonly names: readonly string[]
  readonly action: SeccompAction
  /** All of them must hold. */
  readonly conditions: readonly ArgumentCondition[]
  readonly includes: RuleScope
  readonly excludes: RuleScope
}

/** What the kernel does, as its own word for it. */
export type SeccompAction = number

export interface ArgumentCondition {
  readonly index: number
  readonly operator: ComparisonOperator
  readonly value: bigint
  /** For `masked`: what the bits of `value` are to be. */
  readonly masked: bigint
}

export type ComparisonOperator = 'ne' | 'lt' | 'le' | 'eq' | 'ge' | 'gt' | 'masked'

export interface RuleScope {
  readonly capabilities: readonly string[]
  /** Go's names: `amd64`. */
  readonly architectures: readonly string[]
  /** `4.8`: this one or newer. */
  readonly kernel?: string
}

/** A larger file is no profile. */
export const maxProfileSize: number = 1024 * 1024

/** Throws `invalid`, with the path of the field that is wrong. */
export function parseSeccompProfile(bytes: Uint8Array): SeccompProfile {
  return seccompProfileFrom(parseJson('seccomp profile', bytes))
}

/** As {@link parseSeccompProfile}, of a profile within another document. */
export function seccompProfileFrom(root: JsonNode): SeccompProfile {
  refuse(root, 'listenerPath')
  const defaultErrno = optional(member(root, 'defaultErrnoRet'), asSize)
  return {
    otherwise: actionFrom(member(root, 'defaultAction'), defaultErrno),
    rules: (optional(member(root, 'syscalls'), asArray) ?? []).map(ruleFrom),
    architectures: [
      ...strings(member(root, 'architectures')),
      ...(optional(member(root, 'archMap'), asArray) ?? []).flatMap(entry => [
        asString(member(entry, 'architecture')),
        ...strings(member(entry, 'subArchitectures')),
      ]),
    ],
  }
}

function refuse(node: JsonNode, key: string): void {
  if (optional(member(node, key), asString) === undefined) return
  throw new OciError('unsupported', `Cannot use the seccomp profile: ${key} is not supported`)
}

function ruleFrom(node: JsonNode): SeccompRule {
  const single = optional(member(node, 'name'), asString)
  const errno = optional(member(node, 'errnoRet'), asSize)
  const names = [...strings(member(node, 'names')), ...(single === undefined ? [] : [single])]
  if (names.length === 0) throw mismatch(member(node, 'names'), 'at least one name')
  return {
    names,
    action: actionFrom(member(node, 'action'), errno),
    conditions: (optional(member(node, 'args'), asArray) ?? []).map(conditionFrom),
    includes: scopeFrom(member(node, 'includes')),
    excludes: scopeFrom(member(node, 'excludes')),
  }
}

function scopeFrom(node: JsonNode): RuleScope {
  if (node.value === undefined || node.value === null)
    return { capabilities: [], architectures: [] }
  const kernel = optional(member(node, 'minKernel'), asString)
  return {
    capabilities: strings(member(node, 'caps')),
    architectures: strings(member(node, 'arches')),
    ...(kernel === undefined ? {} : { kernel }),
  }
}

function strings(node: JsonNode): string[] {
  return (optional(node, asArray) ?? []).map(asString)
}

/** SECCOMP_RET_*; the low half of two of them is an error number. */
const actions: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_ERRNO: 0x0005_0000,
  SCMP_ACT_TRACE: 0x7ff0_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
}

export const actionNames: readonly string[] = Object.keys(actions)

/** Without a number of its own a refusal is EPERM. */
const defaultErrorNumber = 1
const maxErrorNumber = 4095

function actionFrom(node: JsonNode, errno: number | undefined): SeccompAction {
  const name = asString(node)
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined
  if (action === undefined) {
    if (name !== 'SCMP_ACT_NOTIFY') throw mismatch(node, 'an action, like "SCMP_ACT_ALLOW"')
    throw new OciError('unsupported', `Cannot use the seccomp profile: nobody listens to ${name}`)
  }
  if (name !== 'SCMP_ACT_ERRNO' && name !== 'SCMP_ACT_TRACE') {
    if (errno !== undefined)
      throw mismatch(node, `an action with a number, as errnoRet is ${errno}`)
    return action
  }
  if ((errno ?? 0) > maxErrorNumber) throw mismatch(node, `errnoRet up to ${maxErrorNumber}`)
  return action + (errno ?? defaultErrorNumber)
}

const operators: Readonly<Record<string, ComparisonOperator>> = {
  SCMP_CMP_NE: 'ne',
  SCMP_CMP_LT: 'lt',
  SCMP_CMP_LE: 'le',
  SCMP_CMP_EQ: 'eq',
  SCMP_CMP_GE: 'ge',
  SCMP_CMP_GT: 'gt',
  SCMP_CMP_MASKED_EQ: 'masked',
}

export const operatorNames: readonly string[] = Object.keys(operators)

const argumentCount = 6

function conditionFrom(node: JsonNode): ArgumentCondition {
  const index = asSize(member(node, 'index'))
  if (index >= argumentCount) throw mismatch(member(node, 'index'), 'an argument from 0 to 5')
  const name = asString(member(node, 'op'))
  const operator = Object.hasOwn(operators, name) ? operators[name] : undefined
  if (operator === undefined) {
    throw mismatch(member(node, 'op'), `a comparison, not ${printable(name)}`)
  }
  return {
    index,
    operator,
    value: BigInt(asSize(member(node, 'value'))),
    masked: BigInt(optional(member(node, 'valueTwo'), asSize) ?? 0),
  }
}
