import { describe, expect, test } from 'vitest'
import type { BuildEvent } from '../../../src/builder/build-event.ts'
import { readEnvironment } from '../../../src/cli/environment.ts'
import { openProgress, type ProgressMode } from '../../../src/cli/progress/progress.ts'
import { fakeClock } from './fake-clock.ts'
import { openScreen } from './screen.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const started = (id: string, name: string): BuildEvent => ({ kind: 'started', id, name })
const log = (id: string, text: string): BuildEvent => ({
  kind: 'log',
  id,
  stream: 'stdout',
  bytes: bytes(text),
})
const worked = (id: string): BuildEvent => ({ kind: 'done', id, how: 'worked' })

function open(mode: ProgressMode, columns = 80, rows = 24) {
  const screen = openScreen(columns, rows)
  const clock = fakeClock()
  const exits: (() => void)[] = []
  const progress = openProgress(
    { mode, title: 'Building', clock },
    {
      stderr: screen,
      environment: readEnvironment({}, 0),
      interrupts: {
        signal: new AbortController().signal,
        forwardTo: () => ({ [Symbol.dispose]: () => undefined }),
        onHangup: () => ({ [Symbol.dispose]: () => undefined }),
        onExit: restore => {
          exits.push(restore)
          return { [Symbol.dispose]: () => void exits.pop() }
        },
        [Symbol.dispose]: () => undefined,
      },
    },
  )
  return { ...progress, screen, clock, exits, close: () => progress[Symbol.dispose]() }
}

/** A small build with everything in it, one of whose steps fails. */
function failingBuild({ emit, clock }: ReturnType<typeof open>) {
  emit(started('def', '[internal] load build definition from Dockerfile'))
  emit({
    kind: 'status',
    id: 'def',
    item: 'transferring dockerfile: 50B',
    current: 0,
    isDone: true,
  })
  clock.advance(20)
  emit(worked('def'))
  emit(started('base', '[1/3] FROM docker.io/library/busybox'))
  emit({ kind: 'done', id: 'base', how: 'cached' })
  emit(started('run', '[2/3] RUN make'))
  emit(started('layer', '[build 1/1] FROM docker.io/library/gcc'))
  emit({
    kind: 'status',
    id: 'layer',
    item: 'sha256:aa',
    current: 0,
    total: 3_400_000,
    isDone: false,
  })
  clock.advance(312)
  emit(log('run', 'cc -c a.c\ncc -c b'))
  clock.advance(700)
  emit(log('run', '.c\n'))
  emit({
    kind: 'status',
    id: 'layer',
    item: 'sha256:aa',
    current: 1_050_000,
    total: 3_400_000,
    isDone: false,
  })
  clock.advance(300)
}

function failure({ emit, clock, close }: ReturnType<typeof open>) {
  emit(log('run', 'a.c:1: error'))
  emit({
    kind: 'failed',
    id: 'run',
    message: 'process "make" did not complete successfully: exit code: 2',
  })
  emit({ kind: 'canceled', id: 'layer' })
  emit({ kind: 'warning', message: "StageNameCasing: Stage name 'X' should be lowercase (line 1)" })
  clock.advance(5)
  close()
}

