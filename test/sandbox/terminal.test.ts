import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { makeBox, missing, specFor } from './box.ts'

const hasPython = spawnSync('python3', ['--version']).status === 0
const lacking = missing ?? (hasPython ? undefined : 'needs python3 for a terminal')

describe.skipIf(lacking !== undefined)(`a terminal${lacking ? ` (${lacking})` : ''}`, () => {
  let compiled: Compiled
  beforeAll(() => {
    compiled = compileSources()
  }, 60_000)
  afterAll(() => compiled[Symbol.dispose]())

  type Play = readonly (readonly [wait: string, type: string])[]

  /** What is shown when `script` runs under a terminal and `play` is typed. */
  function show(script: string, play: Play = [], user = { uid: 0, gid: 0, groups: [] }): string {
    using box = makeBox()
    const spec = specFor(box, { argv: ['sh', '-c', script], terminal: true, user })
    const program = join(box.directory, 'program.mjs')
    writeFileSync(
      program,
      `import { runSandbox } from ${JSON.stringify(join(compiled.dist, 'layerfs/sandbox/run.js'))}
       const { code } = await runSandbox(${JSON.stringify(spec)}, {
         stdin: 'inherit', output: 'inherit', stubs: ${JSON.stringify(box.stubs)}, id: 'terminal',
       }).catch(error => (console.log(error.message), { code: 125 }))
       process.exitCode = code`,
    )
    const harness = fileURLToPath(new URL('terminal.py', import.meta.url))
    const { stdout, stderr } = spawnSync('python3', [harness, process.execPath, program], {
      input: play.map(([wait, type]) => `${wait}\t${type}\n`).join(''),
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect(stderr).toBe('')
    return stdout
  }

  test('is the controlling terminal on 0, 1 and 2, with the size of the caller’s', () => {
    const shown = show('tty; stty size; ls -l /dev/console; echo to-tty > /dev/tty; exit 4')
    expect(shown).toContain('/dev/pts/0\r\n33 77\r\n')
    expect(shown).toMatch(/crw--w---- .* 136, +0 .* \/dev\/console/)
    expect(shown).toContain('to-tty')
    expect(shown).toContain('[restored] [exit 4]')
  })

  test('carries keys in, echo and Ctrl-C included, and the caller’s is restored', () => {
    const shown = show(
      'trap "echo interrupted; exit 9" INT; echo ready; read line; echo "got $line"; echo wait; while :; do sleep 0.1; done',
      [
        ['ready', 'hello\\r'],
        ['wait', '\\x03'],
      ],
    )
    expect(shown).toContain('ready\r\nhello\r\ngot hello\r\n')
    expect(shown).toContain('interrupted')
    expect(shown).toContain('[restored] [exit 9]')
  })

  test('follows the caller’s size', () => {
    const shown = show('trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done', [
      ['ready', 'RESIZE 40 100'],
    ])
    expect(shown).toContain('40 100')
  })

  test('gives all that was printed before the end', () => {
    const shown = show('i=0; while [ $i -lt 3000 ]; do echo "line $i of many"; i=$((i+1)); done')
    expect(shown.match(/line \d+ of many/g)?.length).toBe(3000)
  })

  test('belongs to the user', () => {
    const shown = show('stat -c "%u %a" /dev/pts/0; echo x > /dev/pts/0', [], {
      uid: 1000,
      gid: 7,
      groups: [],
    })
    expect(shown).toContain('1000 620')
    expect(shown).not.toContain('denied')
  })

  test('is restored after an error, too', () => {
    expect(show('exec /no/such/program')).toContain('[restored] [exit 127]')
  })
})
