/** Open files: failures leave none, and having none left is a failure like others. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { mountsOf, processesLeft, underWay } from './kill/leftovers.ts'
import { openPrograms, type Programs } from './kill/programs.ts'

describeWith(['root'], 'open files', () => {
  let programs: Programs
  beforeEach(() => {
    programs = openPrograms()
  })
  afterEach(() => programs[Symbol.dispose]())

  /** What the script prints, which runs with at most `files` of them. */
  async function runScript(name: string, files: number, ...args: string[]): Promise<unknown> {
    const script = fileURLToPath(new URL(`./kill/processes/${name}.mjs`, import.meta.url))
    const words = [process.execPath, script, programs.dist, programs.work, ...args]
    const shell = ['-c', `ulimit -n ${files} && exec "$@"`, 'sh', ...words]
    const { stdout } = await promisify(execFile)('sh', shell, { maxBuffer: 2 ** 24 })
    return JSON.parse(stdout)
  }

  it('thousands of failures of all kinds leave no file open and nothing under way', async () => {
    const { results, uncaught } = (await runScript('fail-often', 1024, '200')) as {
      results: Record<string, { message: string; leaked: number }>
      uncaught: string[]
    }
    expect(uncaught).toEqual([])
    expect(Object.keys(results).length).toBeGreaterThan(20)
    for (const [way, { message, leaked }] of Object.entries(results)) {
      expect([way, message]).not.toEqual([way, 'no failure'])
      // One that is just being closed may still be counted.
      expect([way, leaked <= 2]).toEqual([way, true])
    }
    expect(underWay(join(programs.work, 'store'))).toEqual([])
    expect(await processesLeft(programs)).toEqual([])
    expect(mountsOf(programs)).toEqual([])
  })

  it('a sandbox that finds no file to open fails with a reason, and the next one runs', async () => {
    const { ends, uncaught } = (await runScript('run-out-of-files', 120)) as {
      ends: string[]
      uncaught: string[]
    }
    expect(uncaught).toEqual([])
    const reason = /absent|too many open files|EMFILE/i
    expect(ends.filter(end => !reason.test(end))).toEqual([])
    expect(ends.filter(end => end.startsWith('unavailable: Cannot start')).length).toBeGreaterThan(
      3,
    )
    expect(ends.at(-1)).toBe(ends[0])
  })
})
