import { dockerConfigPath } from '../../registry/client/credential-lookup.ts'
import { removeCredentials } from '../../registry/client/login.ts'
import { type Command, defineCommand } from '../command.ts'
import { registryName } from './login.ts'

export const logoutCommand: Command = defineCommand({
  name: 'logout',
  usage: '[REGISTRY]',
  summary: 'Forget a login',
  examples: ['logout registry.example.com'],
  flags: {},
  arity: { min: 0, max: 1 },
  run: async ({ args: [name], environment: { variables }, stdout }) => {
    const registry = registryName(name)
    const store = { path: dockerConfigPath(variables), env: variables }
    const had = await removeCredentials(store, registry)
    stdout.write(
      had ? `Removing login credentials for ${registry}\n` : `Not logged in to ${registry}\n`,
    )
    return 0
  },
})
