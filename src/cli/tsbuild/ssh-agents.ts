/** `--ssh`: which agents a RUN with an ssh mount can reach. */
import { statSync } from 'node:fs'
import { usageError } from '../cli-error.ts'
import type { EnvironmentLookup } from '../flags/flags.ts'

/** `default`, `ID` or `ID=SOCKET`, as the agents' sockets by id; without one, SSH_AUTH_SOCK. */
export function parseSshAgents(
  texts: readonly string[],
  lookup: EnvironmentLookup,
): ReadonlyMap<string, string> {
  return new Map(texts.map(text => parseAgent(text, lookup)))
}

function parseAgent(text: string, lookup: EnvironmentLookup): readonly [string, string] {
  const equals = text.indexOf('=')
  const id = equals === -1 ? text : text.slice(0, equals)
  const given = equals === -1 ? undefined : text.slice(equals + 1)
  if (id === '') throw usageError(`Flag --ssh "${text}" has no id`)
  const path = given ?? lookup('SSH_AUTH_SOCK')
  if (path === undefined || path === '') {
    throw usageError(
      `Cannot use flag --ssh "${text}": no SSH agent runs, SSH_AUTH_SOCK is not set`,
      'Start one: eval "$(ssh-agent)" && ssh-add',
    )
  }
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) {
    throw usageError(
      `Cannot use flag --ssh "${text}": it is a file, not the socket of an agent`,
      'Add the key to an agent with ssh-add, and use --ssh default',
    )
  }
  return [id, path]
}
