import { mkdirSync, readdirSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { checkout, leftIn, openWorkspace } from './workspace.ts'

describeWith(['root', 'build', 'busybox'], 'the quickstart', () => {
  const work = openWorkspace('quickstart')
  afterAll(() => work.close())

  test('works in under a minute and leaves no process, no mount and no file', async () => {
    const begun = Date.now()
    const { stdout } = await run('npm', ['run', '--silent', 'quickstart'], {
      cwd: checkout,
      env: work.env,
      timeoutMs: 60_000,
    })
    expect(Date.now() - begun).toBeLessThan(60_000)
    expect(stdout).toMatch(/^Hello, world, from a container$/m)
    expect(stdout).toMatch(/^All of it worked, in \d+\.\d s\.$/m)
    expect(await leftIn(work.directory)).toEqual([])
    expect(readdirSync(work.path('tmp'))).toEqual([])
  })

  test('says what is wrong, and leaves nothing either', async () => {
    mkdirSync(work.path('bin'))
    const env = { ...work.env, TMPDIR: work.path('missing') }
    await expect(
      run('npm', ['run', '--silent', 'quickstart'], { cwd: checkout, env }),
    ).rejects.toThrow(/ENOENT/)
    expect(await leftIn(work.directory)).toEqual([])
  })
})
