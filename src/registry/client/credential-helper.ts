/**
 * Credential helpers: programs named `docker-credential-<name>` that keep secrets elsewhere.
 *
 * Protocol: `get` reads the registry on stdin and prints {ServerURL, Username, Secret}; `store`
 * reads that object; `erase` reads the registry. Failure is an exit code and a text on stdout.
 */
import { spawn } from 'node:child_process'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { asString, member, parseJson } from '../../oci/json.ts'
import type { Credentials, Environment } from './credentials.ts'

export type HelperCall =
  | { readonly verb: 'get' | 'erase'; readonly registry: string; readonly env: Environment }
  | {
      readonly verb: 'store'
      readonly registry: string
      readonly env: Environment
      readonly credentials: Credentials
    }

/** The user name that says the secret is an identity token. */
const tokenUser = '<token>'

const timeLimitMs = 60_000
const maxOutput = 64 * 1024

/**
 * Runs one call and waits for it, at most a minute. `get` resolves with `undefined` when the
 * helper knows no credentials. Throws `not-found` when the helper is not installed, `invalid` for
 * a name that is no file name or an answer that is not the protocol's, `unavailable` with the
 * helper's words when it fails.
 */
export async function runCredentialHelper(
  name: string,
  call: HelperCall,
): Promise<Credentials | undefined> {
  // The name comes from a file and becomes part of a program's: it must not become a path.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new OciError('invalid', `Cannot run credential helper "${printable(name)}": invalid name`)
  }
  return runHelperProgram(`docker-credential-${name}`, call)
}

/** As {@link runCredentialHelper}, of a program with whatever name or path: the operator's word. */
export async function runHelperProgram(
  program: string,
  call: HelperCall,
): Promise<Credentials | undefined> {
  const { output, failed } = await runProgram(program, call)
  if (failed !== undefined) {
    if (/credentials not found/i.test(output)) return undefined
    const reason = printable(output.trim()) || failed
    throw new OciError(
      'unavailable',
      `Cannot ${call.verb} credentials with "${program}": ${reason}`,
    )
  }
  return call.verb === 'get' ? parseAnswer(program, output) : undefined
}

function parseAnswer(program: string, output: string): Credentials | undefined {
  try {
    const node = parseJson(program, Buffer.from(output))
    const username = asString(member(node, 'Username'))
    const secret = asString(member(node, 'Secret'))
    if (username === tokenUser) return { kind: 'identity-token', token: secret }
    return username === '' && secret === ''
      ? undefined
      : { kind: 'password', username, password: secret }
  } catch {
    // Without cause: the parser's message may quote the secret.
    throw new OciError(
      'invalid',
      `Cannot read the answer of "${program}": expected {"Username", "Secret"}`,
    )
  }
}

function inputOf(call: HelperCall): string {
  if (call.verb !== 'store') return call.registry
  const { credentials } = call
  const [username, secret] =
    credentials.kind === 'password'
      ? [credentials.username, credentials.password]
      : [tokenUser, credentials.token]
  return JSON.stringify({ ServerURL: call.registry, Username: username, Secret: secret })
}

interface Outcome {
  readonly output: string
  /** Why it failed; `undefined` when it did not. */
  readonly failed?: string | undefined
}

function runProgram(program: string, call: HelperCall): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [call.verb], {
      env: { ...call.env },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const chunks: Buffer[] = []
    let size = 0
    const stop = (failed: string) => {
      child.kill('SIGKILL')
      // A grandchild may hold the pipe open; nobody waits for it.
      child.stdout.destroy()
      resolve({ output: '', failed })
    }
    const timer = setTimeout(() => stop(`no answer in ${timeLimitMs / 1000} s`), timeLimitMs)
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxOutput) stop(`answer exceeds ${maxOutput} bytes`)
      else chunks.push(chunk)
    })
    child.on('error', cause => {
      clearTimeout(timer)
      reject(spawnError(program, cause))
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const failed = code === 0 ? undefined : `exit ${code ?? signal}`
      resolve({ output: Buffer.concat(chunks).toString('utf8'), failed })
    })
    // A helper may exit without reading.
    child.stdin.on('error', () => {})
    child.stdin.end(inputOf(call))
  })
}

function spawnError(program: string, cause: Error): OciError {
  if (hasCode(cause, 'ENOENT')) {
    return new OciError('not-found', `Cannot run "${program}": not installed or not in PATH`, {
      cause,
    })
  }
  return new OciError('unavailable', `Cannot run "${program}": ${printable(cause.message)}`, {
    cause,
  })
}
