import { OciError } from '../../oci/errors.ts'
import { defaultRegistry } from '../../oci/reference.ts'
import { normalizeKey } from '../../registry/client/auth-file.ts'
import { dockerConfigPath } from '../../registry/client/credential-lookup.ts'
import { endpointOf } from '../../registry/client/endpoint.ts'
import { saveCredentials, verifyLogin } from '../../registry/client/login.ts'
import { usageError } from '../cli-error.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { ask, readSecret } from '../prompt.ts'
import { openRegistryClient, registryFlags } from '../world.ts'

export const loginCommand: Command = defineCommand({
  name: 'login',
  usage: '[FLAGS] [REGISTRY]',
  summary: 'Log in to a registry',
  examples: ['login registry.example.com', 'login -u ci --password-stdin ghcr.io < token.txt'],
  flags: {
    username: { kind: 'string', short: 'u', value: 'NAME', help: 'User name' },
    password: {
      kind: 'string',
      short: 'p',
      value: 'TEXT',
      help: 'Password; seen by all users of this machine',
    },
    'password-stdin': { kind: 'boolean', help: 'Read the password from standard input' },
    ...registryFlags,
  },
  arity: { min: 0, max: 1 },
  run: async ({ flags, args: [name], ...context }) => {
    const registry = registryName(name)
    const { username, password } = await credentialsFor(flags, context)
    const credentials = { kind: 'password', username, password } as const
    await using client = openRegistryClient(context.environment, flags)
    await verifyLogin(client, registry, credentials)
    const { variables } = context.environment
    const path = dockerConfigPath(variables)
    await saveCredentials({ path, env: variables }, registry, credentials)
    context.stderr.write(`The login is kept in ${path}\n`)
    context.stdout.write('Login Succeeded\n')
    return 0
  },
})

/** `https://host/v1/` is taken as its host. Throws `invalid`. */
export function registryName(name: string | undefined): string {
  if (name === undefined || name === '') return defaultRegistry
  const registry = normalizeKey(name.replace(/\/+$/, ''))
  endpointOf(registry)
  return registry
}

interface LoginFlags {
  readonly username: string | undefined
  readonly password: string | undefined
  readonly 'password-stdin': boolean
}

async function credentialsFor(
  flags: LoginFlags,
  context: CliContext,
): Promise<{ username: string; password: string }> {
  const isTerminal = context.stdin().isTTY === true
  if (flags['password-stdin']) {
    if (flags.password !== undefined) {
      throw usageError('Flags --password and --password-stdin exclude each other')
    }
    if (flags.username === undefined) throw usageError('Flag --password-stdin needs --username')
    return nonEmpty(flags.username, await readSecret(context))
  }
  if (flags.password !== undefined) {
    context.stderr.write(
      'WARNING: --password shows the password to all users of this machine; use --password-stdin\n',
    )
  }
  if (!isTerminal && (flags.username === undefined || flags.password === undefined)) {
    throw usageError(
      'Cannot ask for a login: standard input is no terminal',
      'Use --username and --password-stdin',
    )
  }
  const username = flags.username ?? (await ask('Username: ', 'shown', context))
  return nonEmpty(username, flags.password ?? (await ask('Password: ', 'hidden', context)))
}

function nonEmpty(username: string, password: string): { username: string; password: string } {
  if (username !== '' && password !== '') return { username, password }
  throw new OciError('invalid', 'Cannot log in: the user name or the password is empty')
}
