/** Profiles in Docker's and OCI's form: judged by running their programs as the kernel would. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { dockerCapabilities } from '../../src/layerfs/sandbox/defaults.ts'
import { compileSeccomp } from '../../src/layerfs/sandbox/seccomp/compile.ts'
import { parseSeccompProfile } from '../../src/layerfs/sandbox/seccomp/profile.ts'
import { syscallNumber } from '../../src/layerfs/sandbox/seccomp/syscall-numbers.ts'

const architectures = {
  x86_64: 0xc000003e,
  i386: 0x40000003,
  aarch64: 0xc00000b7,
  mips: 8,
} as const
type Name = keyof typeof architectures

interface Call {
  readonly architecture?: Name
  readonly number: number
  readonly args?: readonly bigint[]
}

const around = { capabilities: dockerCapabilities, machine: 'x64', kernel: '6.18.1-generic' }

function compile(profile: object, changes: Partial<typeof around> = {}): Uint8Array {
  const parsed = parseSeccompProfile(Buffer.from(JSON.stringify(profile)))
  return compileSeccomp(parsed, { ...around, ...changes })
}

/** `allow`, `kill`, or the number of the error. */
function verdict(program: Uint8Array, { architecture = 'x86_64', number, args = [] }: Call) {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(number >>> 0, 0)
  data.writeUInt32LE(architectures[architecture], 4)
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(value, 16 + 8 * index)
  const action = execute(Buffer.from(program), data)
  if (action === 0x7fff0000) return 'allow'
  return action >>> 16 === 5 ? action & 0xffff : action === 0x80000000 ? 'kill' : action
}

function execute(code: Buffer, data: Buffer): number {
  let loaded = 0
  for (let at = 0; ; at++) {
    const [operation, value] = [code.readUInt16LE(8 * at), code.readUInt32LE(8 * at + 4)]
    if (operation === 0x06) return value
    if (operation === 0x20) loaded = data.readUInt32LE(value)
    else if (operation === 0x54) loaded = (loaded & value) >>> 0
    else if (operation === 0x05) at += value
    else at += code.readUInt8(8 * at + (compares(operation, loaded, value) ? 2 : 3))
  }
}

function compares(operation: number, loaded: number, value: number): boolean {
  if (operation === 0x15) return loaded === value
  if (operation === 0x25) return loaded > value
  if (operation === 0x35) return loaded >= value
  throw new Error(`instruction ${operation}`)
}

const numberOf = (name: string, architecture: Exclude<Name, 'mips'> = 'x86_64') =>
  syscallNumber(name, architecture) ?? -1

const allow = { defaultAction: 'SCMP_ACT_ALLOW' } as const
const refuse = { defaultAction: 'SCMP_ACT_ERRNO' } as const

