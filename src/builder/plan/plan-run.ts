/**
 * RUN → a step: its command line, environment and mounts (R01, R02, R09–R16, H05, H06).
 */
import { field } from '../../oci/json.ts'
import { baseName, cleanPath, resolvePath } from '../dockerfile/clean-path.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { goQuote } from '../dockerfile/go-quote.ts'
import { heredocBody, summarizeHeredoc, tryHeredocWord } from '../dockerfile/heredoc.ts'
import type { RunInstruction } from '../dockerfile/instruction.ts'
import { type Mount, parseMount } from '../dockerfile/mount.ts'
import { proxyEnv, sandboxHostname } from './build-args.ts'
import { cacheId } from './cache-id.ts'
import { addHistory, envName, shellCommand } from './image-config.ts'
import { hiddenArgs } from './run-args.ts'
import {
  envOf,
  expandIn,
  numberedName,
  ofInstruction,
  type StageState,
  shownText,
  spend,
} from './stage-state.ts'
import type { InlineFile, Origin, RunMount, StageInstruction } from './step.ts'

export function planRun(
  state: StageState,
  entry: StageInstruction,
  instruction: RunInstruction,
): void {
  const mounts = instruction.mounts.map((flag, index) => {
    const mount = parseMount(flag.text, value => expandIn(state, instruction, value))
    return runMount(state, mount, entry.origins[index] ?? { kind: 'context' })
  })
  const { argv, scripts, summary } = commandLine(state, instruction)
  const said = [...argv, ...scripts.map(({ content }) => content), instruction.code].join('\n')
  const hidden = hiddenArgs(state, instruction, said)
  const historyText = `RUN ${[...argHistory(state, hidden), ...argv].join(' ')} # buildkit`
  spend(state, historyText.length)
  const { command, network, security, devices } = instruction
  state.steps.push({
    kind: 'run',
    command,
    argv,
    scripts,
    env: hidden.size === 0 ? envOf(state) : envOf(state).filter(pair => !hidden.has(envName(pair))),
    args: argNames(state).filter(name => !hidden.has(name)),
    proxyEnv: proxyEnv(state.plan.options.buildArgs),
    ...field('hostname', sandboxHostname(state.plan.options.buildArgs)),
    cwd: cleanPath(state.image.config.WorkingDir ?? '/'),
    user: state.image.config.User ?? '',
    network,
    security,
    devices,
    mounts,
    ...field('isShell', instruction.isShell),
    ...ofInstruction(entry, {
      displayName: numberedName(
        state,
        entry,
        shownRun(state, `${instruction.code}${summary}`, mounts),
      ),
      historyText,
    }),
  })
  addHistory(state.image, historyText, 'layer')
}

/** Of declared ARGs that no ENV hides (A03). */
function argNames({ args, image }: StageState): string[] {
  const hidden = new Set(image.env.map(envName))
  return [...new Set(args.map(({ name }) => name))].filter(name => !hidden.has(name))
}

/** `|2 A=1 B=2`: the ARGs that the command could see (A05). */
function argHistory({ args, variables }: StageState, hidden: ReadonlySet<string>): string[] {
  const seen = args.filter(({ name }) => !hidden.has(name))
  const values = new Map(
    seen.map(({ name, value }) => [name, variables.get(name) ?? value ?? ''] as const),
  )
  if (values.size === 0) return []
  return [`|${values.size}`, ...[...values].map(([name, value]) => `${name}=${value}`)]
}

/** A variable that a secret fills is shown as stars, to say where its value comes from (A10). */
function shownRun(state: StageState, code: string, mounts: readonly RunMount[]): string {
  const secrets = mounts.flatMap(mount => (mount.kind === 'secret' ? (mount.env ?? []) : []))
  const masked = new Map([...state.variables, ...secrets.map(name => [name, '****'] as const)])
  return shownText({ ...state, variables: masked }, code, {
    escape: state.plan.dockerfile.escape,
    quoting: 'keep',
    unset: 'keep',
  })
}

interface CommandLine {
  readonly argv: readonly string[]
  readonly scripts: readonly InlineFile[]
  /** What is shown of a heredoc that is the whole script. */
  readonly summary: string
}

function commandLine(state: StageState, instruction: RunInstruction): CommandLine {
  const { command, heredocs } = instruction
  if (command.form === 'exec') return { argv: command.argv, scripts: [], summary: '' }
  const shell = (script: string) => shellCommand(state.image, script)
  const [first] = heredocs
  if (first === undefined) return { argv: shell(command.script), scripts: [], summary: '' }
  if (tryHeredocWord(command.script) === undefined) {
    const bodies = heredocs.map(({ content, name }) => `\n${content}${name}`)
    return { argv: shell(command.script + bodies.join('')), scripts: [], summary: '' }
  }
  const content = heredocBody(first)
  const summary = ` (${summarizeHeredoc(first.content)})`
  if (!content.startsWith('#!') || state.image.base.os === 'windows') {
    return { argv: shell(content), scripts: [], summary }
  }
  const path = `/dev/pipes/${first.name}`
  return { argv: shell(path), scripts: [{ path, content }], summary }
}

function runMount(state: StageState, mount: Mount, origin: Origin): RunMount {
  switch (mount.type) {
    case 'secret':
      return secretMount(state, mount)
    case 'ssh':
      return sshMount(state, mount)
    case 'tmpfs':
      return {
        kind: 'tmpfs',
        target: mountTarget(state, mount),
        readOnly: mount.readOnly,
        ...(mount.size === undefined || mount.size === 0 ? {} : { size: mount.size }),
      }
    case 'cache':
      return {
        kind: 'cache',
        id: cacheId(mount, state.plan.options.buildArgs.get('BUILDKIT_CACHE_MOUNT_NS') ?? ''),
        from: origin.kind === 'context' ? { kind: 'scratch' } : origin,
        source: cleanPath(`/${mount.source}`),
        target: mountTarget(state, mount),
        readOnly: mount.readOnly,
        sharing: mount.sharing ?? 'shared',
        ...fileOwner(mount),
      }
    case 'bind':
      return {
        kind: 'bind',
        from: origin,
        source: cleanPath(`/${mount.source}`),
        target: mountTarget(state, mount),
        readOnly: mount.readOnly,
      }
  }
}

function mountTarget(state: StageState, mount: Mount): string {
  const target = resolvePath(state.image.config.WorkingDir ?? '/', mount.target)
  if (target !== '/') return target
  throw new DockerfileError(`invalid mount target ${goQuote(target)}`)
}

/** A file at `/run/secrets/<id>` unless only a variable is wanted (R12). */
function secretMount(state: StageState, mount: Mount): RunMount {
  const id = mount.source || mount.id || baseName(mount.target)
  const wantsFile = mount.target !== '' || mount.env === undefined
  const target = mount.target === '' ? `/run/secrets/${baseName(id)}` : mount.target
  return {
    kind: 'secret',
    id,
    ...(wantsFile ? { target: resolvePath(state.image.config.WorkingDir ?? '/', target) } : {}),
    ...(mount.env === undefined ? {} : { env: mount.env }),
    required: mount.required,
    ...fileOwner(mount),
  }
}

function sshMount(state: StageState, mount: Mount): RunMount {
  if (mount.source !== '') throw new DockerfileError('ssh does not support source')
  return {
    kind: 'ssh',
    id: mount.id === '' ? 'default' : mount.id,
    ...(mount.target === '' ? {} : { target: mountTarget(state, mount) }),
    required: mount.required,
    ...fileOwner(mount),
  }
}

function fileOwner({ mode, uid, gid }: Mount) {
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  }
}
