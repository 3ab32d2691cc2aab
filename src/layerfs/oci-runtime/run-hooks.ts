/** Hooks that run in our own namespaces. Each reads the container's state and must end with 0. */
import { spawn } from 'node:child_process'
import { OciError, printable } from '../../oci/errors.ts'
import type { Hook, HookStage } from './hooks-config.ts'

/** One after the other. Throws `unavailable` at the first that fails; the others do not run. */
export async function runHooks(
  stage: HookStage,
  hooks: readonly Hook[],
  state: Record<string, unknown>,
): Promise<void> {
  for (const hook of hooks) {
    const failure = await runHook(hook, JSON.stringify(state))
    if (failure === undefined) continue
    throw new OciError(
      'unavailable',
      `Cannot run the ${stage} hook "${printable(hook.path)}": ${failure}`,
    )
  }
}

/** Where a failure changes nothing: of each that fails, what to warn of. */
export async function tryHooks(
  stage: HookStage,
  hooks: readonly Hook[],
  state: Record<string, unknown>,
): Promise<string[]> {
  const warnings: string[] = []
  for (const hook of hooks) {
    const failure = await runHook(hook, JSON.stringify(state))
    if (failure !== undefined) warnings.push(`${stage} hook "${printable(hook.path)}": ${failure}`)
  }
  return warnings
}

/** What went wrong, in words. */
async function runHook(hook: Hook, input: string): Promise<string | undefined> {
  const { path, args, env, timeout } = hook
  const [name = path, ...rest] = args
  const child = spawn(path, rest, {
    argv0: name,
    env: Object.fromEntries(env.map(splitVariable)),
    // What it says goes where our own errors go, never into what our caller reads as data.
    stdio: ['pipe', 2, 2],
    ...(timeout === undefined || timeout === 0 ? {} : { timeout: timeout * 1000 }),
    killSignal: 'SIGKILL',
  })
  return await new Promise(resolve => {
    child.on('error', error => resolve(error.message))
    // A hook need not read what it is given.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
    child.on('close', (code, signal) => {
      if (code === 0) resolve(undefined)
      else resolve(signal === null ? `it ended with ${code}` : `it was killed by ${signal}`)
    })
  })
}

function splitVariable(assignment: string): [string, string] {
  const equals = assignment.indexOf('=')
  if (equals === -1) return [assignment, '']
  return [assignment.slice(0, equals), assignment.slice(equals + 1)]
}
