/**
 * The same Dockerfiles through BuildKit and through us: config, history and every file compared.
 *
 * BuildKit is a buildkitd where there is one, else the one in Debian's dockerd 20.10: what is newer
 * has tests of its own beside this one.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openRoot, type Root } from '../../../src/layerfs/layer/rootfs.ts'
import type { ImageConfig } from '../../../src/oci/image-config.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { type BuildCase, caseNames, openCase } from '../../support/build-cases.ts'
import { busyboxRootfs } from '../../support/busybox.ts'
import { listFiles } from '../../support/list-files.ts'
import { findBuildkit, startReferenceBuildkit } from '../../support/reference-buildkit.ts'
import { type ReferenceBuilder, startReferenceDocker } from '../../support/reference-docker.ts'
import { describeWith } from '../../support/requires.ts'

/**
 * Where we differ, and why. `then`: BuildKit itself did it otherwise in 2022 and does now as we do.
 */
const then = 'newer BuildKit does as we do'
const known: Readonly<Record<string, string>> = {
  'add-archive-chown': then,
  'add-archive-link-through':
    'a link in an archive leads to what the image has there, not to nothing',
  'arg-empty-default': then,
  'arg-redeclared': then,
  'arg-several-see-earlier': then,
  'arg-stage-inherits': then,
  'copy-chmod': then,
  'copy-chmod-bad': then,
  'copy-chown-unknown': 'files that belong to root by mistake are worse than a failure (C16)',
  'copy-chown-unknown-group': 'files that belong to root by mistake are worse than a failure (C16)',
  'copy-double-star': then,
  'copy-fifo': then,
  'copy-several-without-slash': 'several sources go into a directory, not over each other (C06)',
  'copy-wildcard-bad': then,
  'copy-wildcard-deep': then,
  'copy-wildcard-two-match-no-slash': 'several files go into a directory, not over each other',
  'exp-defaults': then,
  'exp-plus-without-colon': then,
  'ignore-double-star-negated': then,
  'onbuild-uses-stage': then,
  'run-leaves-no-stubs': 'there is an /etc/hostname while a step runs',
  'run-mount-bind-stage': 'the stage has no mount points left in it',
  'run-network-none': then,
  'run-stdin': 'standard input is /dev/null, not a closed pipe (R02)',
  'stage-copy-dir-with-links': then,
  'stage-copy-variable': 'variables that the file itself defines are known (V10)',
  'stage-target-number': '--target takes a number too, as documented (F08)',
}

/** Where we differ from the BuildKit of today, and why. */
const knownNewest: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(known).filter(([, reason]) => reason !== then)),
  'add-tar-contiguous': 'a contiguous file is a file (POSIX)',
  'add-tar-dots': 'an archive says what its own top directory is like',
  'add-tar-replaces-file': 'what comes later in an archive takes the place of what came before',
  'run-xattr': 'BuildKit keeps file capabilities and no other attributes',
  'add-tar-xattr': 'BuildKit keeps file capabilities and no other attributes',
  'chmod-absent': 'a mode in letters also goes to a directory that is made for the files',
  'chmod-conditional': 'a mode in letters also goes to a directory that is made for the files',
  'chmod-copybits': 'a mode in letters also goes to a directory that is made for the files',
  'chmod-none': 'a mode in letters also goes to a directory that is made for the files',
  'chmod-octal': 'BuildKit loses the special bits of a directory it makes',
  'chmod-several': 'a mode in letters also goes to a directory that is made for the files',
  'chmod-special': 'a mode in letters also goes to a directory that is made for the files',
  'chmod-umask': 'a mode in letters also goes to a directory that is made for the files',
  'context-named-from': 'what is based on a directory says so in its history',
  'copy-chown-big': 'BuildKit takes 4294967294 for 0',
  'copy-chown-half': 'a user without group has the group of the image’s passwd',
  'copy-chown-negative': '-1 is no user',
  'copy-chown-three': 'of 1:2:3 the second word is the group',
  exclude: 'a link that leads outside is not needed when it is copied as a link',
  'exclude-add': 'a link that leads outside is not needed when it is copied as a link',
  'exclude-deep': 'a link that leads outside is not needed when it is copied as a link',
  'exclude-dir': 'a link that leads outside is not needed when it is copied as a link',
  'exp-replace-empty': 'a pattern without replacement is removed, as in bash',
  'exp-user-empty': 'an empty user is kept as one',
  'heredoc-copy-link': 'BuildKit gives a directory that it makes the mode of the file',
  'heredoc-copy-several-no-slash': 'several files go into a directory, not over each other (C06)',
  'heredoc-copy-slash-name': 'the directory in a name is made',
  'ignore-negation-parent': 'the last pattern that matches decides, as documented',
  'lex-env-key-forms': 'busybox shows names that other runtimes drop',
  'lex-json-unicode-pair': 'half a character stays what it is',
  'link-owner-name': 'names cannot be known without the image below (C20)',
  'parents-link-source': 'a link among the parents is followed',
  'parents-root': 'the context itself can be copied',
  'run-mount-cache-options': 'a cache is its id, whatever its owner and mode',
  'run-mount-ssh-absent': 'no socket is named when there is none',
}

