import { describe, expect, test } from 'vitest'
import { readEnvironment } from '../../src/cli/environment.ts'
import { terminalOf } from '../../src/cli/terminal.ts'

describe('readEnvironment()', () => {
  test.each([
    [{}, 0, '/var/lib/tsbuild'],
    [{ HOME: '/home/u' }, 1000, '/home/u/.local/share/tsbuild'],
    [{ HOME: '/home/u', XDG_DATA_HOME: '/data' }, 1000, '/data/tsbuild'],
    [{ XDG_DATA_HOME: '/data' }, 0, '/var/lib/tsbuild'],
    [{ TSBUILD_ROOT: '/own' }, 1000, '/own'],
    [{ TSBUILD_ROOT: '' }, 0, '/var/lib/tsbuild'],
  ])('of %j, user %i, keeps its state in %s', (variables, user, root) => {
    expect(readEnvironment(variables, user).root).toBe(root)
  })

  test('prefers lower-case proxies and leaves out empty ones', () => {
    const variables = { HTTP_PROXY: 'a', http_proxy: 'b', HTTPS_PROXY: 'c', NO_PROXY: '' }
    expect(readEnvironment(variables, 0).proxies).toEqual({ http: 'b', https: 'c' })
  })

  test.each([
    [{}, 'auto'],
    [{ NO_COLOR: '1' }, 'never'],
    [{ NO_COLOR: '' }, 'auto'],
    [{ CLICOLOR: '0' }, 'never'],
    [{ FORCE_COLOR: '1', NO_COLOR: '1' }, 'always'],
    [{ CLICOLOR_FORCE: '1' }, 'always'],
    [{ FORCE_COLOR: '0' }, 'never'],
  ])('of %j, shows colours: %s', (variables, color) => {
    expect(readEnvironment(variables, 0).color).toBe(color)
  })
})

describe('terminalOf()', () => {
  const stream = { isTTY: true, columns: 40, rows: 10 } as NodeJS.WriteStream

  test.each([
    [{ TERM: 'xterm' }, stream, true, true],
    [{ TERM: 'xterm', NO_COLOR: '1' }, stream, true, false],
    [{ TERM: 'dumb' }, stream, false, false],
    [{}, stream, false, false],
    [{ TERM: 'xterm' }, {} as NodeJS.WriteStream, false, false],
    [{ FORCE_COLOR: '1' }, {} as NodeJS.WriteStream, false, true],
  ])('in %j knows what it can show', (variables, output, ...[isInteractive, hasColor]) => {
    const terminal = terminalOf(output, readEnvironment(variables, 0))
    expect(terminal).toMatchObject({ isInteractive, hasColor })
  })

  test('has 80 × 24 when nobody knows better', () => {
    const terminal = terminalOf({} as NodeJS.WriteStream, readEnvironment({}, 0))
    expect(terminal.size()).toEqual({ columns: 80, rows: 24 })
  })
})
