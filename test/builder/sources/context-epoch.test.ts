import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseIgnore } from '../../../src/builder/dockerfile/ignore.ts'
import { contextEpoch } from '../../../src/builder/sources/context-epoch.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['git'], 'contextEpoch()', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-epoch-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  const file = (name: string, seconds: number) => {
    writeFileSync(join(directory, name), name)
    utimesSync(join(directory, name), seconds, seconds)
  }
  const epoch = (below = '', ignore = '') =>
    contextEpoch(join(directory, below), parseIgnore(ignore), {
      variables: process.env,
      signal: new AbortController().signal,
    })
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', directory, '-c', 'user.name=a', '-c', 'user.email=b', ...args], {
      env: { ...process.env, GIT_COMMITTER_DATE: '1700000000 +0200', HOME: directory },
      stdio: 'ignore',
    })

  test('is the newest file’s that is not ignored, whatever directories say', async () => {
    mkdirSync(join(directory, 'below'))
    file('old', 1000)
    file('below/new', 2000.9)
    file('ignored', 3000)
    expect(await epoch('', 'ignored')).toBe(2000)
    expect(await epoch()).toBe(3000)
  })

  test('is 0 of nothing', async () => {
    expect(await epoch()).toBe(0)
  })

  test('is the commit’s, also in a directory of the repository, whatever its message says', async () => {
    mkdirSync(join(directory, 'app'))
    file('app/later', 1_800_000_000)
    git('init')
    git('add', '.')
    git('commit', '-m', 'subject\n\ncommitter x <y> 5 +0000')
    expect(await epoch()).toBe(1_700_000_000)
    expect(await epoch('app')).toBe(1_700_000_000)
  })

  test('runs nothing that a repository’s own configuration names', async () => {
    file('f', 1000)
    git('init')
    git('add', '.')
    git('commit', '-m', 'x')
    const trap = `touch ${join(directory, 'ran')}`
    for (const name of ['core.pager', 'core.fsmonitor', 'gpg.program', 'core.sshCommand']) {
      git('config', name, trap)
    }
    git('config', 'log.showSignature', 'true')
    expect(await epoch()).toBe(1_700_000_000)
    rmSync(join(directory, 'f'))
    expect(() => rmSync(join(directory, 'ran'))).toThrow('ENOENT')
  })

  test('a repository without a commit has its files’ time', async () => {
    file('f', 1000)
    git('init')
    expect(await epoch('', '.git')).toBe(1000)
  })
})
