import { execFileSync } from 'node:child_process'
import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { containerProcesses } from '../../layerfs/runtime/container-processes.ts'
import { openStore } from '../../layerfs/store.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'

export const topCommand: Command = defineCommand({
  name: 'top',
  usage: 'CONTAINER [PS OPTIONS]',
  summary: 'List the processes of a container',
  examples: ['top web', 'top web -o pid,stat,args'],
  flags: {},
  positionals: 'first-ends-flags',
  arity: { min: 1 },
  run: async ({ args: [name = '', ...words], environment, stdout }) => {
    await using store = await openStore(environment.root)
    store.letGo()
    const container = findContainer(await listContainers(store.containers), name)
    const pids = new Set(containerProcesses(container, 'list the processes of'))
    stdout.write(onlyOf(pids, listing(words.length === 0 ? ['-ef'] : words)))
    return 0
  },
})

/** Of all processes: of its own choosing ps would leave out those that have no terminal. */
function listing(words: readonly string[]): string {
  try {
    const all = words.some(word => /^-?[A-Za-z]*[eAx]/.test(word)) ? words : ['-e', ...words]
    return execFileSync('ps', all, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) {
      throw new OciError('unsupported', 'Cannot list processes: this machine has no "ps"', {
        hint: 'Install it (Debian: apt-get install procps)',
      })
    }
    const { stderr = '' } = error as { stderr?: string }
    throw usageError(`Cannot list processes: ps: ${stderr.trim().split('\n')[0] ?? ''}`)
  }
}

function onlyOf(pids: ReadonlySet<number>, text: string): string {
  const [head = '', ...lines] = text.split('\n')
  const column = head.trim().split(/\s+/).indexOf('PID')
  if (column === -1) throw usageError('Cannot list processes: the options leave out the column PID')
  const isOurs = (line: string) => pids.has(Number(line.trim().split(/\s+/)[column]))
  return `${[head, ...lines.filter(isOurs)].join('\n')}\n`
}
