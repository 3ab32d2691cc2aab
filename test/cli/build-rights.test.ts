import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseEntitlements } from '../../src/cli/tsbuild/entitlement-flags.ts'
import { parseSshAgents } from '../../src/cli/tsbuild/ssh-agents.ts'

const environment: Readonly<Record<string, string>> = { SSH_AUTH_SOCK: '/run/agent' }
const lookup = (name: string) => environment[name]

test('parseEntitlements() takes the rights that there are, and suggests the nearest of others', () => {
  const given = parseEntitlements({ allow: ['security.insecure'], network: 'default' })
  expect([...given]).toEqual(['security.insecure'])
  expect(() => parseEntitlements({ allow: ['network.hosts'], network: 'none' })).toThrow(
    'Cannot use flag --allow "network.hosts"',
  )
})

test('parseEntitlements() lets steps ask for the network that all of them have', () => {
  expect([...parseEntitlements({ allow: [], network: 'host' })]).toEqual(['network.host'])
})

test('parseSshAgents() takes the socket given, or that of the environment (R13)', () => {
  expect([...parseSshAgents(['default', 'work=/run/work'], lookup)]).toEqual([
    ['default', '/run/agent'],
    ['work', '/run/work'],
  ])
})

test('parseSshAgents() refuses what is no agent, saying what to do (R13)', () => {
  expect(() => parseSshAgents(['default'], () => undefined)).toThrow('SSH_AUTH_SOCK is not set')
  expect(() => parseSshAgents(['=x'], lookup)).toThrow('has no id')
  const directory = mkdtempSync(join(tmpdir(), 'ssh-flag-'))
  try {
    const key = join(directory, 'id_ed25519')
    writeFileSync(key, '')
    expect(() => parseSshAgents([`k=${key}`], lookup)).toThrow('not the socket of an agent')
  } finally {
    rmSync(directory, { recursive: true })
  }
})
