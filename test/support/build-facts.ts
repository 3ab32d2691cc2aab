/** What came out of a build, as lines by name: what two builders are compared by. */
import { openRoot, type Root } from '../../src/layerfs/layer/rootfs.ts'
import type { ImageConfig } from '../../src/oci/image-config.ts'
import type { Workshop } from './build.ts'
import type { BuildCase } from './build-cases.ts'
import { listFiles } from './list-files.ts'
import type { ReferenceBuilder } from './reference-docker.ts'

export type Facts = ReadonlyMap<string, string>

export async function factsOfTheirs(
  reference: ReferenceBuilder,
  { context, flags }: Pick<BuildCase, 'context' | 'flags'>,
): Promise<Facts> {
  const built = await reference.build(context, flags)
  if ('failure' in built) return failed(built.failure)
  if (built.config.rootfs.diff_ids.length === 0) return factsOf(built.config)
  using root = openRoot(built.mount)
  return factsOf(built.config, root)
}

export async function factsOfOurs(shop: Workshop, which: BuildCase): Promise<Facts> {
  const { context, dockerfile, ignore, flags } = which
  try {
    using built = await shop.build(dockerfile, { context, ignore, ...optionsOf(flags) })
    const { config } = built.result
    return built.result.layers.length === 0 ? factsOf(config) : factsOf(config, built.root)
  } catch (error) {
    return failed(String(error))
  }
}

function failed(said: string): Facts {
  return new Map([
    ['outcome', 'failed'],
    ['said', said.trimEnd().slice(-300)],
  ])
}

/** What an image says beside times and digests, and every file in it. */
function factsOf(
  { config, history, rootfs, author, os, architecture }: ImageConfig,
  root?: Root,
): Facts {
  const steps = history.filter(entry => entry.created_by !== undefined && entry.created_by !== '')
  return new Map([
    ['outcome', 'built'],
    ['platform', `${os}/${architecture}`],
    ['author', author ?? ''],
    ['layers', String(rootfs.diff_ids.length)],
    ...Object.entries(config).map(([key, value]) => [key, JSON.stringify(value)] as const),
    ...steps.map(({ created: _created, ...entry }, index) => {
      return [`history ${index}`, JSON.stringify(entry)] as const
    }),
    ...(root === undefined ? [] : listFiles(root)),
  ])
}

/** In words; none when both failed, for whatever reason. `isExpected` lets a pair differ. */
export function differences(
  theirs: Facts,
  ours: Facts,
  isExpected: (name: string, there: string | undefined, here: string | undefined) => boolean,
): string[] {
  const outcomes = [theirs, ours].map(facts => facts.get('said') ?? 'built')
  if (theirs.get('outcome') !== ours.get('outcome')) {
    return [`BuildKit: ${outcomes[0]}, we: ${outcomes[1]}`]
  }
  if (theirs.get('outcome') === 'failed') return []
  return [...new Set([...theirs.keys(), ...ours.keys()])].flatMap(name => {
    const [there, here] = [theirs.get(name), ours.get(name)]
    if (there === here || isExpected(name, there, here)) return []
    return [`${name}: BuildKit ${there}, we ${here}`]
  })
}

/** BuildKit leaves mount points of the first RUN in its layer; we do not. */
export function isMountPoint(
  name: string,
  there: string | undefined,
  here: string | undefined,
): boolean {
  const isEmptyDirectory = here === undefined && there === '40755 0:0'
  return isEmptyDirectory && ['/dev', '/proc', '/sys'].includes(name)
}

function optionsOf(flags: readonly string[]) {
  const valuesOf = (flag: string) => flags.filter((_, index) => flags[index - 1] === flag)
  const pairs = (flag: string) =>
    Object.fromEntries(valuesOf(flag).map(text => text.split(/=(.*)/s).slice(0, 2)))
  const [target] = valuesOf('--target')
  return {
    buildArgs: pairs('--build-arg'),
    contexts: pairs('--build-context'),
    labels: pairs('--label'),
    ...(target === undefined ? {} : { target }),
  }
}