describe('plain progress', () => {
  test('prints a build as BuildKit does', async () => {
    const progress = open('plain')
    failingBuild(progress)
    failure(progress)
    await expect(progress.screen.raw()).toMatchFileSnapshot('golden/failing-build.plain.txt')
  })

  test('gives the floor to a waiting vertex after five seconds, and says so', () => {
    const { emit, clock, screen } = open('plain')
    emit(started('a', 'A'))
    emit(started('b', 'B'))
    emit(log('b', 'b1\n'))
    clock.advance(4000)
    emit(log('a', 'a1\n'))
    expect(screen.raw()).toBe('#1 A\n#1 4.000 a1\n')
    clock.advance(2000)
    expect(screen.raw()).toBe('#1 A\n#1 4.000 a1\n#1 ...\n\n#2 B\n#2 0.000 b1\n')
    emit(worked('b'))
    expect(screen.lines().slice(-3)).toEqual(['#2 DONE 6.0s', '', '#1 A'])
  })

  test('does not keep more than a thousand lines waiting', () => {
    const { emit, screen } = open('plain')
    emit(started('a', 'A'))
    emit(started('b', 'B'))
    emit(log('b', 'line\n'.repeat(5000)))
    expect(screen.lines().length).toBeGreaterThan(5000)
  })

  test('reports the progress of an item at most once a second, and its end', () => {
    const { emit, screen, clock } = open('plain')
    emit(started('a', 'A'))
    const status = (current: number) =>
      emit({ kind: 'status', id: 'a', item: 'x', current, total: 100, isDone: current === 100 })
    for (let current = 0; current < 100; current++) {
      clock.advance(25)
      status(current)
    }
    status(100)
    status(100)
    expect(screen.lines()).toEqual([
      '#1 A',
      '#1 x 40B / 100B 1.0s',
      '#1 x 80B / 100B 2.0s',
      '#1 x 100B / 100B 2.5s done',
    ])
  })

  test('reports slow progress every five seconds', () => {
    const { emit, screen, clock } = open('plain')
    emit(started('a', 'A'))
    for (let current = 1; current <= 12; current++) {
      emit({ kind: 'status', id: 'a', item: 'x', current, total: 1000, isDone: false })
      clock.advance(1000)
    }
    expect(screen.lines()).toEqual(['#1 A', '#1 x 6B / 1.00kB 5.0s', '#1 x 11B / 1.00kB 10.0s'])
  })

  test('shows the warning of a step with it, and all of them at the end', () => {
    const { emit, screen, close } = open('plain')
    emit(started('a', 'A'))
    emit({ kind: 'warning', id: 'a', message: 'one\u001b[2J' })
    emit({ kind: 'warning', message: 'two' })
    emit(worked('a'))
    close()
    expect(screen.lines()).toEqual([
      ...['#1 A', '#1 WARN: one\\u001b[2J', '#1 DONE 0.0s', ''],
      ...[' 2 warnings found:', ' - one\\u001b[2J', ' - two'],
    ])
  })

  test('tells why a step could not be reused', () => {
    const { emit, screen } = open('plain')
    emit(started('a', 'A'))
    const changes = [{ what: 'content' }]
    emit({
      kind: 'miss',
      id: 'a',
      miss: { causes: [{ kind: 'file', subject: 'src/a.c', changes }], more: 0 },
    })
    emit({ kind: 'done', id: 'a', how: 'worked' })
    expect(screen.lines()).toEqual(['#1 A', '#1 not cached: src/a.c: content', '#1 DONE 0.0s'])
  })

  test.each([
    ['cursor movement and titles', '\u001b[2J\u001b[1;1H\u001b]0;gotcha\u0007ok\n', 'ok'],
    ['an unterminated title', 'ok\u001b]0;rest\n', 'ok'],
    ['a forged line of another step', 'x\r#9 DONE 0.1s\n', '#9 DONE 0.1s'],
    ['eight-bit control characters', 'a\u009b2Jb\u0085c\n', 'abc'],
    ['reversed text', 'a\u202eb\u2066c\n', 'abc'],
    ['backspaces and bells', 'ab\b\u0007c\n', 'abc'],
    ['a progress bar', '10%\r50%\r100%\r\n', '100%'],
    ['tabs', 'a\tb\n', 'a    b'],
    ['colours, where there are none', '\u001b[31mred\u001b[0m\n', 'red'],
    ['an escape before a newline', 'a\u001b\n', 'a'],
    ['text around a colon sequence', '\u001b[38:2::1:2:3mx\n', 'x'],
  ])("survives %s in a step's output", (_, output, shown) => {
    const { emit, screen } = open('plain')
    emit(started('a', 'A'))
    emit(log('a', output))
    expect(screen.raw()).toBe(`#1 A\n#1 0.000 ${shown}\n`)
  })

  test('shows output that is no UTF-8, and characters cut between chunks', () => {
    const { emit, screen } = open('plain')
    emit(started('a', 'A'))
    const euro = bytes('€')
    emit({ kind: 'log', id: 'a', stream: 'stderr', bytes: euro.subarray(0, 2) })
    emit({
      kind: 'log',
      id: 'a',
      stream: 'stderr',
      bytes: Buffer.concat([euro.subarray(2), bytes('\n')]),
    })
    emit({ kind: 'log', id: 'a', stream: 'stderr', bytes: Uint8Array.of(0xff, 0x41, 10) })
    expect(screen.raw()).toBe('#1 A\n#1 0.000 €\n#1 0.000 \ufffdA\n')
  })

  test('breaks a line that never ends', () => {
    const { emit, screen } = open('plain', 20_000)
    emit(started('a', 'A'))
    emit(log('a', 'x'.repeat(20_000)))
    expect(screen.lines().map(line => line.length)).toEqual([4, 9 + 8192, 9 + 8192])
  })

  test('keeps of a progress bar what is seen of it', () => {
    const { emit, screen } = open('plain')
    emit(started('a', 'A'))
    for (let i = 0; i <= 10_000; i++) emit(log('a', `${i} of 10000\r`))
    emit(log('a', '\n'))
    expect(screen.raw()).toBe('#1 A\n#1 0.000 10000 of 10000\n')
  })

  test('makes the name of a step safe', () => {
    const { emit, screen } = open('plain')
    emit(started('a', 'RUN <<E\n#2 DONE\u001b[2J'))
    expect(screen.raw()).toBe('#1 RUN <<E\\u000a#2 DONE\\u001b[2J\n')
  })
})