describe('compileSeccomp()', () => {
  test('gives calls without a rule the default, and newer ones ENOSYS', () => {
    const program = compile(refuse)
    expect(verdict(program, { number: 0 })).toBe(1)
    expect(verdict(program, { number: 9999 })).toBe(38)
    expect(verdict(program, { number: 0x40000000 })).toBe(38)
    expect(verdict(compile({ ...refuse, defaultErrnoRet: 22 }), { number: 0 })).toBe(22)
    expect(verdict(compile(allow), { number: 9999 })).toBe('allow')
  })

  test('knows architectures that are listed, and refuses all others', () => {
    const program = compile({ ...allow, architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'] })
    expect(verdict(program, { architecture: 'i386', number: 1 })).toBe('allow')
    expect(verdict(program, { architecture: 'mips', number: 1 })).toBe(38)
    expect(verdict(compile(allow), { architecture: 'i386', number: 1 })).toBe(38)
    const arm = compile(allow, { machine: 'arm64' })
    expect(verdict(arm, { architecture: 'aarch64', number: 1 })).toBe('allow')
    expect(() => compile(allow, { machine: 's390x' })).toThrow('Cannot use a seccomp profile')
  })

  test('finds a call by its number on each architecture', () => {
    const syscalls = [{ names: ['mount', 'no_such_call'], action: 'SCMP_ACT_KILL_PROCESS' }]
    const program = compile({ ...allow, syscalls, architectures: ['SCMP_ARCH_X86'] })
    expect(verdict(program, { number: 165 })).toBe('kill')
    expect(verdict(program, { number: 21 })).toBe('allow')
    expect(verdict(program, { architecture: 'i386', number: 21 })).toBe('kill')
  })

  test.each([
    ['SCMP_CMP_EQ', 5, 0, [5n], [4n, 6n, 0x1_0000_0005n]],
    ['SCMP_CMP_NE', 5, 0, [4n, 0x1_0000_0005n], [5n]],
    ['SCMP_CMP_LT', 5, 0, [0n, 4n], [5n, 6n, 0x1_0000_0000n]],
    ['SCMP_CMP_LE', 5, 0, [0n, 5n], [6n, 0x1_0000_0000n]],
    ['SCMP_CMP_GT', 5, 0, [6n, 0x1_0000_0000n], [5n, 0n]],
    ['SCMP_CMP_GE', 5, 0, [5n, 0x1_0000_0000n], [4n]],
    ['SCMP_CMP_GE', 0x1_0000_0005, 0, [0x1_0000_0005n, 0x2_0000_0000n], [0xffff_ffffn]],
    ['SCMP_CMP_MASKED_EQ', 0xf0, 0x30, [0x30n, 0xffff_ff3fn], [0x20n, 0n]],
    ['SCMP_CMP_MASKED_EQ', 0x1_0000_0001, 1, [1n, 3n], [0x1_0000_0001n, 0n]],
  ] as const)('%s %i %i', (...[op, value, valueTwo, yes, no]) => {
    const args = [{ index: 1, value, valueTwo, op }]
    const program = compile({
      ...refuse,
      syscalls: [{ names: ['kill'], action: 'SCMP_ACT_ALLOW', args }],
    })
    const judge = (argument: bigint) =>
      verdict(program, { number: numberOf('kill'), args: [0n, argument] })
    expect(yes.map(judge)).toEqual(yes.map(() => 'allow'))
    expect(no.map(judge)).toEqual(no.map(() => 1))
  })

  test('takes conditions together, those on one argument as alternatives', () => {
    const condition = (index: number, value: number) => ({ index, value, op: 'SCMP_CMP_EQ' })
    const rule = (...args: object[]) => ({ names: ['socket'], action: 'SCMP_ACT_ALLOW', args })
    const both = compile({ ...refuse, syscalls: [rule(condition(0, 1), condition(1, 2))] })
    const either = compile({ ...refuse, syscalls: [rule(condition(0, 1), condition(0, 2))] })
    const socket = (program: Uint8Array, ...args: bigint[]) =>
      verdict(program, { number: numberOf('socket'), args })
    expect([socket(both, 1n, 2n), socket(both, 1n, 3n)]).toEqual(['allow', 1])
    expect([socket(either, 1n), socket(either, 2n), socket(either, 3n)]).toEqual([
      'allow',
      'allow',
      1,
    ])
  })

  test('applies rules by capability, architecture and kernel', () => {
    const syscalls = [
      { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
      { names: ['clone'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_SYS_ADMIN'] } },
      { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
      { name: 'read', action: 'SCMP_ACT_ALLOW', includes: { arches: ['amd64'] } },
      { name: 'write', action: 'SCMP_ACT_ALLOW', excludes: { arches: ['amd64'] } },
    ]
    const names = ['mount', 'clone', 'ptrace', 'read', 'write']
    const allowed = (changes: Partial<typeof around>) => {
      const program = compile({ ...refuse, syscalls }, changes)
      return names.filter(name => verdict(program, { number: numberOf(name) }) === 'allow')
    }
    expect(allowed({})).toEqual(['clone', 'ptrace', 'read'])
    expect(allowed({ capabilities: ['CAP_SYS_ADMIN'] })).toEqual(['mount', 'ptrace', 'read'])
    expect(allowed({ kernel: '4.7.0' })).toEqual(['clone', 'read'])
  })

  test('a program too large for the kernel is refused', () => {
    const args = Array.from({ length: 2000 }, (_, value) => ({
      index: 0,
      value,
      op: 'SCMP_CMP_EQ',
    }))
    const syscalls = [{ names: ['socket'], action: 'SCMP_ACT_ALLOW', args }]
    expect(() => compile({ ...refuse, syscalls })).toThrow('more than 4096 instructions')
  })

  const podman = '/usr/share/containers/seccomp.json'
  test.skipIf(!existsSync(podman))('compiles the profile of podman', () => {
    const program = compileSeccomp(parseSeccompProfile(readFileSync(podman)), around)
    expect(program.length / 8).toBeLessThan(700)
    const judge = (name: string, ...args: bigint[]) =>
      verdict(program, { number: numberOf(name), args })
    expect(judge('read')).toBe('allow')
    expect(judge('mount')).toBe('allow')
    expect(judge('bpf')).toBe(1)
    expect(judge('kexec_load')).toBe(1)
    expect(judge('personality', 8n)).toBe('allow')
    expect(judge('personality', 9n)).toBe(38)
    expect(judge('io_uring_setup')).toBe(38)
    expect(verdict(program, { architecture: 'i386', number: numberOf('read', 'i386') })).toBe(
      'allow',
    )
  })
})

describe('parseSeccompProfile()', () => {
  test.each([
    ['[]', 'expected an object'],
    ['{}', 'defaultAction: expected a string'],
    ['{"defaultAction":"SCMP_ACT_NOTIFY"}', 'nobody listens to SCMP_ACT_NOTIFY'],
    ['{"defaultAction":"toString"}', 'expected an action'],
    ['{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}', 'errnoRet up to 4095'],
    ['{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}', 'listenerPath is not supported'],
    ['{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"]}]}', 'syscalls[0].action'],
    [
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_KILL","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}',
      'syscalls[0].args[0].index: expected an argument from 0 to 5',
    ],
    [
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}',
      'expected a whole number',
    ],
  ])('refuses %s', (text, message) => {
    expect(() => parseSeccompProfile(Buffer.from(text))).toThrow(message)
  })
})

describe('syscallNumber()', () => {
  const table = fileURLToPath(new URL('../../scripts/seccomp-table.txt', import.meta.url))

  test('agrees with the table of the default filter', () => {
    const lines = readFileSync(table, 'utf8')
      .split('\n')
      .filter(line => /^\w/.test(line))
    for (const line of lines) {
      const [name = '', ...columns] = line.split(/\s+/)
      const known = (['x86_64', 'i386', 'aarch64'] as const).map(
        architecture => syscallNumber(name, architecture)?.toString() ?? '-',
      )
      expect([name, ...known]).toEqual([name, ...columns.slice(0, 3)])
    }
  })

  test('agrees with the C library of this machine', () => {
    const input = '#include <sys/syscall.h>\n'
    const listed = execFileSync('cc', ['-E', '-dM', '-'], { input, encoding: 'utf8' })
    const names = [...listed.matchAll(/^#define __NR_(\w+) (\d+)$/gm)]
    const architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
    expect(names.length).toBeGreaterThan(300)
    for (const [, name = '', number] of names) {
      expect([name, syscallNumber(name, architecture)]).toEqual([name, Number(number)])
    }
  })
})
