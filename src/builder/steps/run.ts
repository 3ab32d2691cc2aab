/**
 * RUN: a process in the sandbox; what it changed is the layer.
 *
 * Reference: R01–R03, R09–R17, K02, A08.
 */

import { isDirectory } from '../../layerfs/layer/file-type.ts'
import { openRoot, openUnwritten, type Root } from '../../layerfs/layer/rootfs.ts'
import { userInRoot } from '../../layerfs/runtime/user-in-root.ts'
import { defaultSecurity, insecureSecurity } from '../../layerfs/sandbox/defaults.ts'
import { mountAgain } from '../../layerfs/sandbox/mount-again.ts'
import { runSandbox } from '../../layerfs/sandbox/run.ts'
import type { SandboxSpec } from '../../layerfs/sandbox/spec.ts'
import type { ResolvedUser } from '../../layerfs/sandbox/user.ts'
import type { ActiveSnapshot } from '../../layerfs/snapshot/snapshotter.ts'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import type { RunMount, RunStep } from '../plan/step.ts'
import { ShellEnded } from '../shell.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import { ExecError, incomplete } from './exec-error.ts'
import { type MountInputs, mountParts } from './mount-sources.ts'
import { makeLayer } from './new-layer.ts'
import { prepareMounts } from './run-mounts.ts'
import type { StepWorld } from './step-world.ts'

/** Neither proxies nor secrets nor the content of cache mounts are in the key (K02, A08, R12). */
export async function runKey(
  step: RunStep,
  parent: StepResult,
  inputs: MountInputs,
): Promise<KeyParts> {
  const { sandbox } = inputs.world
  const args = new Set(step.args)
  const variables = step.env.map(pair => {
    const equals = pair.indexOf('=')
    const name = pair.slice(0, equals)
    return [`${args.has(name) ? 'ARG' : 'ENV'} ${name}`, pair.slice(equals + 1)] as const
  })
  return {
    ...Object.fromEntries(variables),
    command: JSON.stringify(step.argv),
    scripts: JSON.stringify(step.scripts),
    cwd: step.cwd,
    user: step.user,
    network: networkOf(step, sandbox),
    security: step.security,
    ...field('hostname', step.hostname),
    hosts: JSON.stringify(sandbox.extraHosts),
    mounts: JSON.stringify(step.mounts.map(withoutOrigin)),
    ...(await mountParts(step, inputs)),
    base: chainOf(parent) ?? 'scratch',
  }
}

/** What it shows is in the key by content. */
function withoutOrigin(mount: RunMount): unknown {
  return { ...mount, from: undefined }
}

export interface RunContext extends MountInputs {
  readonly nodeId: string
}

/** Throws {@link ExecError} when the process ends otherwise than with 0. */
export function executeRun(
  step: RunStep,
  parent: StepResult,
  context: RunContext,
): Promise<StepResult> {
  const { world, signal } = context
  return makeLayer(parent, world, {
    signal,
    work: async snapshot => {
      await using mounts = await prepareMounts(step, context)
      const spec = sandboxSpec(step, snapshot, { world, mounts })
      const [program = '/bin/sh'] = step.command.form === 'shell' ? step.argv : []
      const { stubs } = world.sandbox
      const request = {
        spec,
        program,
        id: `${context.nodeId}-${snapshot.key}-shell`,
        stubs,
        signal,
      }
      if (step.isShell === true) throw new ShellEnded((await world.shell?.open(request)) ?? 0)
      const status = await runSandbox(spec, {
        id: `${context.nodeId}-${snapshot.key}`,
        stdin: 'null',
        output: (stream, bytes) => world.log(context.nodeId, stream, bytes),
        stubs,
        spawner: world.spawner,
        early: world.early,
        isFollowed: world.followed.has(context.nodeId),
        ...(world.sandbox.runtime === undefined ? {} : { runtime: world.sandbox.runtime }),
        volatile: true,
        signal,
      })
      if (status.code === 0) return
      const failure = new ExecError(step.argv, status)
      if (world.shell?.onError === true) {
        mountAgain(spec.root)
        await world.shell.open({ ...request, failure })
      }
      throw failure
    },
  })
}

interface SpecInputs {
  readonly world: StepWorld
  readonly mounts: Pick<SandboxSpec, 'mounts' | 'env'>
}

/** The machine has the same name on every machine, as BuildKit has it. */
function sandboxSpec(
  step: RunStep,
  snapshot: ActiveSnapshot,
  { world, mounts }: SpecInputs,
): SandboxSpec {
  const user = prepareRoot(step, snapshot)
  const { sandbox } = world
  return {
    root: snapshot.mount,
    readOnly: false,
    mounts: mounts.mounts,
    argv: step.argv,
    env: [...withHome(withProxies(step), user.home), ...mounts.env],
    cwd: step.cwd,
    user,
    hostname: step.hostname ?? 'buildkitsandbox',
    network: networkOf(step, sandbox),
    security: step.security === 'insecure' ? insecureSecurity : defaultSecurity,
    limits: sandbox.limits,
    resourceLimits: sandbox.resourceLimits,
    extraHosts: sandbox.extraHosts,
    dns: [],
    shmSize: sandbox.shmSize,
    terminal: false,
  }
}

/** Resolves the user and makes the working directory; the root is closed again before it is run. */
function prepareRoot(step: RunStep, { mount, lower }: ActiveSnapshot): ResolvedUser {
  const question = JSON.stringify([step.user, step.cwd])
  const known = answers.get(lower)?.get(question)
  if (known !== undefined) return known
  using unwritten = openUnwritten(mount)
  const cwd = unwritten?.find(step.cwd, 'follow')
  if (unwritten !== undefined && cwd !== undefined && isDirectory(cwd)) {
    const user = userOf(step, unwritten)
    answers.set(lower, new Map(answers.get(lower)).set(question, user))
    return user
  }
  using root = openRoot(mount)
  root.mkdirs(step.cwd, { mode: 0o755, uid: 0, gid: 0 })
  return userOf(step, root)
}

/**
 * Who a user is in a working directory that is there, by the layers below, which never change: steps
 * that write nothing leave the next one on the same.
 */
const answers = new WeakMap<readonly string[], ReadonlyMap<string, ResolvedUser>>()

/** One that the image lacks fails as the process that would have been its, as in BuildKit. */
function userOf(step: RunStep, root: Root): ResolvedUser {
  try {
    return userInRoot(root, step.user)
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw new OciError(error.code, `${incomplete(step.argv)}: ${error.message}`, {
      cause: error,
      ...field('hint', error.hint),
    })
  }
}

function withProxies({ env, proxyEnv }: RunStep): readonly string[] {
  if (proxyEnv.length === 0) return env
  const names = new Set(proxyEnv.map(nameOf))
  return [...env.filter(pair => !names.has(nameOf(pair))), ...proxyEnv]
}

function nameOf(pair: string): string {
  return pair.slice(0, pair.indexOf('='))
}

function withHome(env: readonly string[], home: string): readonly string[] {
  return env.some(pair => pair.startsWith('HOME=')) ? env : [...env, `HOME=${home}`]
}

function networkOf(step: RunStep, sandbox: StepWorld['sandbox']): SandboxSpec['network'] {
  return step.network === 'default' ? sandbox.network : step.network
}
