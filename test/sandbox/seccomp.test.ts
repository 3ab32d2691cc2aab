import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  allCapabilities,
  capabilityNumber,
  dockerCapabilities,
} from '../../src/layerfs/sandbox/defaults.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const native = join(root, 'src/layerfs/native/sandbox')
const ENOSYS = 38
const EPERM = 1

interface Call {
  readonly name: string
  readonly numbers: Readonly<Record<string, string>>
  readonly rule: string
}

function table(): Call[] {
  const lines = readFileSync(join(root, 'scripts/seccomp-table.txt'), 'utf8').split('\n')
  return lines
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const [name = '', x86_64 = '', i386 = '', aarch64 = '', rule = ''] = line.split(/\s+/)
      return { name, numbers: { x86_64, i386, aarch64 }, rule }
    })
}

/** What a call with a zero argument should get. */
function expected({ rule }: Call, capabilities: readonly string[]): number {
  const isAdmin = capabilities.includes('CAP_SYS_ADMIN')
  if (rule === 'clone3') return isAdmin ? 0 : ENOSYS
  if (!rule.startsWith('CAP_')) return 0
  return rule.split('|').some(name => capabilities.includes(name)) ? 0 : EPERM
}

function verdictsByTable(architecture: string, capabilities: readonly string[]): number[] {
  const calls = table().filter(call => /^\d+$/.test(call.numbers[architecture] ?? '-'))
  const listed = new Map(calls.map(call => [Number(call.numbers[architecture]), call]))
  const newest = Math.max(...listed.keys())
  return Array.from({ length: 601 }, (_, index) => {
    const number = index - 1
    const call = listed.get(number)
    if (call !== undefined) return expected(call, capabilities)
    return number > newest || number < 0 ? ENOSYS : EPERM
  })
}

describe('the program of the default system call filter', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sandbox-seccomp-'))
  const judge = join(directory, 'judge')
  beforeAll(() => {
    const sources = [join(root, 'test/sandbox/seccomp-verdicts.c'), join(native, 'seccomp.c')]
    const checks = ['-fsanitize=undefined', '-fno-sanitize-recover=all']
    execFileSync('cc', ['-std=gnu17', ...checks, `-I${native}`, '-o', judge, ...sources])
  }, 60_000)
  afterAll(() => rmSync(directory, { recursive: true }))

  /** By architecture: a verdict for each number, from -1 on. */
  function verdicts(capabilities: readonly string[]): Map<string, number[]> {
    const mask = capabilities.reduce(
      (sum, name) => sum | (1n << BigInt(capabilityNumber(name))),
      0n,
    )
    const text = execFileSync(judge, [mask.toString(16)], { encoding: 'utf8' })
    const judged = new Map<string, number[]>()
    for (const line of text.trim().split('\n')) {
      const [architecture = '', , verdict] = line.split(' ')
      judged.set(architecture, [...(judged.get(architecture) ?? []), Number(verdict)])
    }
    return judged
  }

  test.each([
    ["Docker's capabilities", dockerCapabilities],
    ['no capability', []],
    ['every capability', allCapabilities],
    ['CAP_SYS_ADMIN alone', ['CAP_SYS_ADMIN']],
    ['CAP_SYSLOG and CAP_BPF', ['CAP_SYSLOG', 'CAP_BPF']],
  ])('with %s gives every number of every architecture what the table says', (_, capabilities) => {
    for (const [architecture, judged] of verdicts(capabilities)) {
      expect([architecture, ...judged]).toEqual([
        architecture,
        ...verdictsByTable(architecture, capabilities),
      ])
    }
  })

  test('the table names every call once, with the rules it explains', () => {
    const calls = table()
    expect(new Set(calls.map(call => call.name)).size).toBe(calls.length)
    expect(calls.length).toBeGreaterThan(400)
    const rules = calls.filter(
      call => !/^(allow|clone3?|socket|personality|CAP_\S+)$/.test(call.rule),
    )
    expect(rules).toEqual([])
    for (const name of [
      'io_uring_setup',
      'keyctl',
      'add_key',
      'userfaultfd',
      'kexec_load',
      'swapon',
      'nfsservctl',
      'move_pages',
    ]) {
      expect(calls.map(call => call.name)).not.toContain(name)
    }
  })
})
