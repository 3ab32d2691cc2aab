/**
 * Which devices a container may use, in the two languages of cgroups: lines for version 1, a BPF
 * program for version 2. Pure.
 *
 * Making nodes is allowed (images are built that way), using them is not: without rules, root in a
 * container could make a node of the host's disk and read it.
 */
import { isLittleEndian } from './records.ts'

export interface DeviceRule {
  readonly type: 'block' | 'character'
  /** Absent: any. */
  readonly major?: number
  readonly minor?: number
  readonly access: DeviceAccess
}

/** Some of `r` read, `w` write, `m` make a node. */
export type DeviceAccess = string

const character = (major: number, minor?: number): DeviceRule => ({
  type: 'character',
  major,
  ...(minor === undefined ? {} : { minor }),
  access: 'rwm',
})

/** Docker's: null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals. */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { type: 'character', access: 'm' },
  { type: 'block', access: 'm' },
  character(1, 3),
  character(1, 5),
  character(1, 7),
  character(1, 8),
  character(1, 9),
  character(5, 0),
  character(5, 1),
  character(5, 2),
  character(136),
]

/** `c 1:3 rwm`, a line for `devices.allow`. */
export function deviceRuleLine({ type, major, minor, access }: DeviceRule): string {
  return `${type[0]} ${major ?? '*'}:${minor ?? '*'} ${access}`
}

let ofNoWishes: Uint8Array | undefined

/** {@link deviceProgram} of the default rules and these; most containers have none. */
export function boundedBy(rules: readonly DeviceRule[]): Uint8Array {
  if (rules.length > 0) return deviceProgram([...defaultDeviceRules, ...rules])
  ofNoWishes ??= deviceProgram(defaultDeviceRules)
  return ofNoWishes
}

/** A program of type CGROUP_DEVICE that allows what one of the rules allows. */
export function deviceProgram(rules: readonly DeviceRule[]): Uint8Array {
  const code: Instruction[] = [
    // What the kernel asks: access in the high half and type in the low half of a word, numbers.
    { code: loadWord, to: typeRegister, from: contextRegister, offset: 0 },
    { code: loadWord, to: accessRegister, from: contextRegister, offset: 0 },
    { code: loadWord, to: majorRegister, from: contextRegister, offset: 4 },
    { code: loadWord, to: minorRegister, from: contextRegister, offset: 8 },
    { code: and, to: typeRegister, value: 0xffff },
    { code: shiftRight, to: accessRegister, value: 16 },
    ...rules.flatMap(ruleCode),
    { code: setTo, to: resultRegister, value: 0 },
    { code: exit },
  ]
  const bytes = Buffer.alloc(code.length * instructionSize)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  for (const [index, instruction] of code.entries()) encode(view, index, instruction)
  return bytes
}

interface Instruction {
  readonly code: number
  readonly to?: number
  readonly from?: number
  /** Of memory in bytes, of a jump in instructions. */
  readonly offset?: number
  readonly value?: number
}

const instructionSize = 8

// Names of eBPF's operations; arithmetic is of 32 bits.
const loadWord = 0x61
const and = 0x54
const shiftRight = 0x74
const copy = 0xbc
const setTo = 0xb7
const jumpUnless = 0x55
const jumpUnlessSame = 0x5d
const exit = 0x95

const resultRegister = 0
const contextRegister = 1
const typeRegister = 2
const accessRegister = 3
const majorRegister = 4
const minorRegister = 5
/** The context is read by then. */
const scratchRegister = 1

const types = { block: 1, character: 2 } as const
const accesses: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 }
const everyAccess = 7

/** Tests, each of which jumps over the rest of the rule; then the verdict. */
function ruleCode({ type, major, minor, access }: DeviceRule): Instruction[] {
  const allowed = [...access].reduce((bits, letter) => bits | (accesses[letter] ?? 0), 0)
  const tests: Instruction[] = [{ code: jumpUnless, to: typeRegister, value: types[type] }]
  if (allowed !== everyAccess) {
    tests.push({ code: copy, to: scratchRegister, from: accessRegister })
    tests.push({ code: and, to: scratchRegister, value: allowed })
    tests.push({ code: jumpUnlessSame, to: scratchRegister, from: accessRegister })
  }
  if (major !== undefined) tests.push({ code: jumpUnless, to: majorRegister, value: major })
  if (minor !== undefined) tests.push({ code: jumpUnless, to: minorRegister, value: minor })
  const verdict = [{ code: setTo, to: resultRegister, value: 1 }, { code: exit }]
  return [
    ...tests.map((test, index) =>
      test.code === jumpUnless || test.code === jumpUnlessSame
        ? { ...test, offset: tests.length - index - 1 + verdict.length }
        : test,
    ),
    ...verdict,
  ]
}

function encode(view: DataView, index: number, instruction: Instruction): void {
  const { code, to = 0, from = 0, offset = 0, value = 0 } = instruction
  const at = index * instructionSize
  view.setUint8(at, code)
  view.setUint8(at + 1, isLittleEndian ? to | (from << 4) : (to << 4) | from)
  view.setInt16(at + 2, offset, isLittleEndian)
  view.setInt32(at + 4, value, isLittleEndian)
}
