// Applying layers: whatever one or two archives hold, laid over each other or extracted into one
// directory, nothing beside the target changes, and what is refused is refused for people to read.
//
// An input is a block, whose first byte says how many blocks the lower layer has, and the layers.
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { applyLayer } from '../../dist/layerfs/layer/apply.js'
import { applyFlat } from '../../dist/layerfs/layer/apply-flat.js'
import { diffLayer } from '../../dist/layerfs/layer/diff.js'
import { removePath } from '../../dist/layerfs/layer/remove-tree.js'
import { hasCode, OciError } from '../../dist/oci/errors.js'
import { repairChecksums, tarOf, tarSeeds, tarWords } from './tar-seeds.mjs'

export const watched = /\/dist\/layerfs\/(layer|tar)\//

const block = 512
const budgets = {
  extendedHeader: 65_536,
  entries: 200,
  content: 2 ** 20,
  names: 2 ** 20,
  depth: 300,
}
const lower = tarOf([
  { path: 'd/', type: 'directory', mode: 0o755 },
  { path: 'd/a', content: 'below' },
  { path: 'l', link: 'd', type: 'symlink' },
  { path: 'f', content: 'below' },
])

export function open() {
  const memory = '/dev/shm'
  const base = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'fuzz-apply-'))
  const outside = join(base, 'victim')
  mkdirSync(outside)
  writeFileSync(join(outside, 'f'), 'untouched')
  const before = shown(outside)
  const run = async bytes => {
    const scratch = join(base, 'scratch')
    mkdirSync(scratch)
    try {
      await applyAll(bytes, scratch)
      assertUntouched(base, outside, before)
    } finally {
      removePath(scratch)
    }
  }
  const seeds = tarSeeds(outside).flatMap(tar => [
    stacked(Buffer.alloc(0), tar),
    stacked(lower, tar),
  ])
  return { seeds, words: [...tarWords, outside], run, repair, close: () => removePath(base) }
}

function stacked(below, tar) {
  const head = Buffer.alloc(block)
  head[0] = below.length / block
  return Buffer.concat([head, below, tar])
}

function repair(bytes) {
  repairChecksums(bytes.subarray(block))
}

async function applyAll(bytes, scratch) {
  const middle = block * (1 + (bytes[0] ?? 0))
  const tars = [bytes.subarray(block, middle), bytes.subarray(middle)]
  await unlessRefused(() => overlaid(tars, scratch))
  await unlessRefused(() => flat(tars, scratch))
}

async function overlaid(tars, scratch) {
  const layers = []
  for (const tar of tars) {
    const target = join(scratch, `layer${layers.length}`)
    mkdirSync(target)
    await applyLayer({ ...requestOf(tar, scratch), target, lower: [...layers] })
    layers.unshift(target)
  }
  const [upper, ...below] = layers
  for (const _chunk of diffLayer({ upper, lower: below }));
}

async function flat(tars, scratch) {
  const target = join(scratch, 'flat')
  mkdirSync(target)
  for (const tar of tars) await applyFlat({ ...requestOf(tar, scratch), target })
}

function requestOf(tar, scratch) {
  const blob = join(scratch, 'blob')
  writeFileSync(blob, tar)
  const digest = `sha256:${createHash('sha256').update(tar).digest('hex')}`
  return { blob, expected: { digest, size: tar.length, diffId: digest }, budgets }
}

const refusals = ['invalid', 'too-large', 'unsupported', 'digest-mismatch']

async function unlessRefused(apply) {
  try {
    await apply()
  } catch (error) {
    if (!(error instanceof OciError) || !refusals.some(code => hasCode(error, code))) throw error
  }
}

function assertUntouched(base, outside, before) {
  const names = readdirSync(base).sort().join(' ')
  if (names !== 'scratch victim') throw new Error(`Beside the target there is now: ${names}`)
  if (shown(outside) !== before) throw new Error(`Changed outside: ${before} is ${shown(outside)}`)
}

function shown(directory) {
  return [directory, ...readdirSync(directory).map(name => join(directory, name))]
    .map(path => {
      const { mode, uid, gid, mtimeMs, ino, nlink, size } = statSync(path)
      return [path, mode, uid, gid, mtimeMs, ino, nlink, size].join(' ')
    })
    .concat(readFileSync(join(directory, 'f'), 'latin1'))
    .join('\n')
}
