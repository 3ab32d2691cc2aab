import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { openStore } from '../../layerfs/store.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { formatHostPort } from './options/publish-options.ts'

export const portCommand: Command = defineCommand({
  name: 'port',
  usage: 'CONTAINER [PORT[/PROTOCOL]]',
  summary: 'List the ports of this machine that lead to a container',
  examples: ['port web', 'port web 80'],
  flags: {},
  arity: { min: 1, max: 2 },
  run: async ({ args: [text = '', wanted], environment, stdout }) => {
    if (wanted !== undefined && !/^\d{1,5}(\/(tcp|udp))?$/.test(wanted)) {
      throw usageError(`Cannot look for port "${printable(wanted)}": expected PORT[/tcp|/udp]`)
    }
    await using store = await openStore(environment.root)
    const container = findContainer(await listContainers(store.containers), text)
    const all = container.isRunning ? (container.record?.ports ?? []) : []
    const nameOf = ({ port, protocol }: (typeof all)[number]) => `${port}/${protocol}`
    if (wanted === undefined) {
      stdout.write(all.map(port => `${nameOf(port)} -> ${formatHostPort(port)}\n`).join(''))
      return 0
    }
    const name = wanted.includes('/') ? wanted : `${wanted}/tcp`
    const found = all.filter(port => nameOf(port) === name)
    if (found.length === 0) {
      throw new OciError(
        'not-found',
        `Cannot find a published port ${name} of container ${container.id.slice(0, 12)}`,
      )
    }
    stdout.write(found.map(port => `${formatHostPort(port)}\n`).join(''))
    return 0
  },
})
