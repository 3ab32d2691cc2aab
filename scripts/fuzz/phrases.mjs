// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
// The small languages of a build: patterns, mounts, references, platforms, repositories, durations,
// modes, variables. The first line of an input is what a pattern is held against, the rest the phrase.
import { csvFields } from '../../dist/builder/dockerfile/csv.js'
import { detectSyntax, parseCheck } from '../../dist/builder/dockerfile/directive.js'
import { formatDuration, parseDuration } from '../../dist/builder/dockerfile/duration.js'
import { expand, expandWords } from '../../dist/builder/dockerfile/expand.js'
import { compileDeepGlob, compileGlob, globMatches } from '../../dist/builder/dockerfile/glob.js'
import { heredocWords } from '../../dist/builder/dockerfile/heredoc.js'
import { parseIgnore } from '../../dist/builder/dockerfile/ignore.js'
import { applyMode, parseMode } from '../../dist/builder/dockerfile/mode.js'
import { parseMount, parseMountFlag } from '../../dist/builder/dockerfile/mount.js'
import { parseSize } from '../../dist/builder/dockerfile/size.js'
import { parseExposedPort } from '../../dist/builder/plan/expose.js'
import { parseGitSource } from '../../dist/builder/plan/git-source.js'
import { checkStopSignal } from '../../dist/builder/plan/stop-signal.js'
import { parseContextName, parseNamedContext } from '../../dist/builder/sources/context-name.js'
import { OciError } from '../../dist/oci/errors.js'
import { parseImagePlace } from '../../dist/oci/image-place.js'
import { formatPlatform, parsePlatform } from '../../dist/oci/platform.js'
import { formatReference, parseReference } from '../../dist/oci/reference.js'
import { pumped, within } from './pump.mjs'

export const watched = /\/dist\/(builder\/(dockerfile|plan|sources)|oci)\//

const seeds = [
  'dir/one\n*.txt\n!a.txt\n# c\n**/x\ndir/**/t[a-c]?\n',
  'a\ntype=cache,target=/c,id=x,sharing=locked,mode=0755,uid=1,gid=2,from=a,source=/s',
  'a\ntype=secret,id=s,env=E,required=true,"target=/a,b"',
  'a\ntype=tmpfs,target=/t,size=1.5g',
  `a\n127.0.0.1:5000/a/b.c_d__e-f:v1@sha256:${'a'.repeat(64)}`,
  'a\nlinux/arm/v7',
  'a\nlinux/amd64(os.version)',
  'a\nhttps://host/a.git?ref=x&subdir=y&submodules=false#v1:dir',
  'a\ngit@host:a/b.git#refs/heads/x',
  'a\noci-layout:///dir:tag@sha256:x',
  'a\ndocker-archive:/x.tar:name:tag',
  'a\n1h2m3.5s',
  'a\nu=rwX,go=rX,+t,g=u',
  'lib/x/lib\n${a#*/}${a%%/*}${a//b/c}${a/l?b/$b}${b:-"c d"}${b+x}\'$a\'"\\$a"',
  'a\n127.0.0.1:80-90:80-90/udp',
  'a\nSIGRTMIN+3',
  'a\nskip=A,B;error=true;experimental=all',
  'a\ncat <<A <<-"B C" 3<<D',
].map(text => Buffer.from(text))

const words = [
  ...'* ** ? [ ] ^ - \\ / ! , = : @ # ${ } $ " \' .. . // +'.split(' '),
  ...'type= target= from= id= size= sha256: v1 linux/ :- :+ :? ## %% // sctp SIG <<'.split(' '),
  ...['\n', ' ', '\t', '\0', 'é', '😀', '__proto__', '9'.repeat(20), '%2f', '(.*)*', '999999999'],
].map(word => Buffer.from(word).toString('latin1'))

export function open() {
  return { seeds, words, run, block: 4, close() {} }
}

let runs = 0

function run(bytes) {
  const text = bytes.toString()
  use(text)
  runs++
  if (runs % 40 === 0) within(2, () => use(pumped(text, runs)))
}

function use(text) {
  const line = text.indexOf('\n')
  // No path is longer.
  const subject = text.slice(0, Math.max(line, 0)).slice(0, 4096)
  const phrase = text.slice(line + 1)
  for (const one of [...phrases, ...pairs]) {
    try {
      one(phrase, subject)
    } catch (error) {
      if (!(error instanceof OciError)) throw error
    }
  }
}

const phrases = [
  csvFields,
  detectSyntax,
  heredocWords,
  checkStopSignal,
  parseCheck,
  parseContextName,
  parseExposedPort,
  parseGitSource,
  parseImagePlace,
  parseMountFlag,
  parseNamedContext,
  parseSize,
  text => parseMount(text, value => value),
  text => readsBack(parseReference(text), formatReference, parseReference),
  text => readsBack(parsePlatform(text), formatPlatform, parsePlatform),
  text => readsBack(parseDuration(text), formatDuration, parseDuration),
]

const pairs = [
  function mode(text) {
    const change = parseMode(text)
    for (const before of [0, 0o644, 0o7777]) {
      const after = applyMode(change, before, before === 0o644)
      if (!(after >= 0 && after <= 0o7777)) throw new Error(`${text} makes ${after} of ${before}`)
    }
  },
  function variables(text, value) {
    const lookup = name => (name === 'a' ? value : undefined)
    for (const quoting of ['remove', 'keep', 'literal']) expand(text, lookup, { quoting })
    expandWords(text, lookup)
    expand(text, lookup, { escape: '`', unset: 'keep' })
  },
  function patterns(text, path) {
    for (const compile of [compileGlob, compileDeepGlob]) {
      const glob = compile(text)
      const [fast, slow] = [glob, { ...glob, regExp: undefined }].map(one => globMatches(one, path))
      if (fast !== slow) throw new Error(`${text} matches ${path} only sometimes`)
    }
  },
  function ignored(text, path) {
    const matcher = parseIgnore(text)
    matcher.match(path)
    if (path !== '' && !path.endsWith('/') && matcher.prunes(path) && !matcher.match(`${path}/x`)) {
      throw new Error(`${path} is pruned, and has a file that is not left out`)
    }
  },
]

function readsBack(value, format, parse) {
  const again = parse(format(value))
  if (JSON.stringify(again) !== JSON.stringify(value)) {
    throw new Error(`${format(value)} reads as ${JSON.stringify(again)}`)
  }
}
