import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { CliError } from '../../src/cli/cli-error.ts'
import { type CliContext, defineCommand } from '../../src/cli/command.ts'
import { readEnvironment } from '../../src/cli/environment.ts'
import { runCommandLine } from '../../src/cli/main.ts'
import type { Program } from '../../src/cli/program.ts'
import { OciError } from '../../src/oci/errors.ts'

const buildCommand = defineCommand({
  name: 'build',
  usage: '[FLAGS] PATH | URL | -',
  summary: 'Build an image from a Dockerfile',
  examples: ['build -t app .', 'tsbuild build --push .'],
  errorPrefix: 'failed to build: ',
  flags: {
    tag: { kind: 'strings', short: 't', value: 'NAME[:TAG]', help: 'Name of the image' },
    progress: {
      kind: 'choice',
      choices: ['auto', 'plain', 'tty'],
      default: 'auto',
      env: 'BUILDKIT_PROGRESS',
      help: 'How progress is shown, which depends on the terminal unless it is said',
    },
    'a-flag-with-a-very-long-name': { kind: 'string', value: 'VALUE', help: 'Stands alone' },
    secret: { kind: 'boolean', hidden: true, help: 'Not shown' },
    network: { kind: 'string', value: 'MODE', group: 'Steps', help: 'Network of RUN' },
  },
  arity: { min: 1, max: 1 },
  run: async ({ args: [what], flags, stdout, signal }) => {
    stdout.write(`${what} ${flags.tag.join()}`)
    switch (what) {
      case 'oci':
        throw new OciError('not-found', 'Cannot find "\u001b[2J"', { hint: 'Look\tagain' })
      case 'excerpt':
        throw Object.assign(new OciError('invalid', 'bad line'), { excerpt: 'Dockerfile:1\n>>> X' })
      case 'system':
        throw diskFull()
      case 'system, and cleaning up': {
        using _cleaning = {
          [Symbol.dispose]: () => {
            throw new Error('Cannot clean up')
          },
        }
        throw diskFull()
      }
      case 'bug':
        throw new TypeError('x is undefined', { cause: new Error('the cause') })
      case 'quiet':
        throw new CliError(7, '')
      case 'wait':
        signal.throwIfAborted()
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
        })
        return 0
      default:
        return what === 'three' ? 3 : 0
    }
  },
})

function diskFull(): Error {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    errno: -28,
    syscall: 'write',
  })
}

const diskFullReport = `ERROR: failed to build: Cannot write: no space left on device (ENOSPC)
Free some space: "tsbuild prune" removes what no image needs
`

const program: Program = {
  name: 'tsbuild',
  summary: 'Builds container images.',
  examples: ['tsbuild build -t app .'],
  commands: [
    {
      name: 'build',
      aliases: ['b', 'image build'],
      summary: 'Build an image from a Dockerfile',
      group: 'Building',
      load: async () => buildCommand,
    },
    {
      name: 'images',
      summary: 'List images',
      load: async () => {
        throw new Error('not loaded unless it runs')
      },
    },
  ],
}

async function run(words: string[], variables: Record<string, string> = {}, of = program) {
  const controller = new AbortController()
  const stdout = new PassThrough()
  let stderr = ''
  const environment = readEnvironment(variables, 0)
  const context: CliContext = {
    environment,
    signal: controller.signal,
    interrupts: {
      signal: controller.signal,
      forwardTo: () => ({ [Symbol.dispose]: () => undefined }),
      onHangup: () => ({ [Symbol.dispose]: () => undefined }),
      onExit: () => ({ [Symbol.dispose]: () => undefined }),
      [Symbol.dispose]: () => undefined,
    },
    stdin: () => new PassThrough(),
    stdout,
    stderr: {
      write: text => {
        stderr += text
      },
      isInteractive: false,
      hasColor: false,
      size: () => ({ columns: Number(environment.lookup('COLUMNS') ?? 80), rows: 24 }),
    },
  }
  const running = runCommandLine(of, words, context)
  if (words.includes('wait')) controller.abort(new CliError(130, 'Canceled'))
  const code = await running
  return { code, stdout: String(stdout.read() ?? ''), stderr }
}

