/** `tsregistry config`: whether a `config.yml` can be used, and what can be in one. */
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { parseFlags } from '../flags/flags.ts'
import { configure } from './config/apply-config.ts'
import { configSchema } from './config/schema.ts'
import { readParts } from './serve.ts'
import { serveFlags } from './serve-flags.ts'

export const configCommand: Command = defineCommand({
  name: 'config',
  usage: 'check FILE | schema',
  summary: 'Check a config.yml, or print the schema that editors complete by',
  examples: ['tsregistry config check config.yml', 'tsregistry config schema > config.schema.json'],
  arity: { min: 1, max: 2 },
  flags: {},
  run: async ({ args, environment, stdout }) => {
    const [action, file] = args
    if (action === 'schema' && file === undefined) {
      stdout.write(`${JSON.stringify(configSchema(), null, 2)}\n`)
      return 0
    }
    if (action !== 'check') throw usageError(`Unknown action "${action}"`, 'Use check or schema')
    if (file === undefined) throw usageError('"config check" takes a FILE, got none')
    const { values, given } = parseFlags({ flags: serveFlags }, [], environment.lookup)
    const configured = await configure({ flags: { ...values, config: file }, given, environment })
    await readParts(configured)
    for (const line of configured.withoutEffect) stdout.write(`without effect: ${line}\n`)
    stdout.write(`${file} can be used\n`)
    return 0
  },
})
