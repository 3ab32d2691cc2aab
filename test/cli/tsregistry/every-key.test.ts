/** Every key that distribution documents: taken, without effect, or refused by name. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readEnvironment } from '../../../src/cli/environment.ts'
import { parseFlags } from '../../../src/cli/flags/flags.ts'
import { configure } from '../../../src/cli/tsregistry/config/apply-config.ts'
import { readConfig } from '../../../src/cli/tsregistry/config/read-config.ts'
import { serveFlags } from '../../../src/cli/tsregistry/serve-flags.ts'

const folder = mkdtempSync(join(tmpdir(), 'tsregistry-every-key-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const fixtures = join(import.meta.dirname, '../../../fixtures/registry/config')

function configured(text: string) {
  const file = join(folder, 'config.yml')
  writeFileSync(file, text)
  const environment = readEnvironment({}, 1000)
  const { values, given } = parseFlags(
    { flags: serveFlags },
    ['--config', file],
    environment.lookup,
  )
  return configure({ flags: values, given, environment })
}

function problems(text: string): readonly string[] {
  try {
    readConfig('c.yml', text)
    return []
  } catch (error) {
    return (error as Error).message.split('\n').slice(1)
  }
}

describe("a config.yml with distribution's keys", () => {
  it('names of all keys that distribution knows exactly those that cannot be had', () => {
    const named = problems(readFileSync(join(fixtures, 'every-key.yml'), 'utf8'))
    expect(named.map(line => line.split(': ')[1])).toEqual([
      'log.hooks',
      'loglevel',
      'storage.azure',
      'storage.gcs',
      'storage.inmemory',
      'storage.s3.accelerate',
      'storage.s3.encrypt',
      'storage.s3.keyid',
      'auth.silly',
      'auth.token',
      'middleware',
      'tags.maxtags',
      'http.prefix',
      'http.tls.letsencrypt',
      'http.h2c.enabled',
      'redis',
      'health.file',
      'health.http',
      'health.tcp',
      'validation',
      'policy',
    ])
    expect(named.every(line => line.includes('not supported'))).toBe(true)
  })

  it('takes every key that distribution knows, as far as it can be had', async () => {
    const { flags, notifications, purging } = await configured(
      readFileSync(join(fixtures, 'every-key-that-can-be-had.yml'), 'utf8'),
    )
    expect(flags).toMatchObject({ 'read-only': true, delete: true, 'log-level': 'debug' })
    // In a dry run nothing goes.
    expect(flags['upload-expiry']).toBeGreaterThan(99 * 365 * 24 * 3600_000)
    expect(purging).toMatchObject({ ageMs: 100 * 3600_000, everyMs: 3600_000, isDryRun: true })
    expect(notifications.includeReferences).toBe(true)
    expect(notifications.endpoints).toEqual([
      {
        name: 'listener',
        disabled: false,
        url: 'https://listener.example/events',
        headers: { Authorization: ['Bearer x'] },
        timeout: 2000,
        threshold: 5,
        backoff: 3000,
        ignoredmediatypes: ['application/octet-stream'],
        'ignore.mediatypes': ['text/plain'],
        'ignore.actions': ['pull'],
        format: 'distribution',
        batch: 100,
      },
    ])
  })

  it.each([
    ['[{name: a}]', /notifications\.endpoints: \[0\]\.url: missing/],
    ['[{name: a, url: x, ignor: {}}]', /\[0\]\.ignor: unknown key/],
    [
      '[{name: a, url: x, ignore: {action: []}}]',
      /\[0\]\.ignore\.action: .*did you mean ignore\.actions\?/,
    ],
    ['[{name: a, url: x, timeout: soon}]', /\[0\]\.timeout: expected a duration/],
    ['{name: a}', /notifications\.endpoints: expected a list/],
  ])('refuses endpoints of notifications that cannot be: %s', (endpoints, message) => {
    expect(problems(`version: 0.1\nnotifications: {endpoints: ${endpoints}}\n`).join('\n')).toMatch(
      message,
    )
  })
})
