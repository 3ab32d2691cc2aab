import { describe, expect, test } from 'vitest'
import { type FlagTable, parseFlags } from '../../src/cli/flags/flags.ts'

const flags = {
  tag: { kind: 'strings', short: 't', value: 'NAME', help: 'Name' },
  file: { kind: 'string', short: 'f', value: 'PATH', help: 'Dockerfile' },
  quiet: { kind: 'boolean', short: 'q', help: 'Quiet' },
  push: { kind: 'boolean', help: 'Push' },
  rm: { kind: 'boolean', default: true, help: 'Remove' },
  network: { kind: 'string', value: 'MODE', default: 'default', aliases: ['net'], help: 'Network' },
  progress: {
    kind: 'choice',
    choices: ['auto', 'plain'],
    default: 'auto',
    env: 'BUILDKIT_PROGRESS',
    help: 'Progress',
  },
  memory: { kind: 'size', short: 'm', value: 'BYTES', help: 'Memory' },
  cpus: { kind: 'number', value: 'N', help: 'CPUs' },
  pids: { kind: 'integer', value: 'N', help: 'Processes' },
  timeout: { kind: 'duration', value: 'TIME', help: 'Time' },
} as const satisfies FlagTable

const unsupported = {
  publish: { short: 'p', reason: 'Use --network host' },
  detach: { short: 'd' },
}

function parse(line: string | string[], environment: Record<string, string> = {}) {
  const words = typeof line === 'string' ? line.split(' ').filter(word => word !== '') : line
  return parseFlags({ flags, unsupported }, words, name => environment[name])
}

describe('parseFlags()', () => {
  test.each([
    ['-t a:1 .', { tag: ['a:1'] }, ['.']],
    ['-ta:1 -t=b:2 --tag c:3 --tag=d:4 .', { tag: ['a:1', 'b:2', 'c:3', 'd:4'] }, ['.']],
    ['-qf Dockerfile .', { quiet: true, file: 'Dockerfile' }, ['.']],
    ['-qfDockerfile .', { quiet: true, file: 'Dockerfile' }, ['.']],
    ['--push .', { push: true }, ['.']],
    ['--push=false .', { push: false }, ['.']],
    ['--push=1 .', { push: true }, ['.']],
    ['--push false', { push: true }, ['false']],
    ['-q=false .', { quiet: false }, ['.']],
    ['--push --push=false', { push: false }, []],
    ['--rm=false', { rm: false }, []],
    ['. -f - --push', { file: '-', push: true }, ['.']],
    ['-f - -', { file: '-' }, ['-']],
    ['--file= .', { file: '' }, ['.']],
    ['-f -- .', { file: '--' }, ['.']],
    ['-- --push -t', {}, ['--push', '-t']],
    ['-t a,b', { tag: ['a,b'] }, []],
    ['--net host', { network: 'host' }, []],
    ['--network=a=b', { network: 'a=b' }, []],
    ['-m 512m --cpus 1.5 --pids -1', { memory: 512 * 1024 ** 2, cpus: 1.5, pids: -1 }, []],
    ['-m1.5g', { memory: 1.5 * 1024 ** 3 }, []],
    ['-m 64KiB', { memory: 65536 }, []],
    ['--timeout 1h2m3s4ms', { timeout: 3_723_004 }, []],
  ])('reads "%s" as pflag does', (line, values, positionals) => {
    const parsed = parse(line)
    expect(parsed.values).toMatchObject(values)
    expect(parsed.positionals).toEqual(positionals)
  })

  test('gives defaults, and says which flags were given', () => {
    const { values, given } = parse('--push')
    expect(values).toEqual({
      tag: [],
      file: undefined,
      quiet: false,
      push: true,
      rm: true,
      network: 'default',
      progress: 'auto',
      memory: undefined,
      cpus: undefined,
      pids: undefined,
      timeout: undefined,
    })
    expect([...given]).toEqual(['push'])
  })

  test('types the values by the table', () => {
    const { values } = parse('.')
    const network: string = values.network
    const memory: number | undefined = values.memory
    const progress: 'auto' | 'plain' = values.progress
    // @ts-expect-error a flag without a default may be absent
    const file: string = values.file
    expect([network, memory, progress, file]).toEqual(['default', undefined, 'auto', undefined])
  })

  test('takes a value from the environment when the flag is absent, and only then', () => {
    expect(parse('', { BUILDKIT_PROGRESS: 'plain' }).values.progress).toBe('plain')
    expect(parse('', { BUILDKIT_PROGRESS: '' }).values.progress).toBe('auto')
    expect(parse('--progress auto', { BUILDKIT_PROGRESS: 'plain' }).values.progress).toBe('auto')
  })

  test('with first-ends-flags leaves everything from the first positional on', () => {
    const parsed = parseFlags({ flags, positionals: 'first-ends-flags' }, [
      '-q',
      'busybox',
      '-t',
      '--unknown',
      '--',
      'x',
    ])
    expect(parsed.values.quiet).toBe(true)
    expect(parsed.positionals).toEqual(['busybox', '-t', '--unknown', '--', 'x'])
  })

  test.each([
    ['--psuh .', 'Unknown flag "--psuh"', 'Did you mean --push?'],
    ['--bogus-flag', 'Unknown flag "--bogus-flag"', undefined],
    ['-x', 'Unknown flag "-x"', undefined],
    ['-qx', 'Unknown flag "-x"', undefined],
    ['-p 80:80', 'Flag --publish is not supported yet', 'Use --network host'],
    ['--publish=80', 'Flag --publish is not supported yet', 'Use --network host'],
    ['-qd', 'Flag --detach is not supported yet', undefined],
    ['-t', 'Flag -t needs a value', undefined],
    ['--file', 'Flag --file needs a value', undefined],
    ['--push=maybe', 'Cannot use flag --push: expected true or false, got "maybe"', undefined],
    ['-m 1x', 'Cannot use flag -m: expected a size such as 512m or 2g, got "1x"', undefined],
    ['--cpus x', 'Cannot use flag --cpus: expected a number, got "x"', undefined],
    ['--pids 1.5', 'Cannot use flag --pids: expected a whole number, got "1.5"', undefined],
    ['--timeout 5', 'Cannot use flag --timeout: expected a duration', undefined],
    ['--progress x', 'Cannot use flag --progress: expected one of auto, plain, got "x"', undefined],
  ])('refuses "%s"', (line, message, hint) => {
    const error = expect.objectContaining({
      message: expect.stringContaining(message),
      hint,
      exitCode: 125,
    })
    expect(() => parse(line)).toThrow(error)
  })

  test('names the environment variable whose value cannot be used', () => {
    expect(() => parse('', { BUILDKIT_PROGRESS: 'x' })).toThrow(
      'Cannot use environment variable BUILDKIT_PROGRESS: expected one of auto, plain, got "x"',
    )
  })
})
