import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { checkout } from './workspace.ts'

describeWith(['root', 'tmux', 'busybox', 'build'], 'a recorded terminal', () => {
  test('shows what docs/terminal.md shows: success, a miss explained, forty columns, failure', async () => {
    const script = join(checkout, 'scripts/terminal-session.mjs')
    const { stderr } = await promisify(execFile)(process.execPath, [script, '--check'])
    expect(stderr).toBe('')
  }, 60_000)
})