describe('runCommandLine()', () => {
  test.each([
    [['build', '-t', 'a', 'x'], 'x a'],
    [['b', 'x'], 'x '],
    [['image', 'build', 'x'], 'x '],
  ])('runs %j', async (words, stdout) => {
    expect(await run(words)).toEqual({ code: 0, stdout, stderr: '' })
  })

  test('returns the code of the command', async () => {
    expect((await run(['build', 'three'])).code).toBe(3)
  })

  test.each([
    ['oci', 1, 'ERROR: failed to build: Cannot find "\\u001b[2J"\nLook    again\n'],
    ['excerpt', 1, 'Dockerfile:1\n>>> X\nERROR: failed to build: bad line\n'],
    ['system', 1, diskFullReport],
    ['system, and cleaning up', 1, diskFullReport],
    [
      'bug',
      100,
      'ERROR: internal error: TypeError: x is undefined\nThis is a bug. TSBUILD_DEBUG=1 shows where it happened\n',
    ],
    ['quiet', 7, ''],
    ['wait', 130, 'ERROR: canceled\n'],
  ])('reports a failure: %s', async (what, code, stderr) => {
    expect(await run(['build', what])).toMatchObject({ code, stderr })
  })

  test('shows where a bug happened when asked', async () => {
    const { stderr } = await run(['build', 'bug'], { TSBUILD_DEBUG: '1' })
    expect(stderr).toContain('main.test.ts')
    expect(stderr).toContain('Error: the cause')
  })

  test.each([
    [
      ['buidl'],
      'ERROR: Unknown command "buidl"\nDid you mean "tsbuild build"?\nSee "tsbuild --help"\n',
    ],
    [['--buildx'], 'ERROR: Unknown flag "--buildx"\nSee "tsbuild --help"\n'],
    [['help', 'nothing'], 'ERROR: Unknown command "nothing"\nSee "tsbuild --help"\n'],
    [
      ['build', '--tga', 'x', '.'],
      'ERROR: Unknown flag "--tga"\nDid you mean --tag?\nSee "tsbuild build --help"\n',
    ],
    [['build'], 'ERROR: "build" takes 1 argument, got 0\nSee "tsbuild build --help"\n'],
    [['build', 'a', 'b'], 'ERROR: "build" takes 1 argument, got 2\nSee "tsbuild build --help"\n'],
  ])('refuses %j with 125', async (words, stderr) => {
    expect(await run(words)).toEqual({ code: 125, stdout: '', stderr })
  })

  test('takes a line without a command for the fallback’s', async () => {
    const withFallback = { ...program, fallback: 'build' }
    expect(await run(['-t', 'a', 'x'], {}, withFallback)).toMatchObject({ code: 0, stdout: 'x a' })
  })

  test('tells of a command that may have been meant when the fallback fails', async () => {
    const withFallback = { ...program, fallback: 'build' }
    const { stderr } = await run(['imags'], {}, withFallback)
    expect(stderr).toBe('')
    const failed = await run(['buidl', 'x', 'y'], {}, withFallback)
    expect(failed.stderr).toContain('Did you mean "tsbuild build"?')
    expect((await run(['--b', 'x'], {}, withFallback)).stderr).not.toContain('Did you mean')
  })

  test.each([['--version'], ['-v'], ['version']])('answers %s on one line', async word => {
    const { stdout, code } = await run([word])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^tsbuild \d+\.\d+\.\d+\S*\n$/)
  })

  test.each([[[]], [['help']], [['--help']], [['-h']]])('answers %j with the help', async words => {
    const { stdout, code } = await run(words)
    expect(code).toBe(0)
    await expect(stdout).toMatchFileSnapshot('golden/program-help.txt')
  })

  test.each([
    [['build', '--help']],
    [['build', '-h']],
    [['help', 'build']],
    [['build', '.', '--help']],
    [['b', '-t', 'x', '-h']],
  ])('answers %j with the command’s help', async words => {
    const { stdout, code } = await run(words)
    expect(code).toBe(0)
    await expect(stdout).toMatchFileSnapshot('golden/command-help.80.txt')
  })

  test('wraps the help to a narrow terminal', async () => {
    const { stdout } = await run(['build', '--help'], { COLUMNS: '40' })
    await expect(stdout).toMatchFileSnapshot('golden/command-help.40.txt')
  })
})
