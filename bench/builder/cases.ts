/** What is built, and how much of BuildKit's time ours may take. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { benchFiles, mixedFiles, smallFiles, writeTree } from '../layerfs/files.ts'
import { command } from '../measure.ts'
import type { Contestant } from './contestants.ts'

export interface BuildPlace {
  /** Empty, of the case alone. */
  readonly directory: string
  readonly isQuick: boolean
  /** `127.0.0.1:port` of a registry that both build from and push to. */
  readonly registry: string
}

/** One build of one contestant; `run` counts up, from -1, which warms up and is not measured. */
export type Work = (contestant: Contestant, run: number) => Promise<unknown>

export interface BuildCase {
  readonly title: string
  readonly goal: number
  /** Whether every run begins with nothing cached. */
  readonly isCold?: boolean
  /** Whether it takes BuildKit's daemon so long that its client is no matter: one of them is asked. */
  readonly isLong?: boolean
  prepare(place: BuildPlace): Promise<Work> | Work
  /** The sizes of what both made, to be within 3 % of one another. */
  sizeOf?(place: BuildPlace, contestant: Contestant): number
}

/** Has `/true`, a static program. */
export const smallBase = (registry: string) => `${registry}/base/small:1`
/** Has eight layers. */
export const largeBase = (registry: string) => `${registry}/base/large:1`

/** Built and pushed by ours. */
export async function pushBases(tsbuild: Contestant, place: BuildPlace): Promise<void> {
  const small = join(place.directory, 'small')
  mkdirSync(small)
  const source = join(place.directory, 'true.c')
  writeFileSync(source, 'int main(void) { return 0; }\n')
  command('cc', ['-static', '-O1', '-o', join(small, 'true'), source])
  writeDockerfile(small, ['FROM scratch', 'COPY true /true'])
  await tsbuild.build({ context: small, output: { kind: 'push', name: smallBase(place.registry) } })
  const large = join(place.directory, 'large')
  const count = place.isQuick ? 200 : 2000
  const layers = [1, 2, 3, 4, 5, 6, 7, 8].map(layer => `layer${layer}`)
  for (const layer of layers) writeFiles(large, { count, prefix: `${layer}/` })
  const copies = layers.map(layer => `COPY ${layer} /${layer}`)
  writeDockerfile(large, ['FROM scratch', ...copies])
  await tsbuild.build({ context: large, output: { kind: 'push', name: largeBase(place.registry) } })
}

const unchanged: BuildCase = {
  title: 'nothing changed',
  goal: 0.35,
  prepare: ({ directory, isQuick, registry }) => {
    writeTree(join(directory, 'src'), isQuick ? 1000 : 10_000)
    const settings = Array.from({ length: 14 }, (_, i) => [`ENV E${i}=${i}`, `LABEL l${i}="${i}"`])
    writeDockerfile(directory, [from(smallBase(registry)), 'COPY src /src', ...settings.flat()])
    return contestant => contestant.build({ context: directory })
  },
}

const oneFile: BuildCase = {
  title: 'one file changed',
  goal: 0.35,
  prepare: ({ directory, isQuick, registry }) => {
    const files = writeTree(join(directory, 'src'), isQuick ? 1000 : 10_000)
    writeDockerfile(directory, [from(smallBase(registry)), 'COPY src /src'])
    return (contestant, run) => {
      writeFileSync(files[files.length >> 1] ?? '', `${contestant.name} ${run}\n`)
      return contestant.build({ context: directory })
    }
  },
}

const tinyRuns: BuildCase = {
  title: '50 RUNs that do nothing',
  goal: 0.12,
  prepare: ({ directory, isQuick, registry }) => {
    const runs = Array.from({ length: isQuick ? 10 : 50 }, (_, i) => `RUN ["/true", "${i}"]`)
    return (contestant, run) => {
      writeDockerfile(directory, [from(smallBase(registry)), runOf(contestant, run), ...runs])
      return contestant.build({ context: directory })
    }
  },
}

const stages: BuildCase = {
  title: 'eight independent stages',
  goal: 0.7,
  prepare: ({ directory, isQuick, registry }) => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    for (const name of names) writeFiles(directory, { count: isQuick ? 50 : 500, prefix: name })
    return (contestant, run) => {
      const lines = names.flatMap(name => [
        `${from(smallBase(registry))} AS ${name}`,
        runOf(contestant, run),
        'RUN ["/true"]',
        `COPY ${name}dir0 /${name}`,
        `RUN ["/true", "${name}"]`,
      ])
      const copies = names.map(name => `COPY --from=${name} /${name} /${name}`)
      writeDockerfile(directory, [...lines, 'FROM scratch', ...copies])
      return contestant.build({ context: directory })
    }
  },
}

const archived = (directory: string, { name }: Contestant) => join(directory, `${name}.tar`)

const largeCopy: BuildCase = {
  title: 'COPY to an OCI tar',
  goal: 0.4,
  isCold: true,
  isLong: true,
  prepare: ({ directory, isQuick }) => {
    const context = join(directory, 'context')
    // 36,000 of them are 1 GiB.
    writeFiles(context, { count: isQuick ? 3000 : 36_000, prefix: 'data/' })
    writeDockerfile(context, ['FROM scratch', 'COPY data /data'])
    return contestant => {
      const path = archived(directory, contestant)
      rmSync(path, { force: true })
      return contestant.build({ context, output: { kind: 'oci', path } })
    }
  },
  sizeOf: ({ directory }, contestant) => statSync(archived(directory, contestant)).size,
}

const pushOnBase: BuildCase = {
  title: 'COPY pushed on a base not present',
  goal: 0.5,
  isCold: true,
  prepare: ({ directory, registry }) => {
    writeDockerfile(directory, [from(largeBase(registry)), 'COPY program /program'])
    return (contestant, run) => {
      writeFileSync(join(directory, 'program'), randomBytes(1024 * 1024))
      const name = `${registry}/pushed/${contestant.name}:${run + 1}`
      return contestant.build({ context: directory, output: { kind: 'push', name } })
    }
  },
}

const pushAgain: BuildCase = {
  title: 'push with all blobs present',
  goal: 0.3,
  prepare: ({ directory, isQuick, registry }) => {
    writeFiles(directory, { count: isQuick ? 100 : 1000, prefix: 'data/', sizes: smallFiles })
    writeDockerfile(directory, [from(largeBase(registry)), 'COPY data /data'])
    return contestant => {
      const name = `${registry}/again/${contestant.name}:1`
      return contestant.build({ context: directory, output: { kind: 'push', name } })
    }
  },
}

export const cases: readonly BuildCase[] = [
  unchanged,
  oneFile,
  tinyRuns,
  stages,
  largeCopy,
  pushOnBase,
  pushAgain,
]

function from(image: string): string {
  return `FROM ${image}`
}

/** Before steps that nobody may have in the cache: two of the contestants share one. */
function runOf({ name }: Contestant, run: number): string {
  return `ENV RUN=${name}-${run}`
}

function writeDockerfile(directory: string, lines: readonly string[]): void {
  writeFileSync(join(directory, 'Dockerfile'), `${lines.join('\n')}\n`)
}

interface WrittenFiles {
  readonly count: number
  readonly prefix: string
  readonly sizes?: typeof smallFiles
}

function writeFiles(directory: string, { count, prefix, sizes = mixedFiles }: WrittenFiles): void {
  for (const { path, content } of benchFiles({ count, sizes, prefix })) {
    const target = join(directory, path)
    mkdirSync(join(target, '..'), { recursive: true })
    writeFileSync(target, content)
  }
}
