// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
// The Dockerfile language: any text is parsed, planned and looked at by the build checks, or refused
// with a place in the file; and a part of it repeated thousands of times takes no longer than its length
// explains.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { outlineOf } from '../../dist/builder/call/outline.js'
import { listTargets } from '../../dist/builder/call/targets.js'
import { DockerfileError } from '../../dist/builder/dockerfile/error.js'
import { formatExcerpt } from '../../dist/builder/dockerfile/excerpt.js'
import { lint } from '../../dist/builder/dockerfile/lint.js'
import { parseDockerfile } from '../../dist/builder/dockerfile/parse.js'
import { addTriggers, planStages } from '../../dist/builder/plan/build-plan.js'
import { planStage, scratchImage } from '../../dist/builder/plan/plan-stage.js'
import { OciError } from '../../dist/oci/errors.js'
import { pumped, within } from './pump.mjs'

export const watched = /\/dist\/builder\/(dockerfile|plan|call)\//

const fixtures = fileURLToPath(new URL('../../fixtures/dockerfile/', import.meta.url))

const words = [
  ...'FROM RUN CMD COPY ADD ENV ARG LABEL EXPOSE VOLUME USER WORKDIR SHELL ENTRYPOINT'.split(' '),
  ...'HEALTHCHECK ONBUILD STOPSIGNAL MAINTAINER AS scratch busybox NONE'.split(' '),
  ...'$a ${a} ${a:-b} ${a:?b} ${a#*b} ${a%%b?} ${a/b/c} ${a//\\// } \\$a "a b" \'a\' k=v'.split(
    ' ',
  ),
  ...'<<EOF <<-EOF <<"EOF" 3<<EOF EOF ["a","b"] [ ] { } \\ ` # -- .. /./ ** * [a-z]'.split(' '),
  ...'--from=a --from=0 --link --parents --chown=a:1 --chmod=u+x --exclude=* --mount=type='.split(
    ' ',
  ),
  ...'bind,target=/m cache,id=c,target=/c,sharing= secret,id=s,env=E ssh tmpfs,size=1g from='.split(
    ' ',
  ),
  ...'--platform=$BUILDPLATFORM --network=host --device=a --interval=1s --checksum=sha256:'.split(
    ' ',
  ),
  ...'escape=` check=skip=all;error=true syntax=a 80-90/udp https://a/b.git#c:d?ref=e'.split(' '),
  ...[
    '\n',
    '\r\n',
    '\\\n',
    '\n\n',
    ' ',
    '\t',
    '\0',
    '\ufeff',
    'é',
    '😀',
    '__proto__',
    'constructor',
  ],
].map(word => Buffer.from(word).toString('latin1'))

export function open() {
  const folders = ['compared', 'compared-newest', 'parsed', 'refused']
  const seeds = folders.flatMap(folder =>
    readdirSync(join(fixtures, folder))
      .filter(name => !name.includes('.'))
      .map(name => readFileSync(join(fixtures, folder, name, 'Dockerfile'))),
  )
  return { seeds: seeds.filter(({ length }) => length < 4096), words, run, block: 8, close() {} }
}

let runs = 0

function run(bytes) {
  const text = bytes.toString()
  use(text)
  runs++
  if (runs % 40 === 0) within(2, () => use(pumped(text, runs)))
}

function use(text) {
  let dockerfile
  try {
    dockerfile = parseDockerfile(text)
  } catch (error) {
    refused(text, error)
    return
  }
  for (const { span } of dockerfile.instructions) {
    if (span.startLine > span.endLine || span.end > dockerfile.source.length) {
      throw new Error(`A span that is none: ${JSON.stringify(span)}`)
    }
  }
  settle(text, () => listTargets(dockerfile))
  settle(text, () => plan(dockerfile, text))
}

const platform = { os: 'linux', architecture: 'amd64' }
const other = { os: 'linux', architecture: 'arm64', variant: 'v8' }

function plan(dockerfile, text) {
  const options = {
    buildArgs: new Map([
      ['a', 'value'],
      ['HTTP_PROXY', 'p'],
    ]),
    buildPlatform: platform,
    targetPlatform: other,
    isMultiPlatform: true,
    namedContexts: new Set(['named']),
  }
  const first = planStages(dockerfile, options)
  // An image whose name says so brings what a line of the file has as a trigger.
  const bringing = first.all.filter(
    ({ base }) => base.kind === 'image' && base.reference.includes('busybox'),
  )
  const trigger = [text.split('\n').at(-1) || 'RUN echo']
  const planned = addTriggers(first, new Map(bringing.map(({ index }) => [index, trigger])))
  const byStage = new Map()
  for (const stage of planned.stages) byStage.set(stage.index, planOne(planned, stage, byStage))
  const stages = [...byStage.values()]
  lint(
    dockerfile,
    stages.flatMap(({ findings }) => findings),
  )
  outlineOf({ plan: planned, stages })
}

function planOne(planned, stage, byStage) {
  const parent = stage.base.kind === 'stage' ? byStage.get(stage.base.stage) : undefined
  const image = parent?.image ?? scratchImage(stage.platform)
  const base = parent === undefined ? { image } : { image, scope: parent.scope }
  const result = planStage(planned, stage, base)
  for (const step of result.steps) {
    if (step.kind === 'copy' && !step.dest.startsWith('/')) throw new Error(`to ${step.dest}`)
    if (step.kind === 'workdir' && !step.path.startsWith('/')) throw new Error(`in ${step.path}`)
  }
  return result
}

function settle(text, action) {
  try {
    action()
  } catch (error) {
    refused(text, error)
  }
}

function refused(text, error) {
  if (error instanceof OciError && !(error instanceof DockerfileError)) return
  if (!(error instanceof DockerfileError)) throw error
  if (error.message === '') throw new Error('Refused without a word')
  formatExcerpt(text, error)
}