/** All of them take two minutes: TSBUILD_TEST_ALL=1. */
function sample(names: readonly string[]): readonly string[] {
  const { TSBUILD_TEST_ALL: all } = process.env
  return all === '1' ? names : names.filter((_, index) => index % 3 === 0)
}

describeWith(['root', 'busybox', 'buildkit'], 'a build by BuildKit and by us', () => {
  let directory: string
  let shop: Workshop
  let reference: ReferenceBuilder
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-differential-'))
    shop = await openWorkshop()
    const start = findBuildkit() === undefined ? startReferenceDocker : startReferenceBuildkit
    reference = await start(directory, busyboxRootfs(directory))
  }, 60_000)
  afterAll(async () => {
    await reference?.[Symbol.asyncDispose]()
    await shop?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true, maxRetries: 20 })
  }, 60_000)

  const newest = findBuildkit() === undefined ? [] : caseNames('compared-newest')
  it.each(sample([...caseNames('compared'), ...newest]))('%s comes out the same', async name => {
    const which = openCase(name, join(directory, name))
    const [theirs, ours] = await Promise.all([byBuildKit(which), byUs(which)])
    const found = differences(theirs, ours, which)
    const reason = (reference.isNewest ? knownNewest : known)[basename(name)]
    if (reason === undefined) expect(found).toEqual([])
    else expect(found, reason).not.toEqual([])
  })

  async function byBuildKit({ context, flags }: BuildCase): Promise<Facts> {
    const built = await reference.build(context, flags)
    if ('failure' in built) return failed(built.failure)
    if (built.config.rootfs.diff_ids.length === 0) return factsOf(built.config)
    using root = openRoot(built.mount)
    return factsOf(built.config, root)
  }

  async function byUs({ context, dockerfile, ignore, flags }: BuildCase): Promise<Facts> {
    try {
      using built = await shop.build(dockerfile, { context, ignore, ...optionsOf(flags) })
      const { config } = built.result
      return built.result.layers.length === 0 ? factsOf(config) : factsOf(config, built.root)
    } catch (error) {
      return failed(String(error))
    }
  }
})

/** What came out, as lines by name. */
type Facts = ReadonlyMap<string, string>

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

function differences(theirs: Facts, ours: Facts, { dockerfile }: BuildCase): string[] {
  const outcomes = [theirs, ours].map(facts => facts.get('said') ?? 'built')
  if (theirs.get('outcome') !== ours.get('outcome')) {
    return [`BuildKit: ${outcomes[0]}, we: ${outcomes[1]}`]
  }
  if (theirs.get('outcome') === 'failed') return []
  return [...new Set([...theirs.keys(), ...ours.keys()])].flatMap(name => {
    const [there, here] = [theirs.get(name), ours.get(name)]
    if (there === here || isOfItsTime(name, { there, here, dockerfile })) return []
    return [`${name}: BuildKit ${there}, we ${here}`]
  })
}

interface Pair extends Pick<BuildCase, 'dockerfile'> {
  readonly there: string | undefined
  readonly here: string | undefined
}

/** What BuildKit itself did otherwise in 2022. */
function isOfItsTime(name: string, { there, here, dockerfile }: Pair): boolean {
  // Mount points stayed in the layer of a RUN.
  if (here === undefined && there === '40755 0:0') {
    return ['/dev', '/proc', '/sys'].includes(name) || dockerfile.includes('--mount')
  }
  // A map had no order, and was shown as one.
  if (name === 'ExposedPorts' || name === 'Volumes') return isSameJson(there, here)
  if (!name.startsWith('history ') || there === undefined || here === undefined) return false
  if (there.includes('"EXPOSE map[')) return here.includes('"EXPOSE [')
  if (there.includes('"HEALTHCHECK &{')) return here.includes('"HEALTHCHECK {')
  // The flags of COPY and ADD, and what --build-arg gave an ARG, were not shown.
  if (/"(COPY|ADD) --/.test(here)) return there === here.replace(/ --(chown|chmod)=\S+/g, '')
  return /"ARG /.test(there) && /"ARG /.test(here)
}

function isSameJson(there: string | undefined, here: string | undefined): boolean {
  const sorted = (text = '{}') => Object.keys(JSON.parse(text)).sort().join()
  return sorted(there) === sorted(here)
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