describe('terminal progress', () => {
  test.each([
    [80, 24],
    [40, 24],
    [80, 6],
    [12, 5],
  ])('fits %i × %i', async (columns, rows) => {
    const progress = open('auto', columns, rows)
    failingBuild(progress)
    const { screen } = progress
    expect(screen.lines().length).toBeLessThanOrEqual(rows)
    expect(Math.max(...screen.lines().map(line => line.length))).toBeLessThanOrEqual(columns)
    await expect(`${screen.lines().join('\n')}\n`).toMatchFileSnapshot(
      `golden/running-build.${columns}x${rows}.txt`,
    )
  })

  test('ends with everything, the failed output and the warnings', async () => {
    const progress = open('tty')
    failingBuild(progress)
    failure(progress)
    const shown = `${progress.screen.lines().join('\n')}\n`
    await expect(shown).toMatchFileSnapshot('golden/failing-build.tty.txt')
  })

  test('leaves no debris when the terminal becomes narrower', () => {
    const progress = open('tty')
    failingBuild(progress)
    const wrapped = progress.screen.lines().map(line => Math.max(1, Math.ceil(line.length / 40)))
    progress.screen.resize(40, 24)
    // The emulator does not rewrap; what counts is how far up the next frame starts.
    const before = progress.screen.raw().length
    progress.clock.advance(100)
    const up = /\[(\d+)A/.exec(progress.screen.raw().slice(before))?.[1]
    expect(Number(up)).toBe(wrapped.reduce((sum, rows) => sum + rows))
  })

  test('draws at most ten times a second, however many events come', () => {
    const { emit, clock, screen } = open('tty')
    emit(started('a', 'A'))
    for (let i = 0; i < 10_000; i++) {
      emit(log('a', `${i}\n`))
      if (i % 100 === 0) clock.advance(10)
    }
    expect(screen.raw().split('[+]').length - 1).toBeLessThanOrEqual(11)
  })

  test('gives the cursor back when it ends and when the process does', () => {
    const { emit, screen, clock, exits, close } = open('tty')
    emit(started('a', 'A'))
    clock.advance(100)
    expect(screen.cursorIsVisible()).toBe(false)
    expect(exits).toHaveLength(1)
    close()
    expect(screen.cursorIsVisible()).toBe(true)
    expect(exits).toHaveLength(0)
  })

  test('shows a line that is not ended yet', () => {
    const { emit, screen, clock } = open('tty')
    emit(started('a', 'A'))
    emit(log('a', 'first\n10%\r50%\r'))
    clock.advance(100)
    expect(screen.lines().slice(2)).toEqual([' => => # first', ' => => # 50%'])
  })

  test('cuts wide characters by cells', () => {
    const { emit, screen, clock } = open('tty', 20)
    emit(started('a', '漢字漢字漢字漢字漢字'))
    clock.advance(100)
    expect(screen.lines()[1]).toBe(' => 漢字漢字漢… 0.1s')
  })
})

describe('terminal progress before a shell', () => {
  test('says that the build is finished when it is, and goes on below', () => {
    const { emit, suspend, close, screen } = open('tty')
    emit(started('a', 'RUN fails'))
    const shell = suspend()
    expect(screen.lines()[0]).toBe('[+] Building 0.0s (0/1)')
    shell[Symbol.dispose]()
    emit(worked('a'))
    close()
    expect(screen.lines().filter(line => line.startsWith('[+]'))).toEqual([
      '[+] Building 0.0s (0/1)',
      '[+] Building 0.0s (1/1) FINISHED',
    ])
  })
})

describe('quiet progress', () => {
  test('says nothing unless a step fails', () => {
    const fine = open('quiet')
    fine.emit(started('a', 'A'))
    fine.emit(log('a', 'x\n'))
    fine.emit(worked('a'))
    fine.close()
    expect(fine.screen.raw()).toBe('')

    const failing = open('quiet')
    failingBuild(failing)
    failure(failing)
    expect(failing.screen.lines()).toEqual([
      '------',
      ' > [2/3] RUN make:',
      '0.312 cc -c a.c',
      '1.012 cc -c b.c',
      '1.312 a.c:1: error',
      '------',
    ])
  })
})

describe('rawjson progress', () => {
  test('prints one SolveStatus a line', () => {
    const progress = open('rawjson')
    failingBuild(progress)
    failure(progress)
    const statuses = progress.screen
      .raw()
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(statuses.map(status => Object.keys(status)[0])).toContain('logs')
    expect(statuses.at(-1)).toMatchObject({ warnings: [{}] })
  })
})
