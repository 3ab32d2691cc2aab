import { posix, resolve } from 'node:path'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { type CopySide, copyFiles, openContainerRoot } from '../../layerfs/runtime/copy-files.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { assertRoot } from '../privileges.ts'

export const cpCommand: Command = defineCommand({
  name: 'cp',
  usage: '[FLAGS] CONTAINER:SOURCE TARGET | SOURCE CONTAINER:TARGET',
  summary: 'Copy files between a container and this machine',
  examples: ['cp web:/etc/nginx/nginx.conf .', 'cp site/. web:/usr/share/nginx/html'],
  flags: {
    archive: { kind: 'boolean', short: 'a', help: 'Keep owners; else the files are root’s' },
    'follow-link': {
      kind: 'boolean',
      short: 'L',
      help: 'Copy what a link points to, when the source is one',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'For docker’s sake: nothing is printed' },
  },
  arity: { min: 2, max: 2 },
  run: async ({ flags, args: [source = '', target = ''], environment }) => {
    const [from, to] = [parsePlace(source), parsePlace(target)]
    if ((from.container === undefined) === (to.container === undefined)) {
      throw usageError('Cannot copy: expected one place in a container (NAME:PATH) and one outside')
    }
    if (source === '-' || target === '-') {
      throw usageError('Cannot copy as a tar', 'Use "tsrun export", or tar in "tsrun exec"')
    }
    assertRoot('copy files of a container')
    await using store = await openStore(environment.root)
    store.letGo()
    await using fromRoot = await openPlace(store, from)
    await using toRoot = await openPlace(store, to)
    copyFiles(
      { root: fromRoot, path: from.path },
      { root: toRoot, path: to.path },
      {
        followsLink: flags['follow-link'],
        keepsOwners: flags.archive,
      },
    )
    return 0
  },
})

interface Place {
  readonly container: string | undefined
  readonly path: string
}

/** As docker tells them apart: what begins with `/` or `.` is a path of this machine. */
function parsePlace(text: string): Place {
  const [, container, inside] = /^([^./:][^/:]*):(.*)$/s.exec(text) ?? []
  if (container !== undefined && inside !== undefined) {
    return { container, path: kept(posix.join('/', inside), inside) }
  }
  return { container: undefined, path: kept(resolve(text), text) }
}

/** What the end of a path says is kept: `dir/` and `dir/.`. */
function kept(absolute: string, text: string): string {
  const plain = absolute === '/' ? absolute : absolute.replace(/\/+$/, '')
  const [end = ''] = /(?:^|\/)\.?$/.exec(text) ?? []
  if (text === '' || plain === '/') return plain
  return end === '' ? plain : `${plain}/${end.endsWith('.') ? '.' : ''}`
}

async function openPlace(store: Store, { container }: Place): Promise<CopySide['root']> {
  if (container === undefined) return openRoot({ kind: 'directory', path: '/', readOnly: false })
  return await openContainerRoot(
    store,
    findContainer(await listContainers(store.containers), container),
  )
}
