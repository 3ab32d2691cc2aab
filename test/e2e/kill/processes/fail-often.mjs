// Fails in every way 2,000 times over and prints, as JSON, what each way threw, how many files were
// open before and after, and what nobody caught.
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const [dist, work, count] = process.argv.slice(2)

const load = path => import(`${dist}/${path}.js`)
const { openStore } = await load('layerfs/store')
const { putBlob } = await load('layerfs/content/content-store')
const { streamFileAtomic, writeFileAtomic } = await load('layerfs/content/atomic-file')
const { acquireLock, tryLock } = await load('layerfs/content/file-lock')
const { importArchive, importLayout } = await load('layerfs/image/import-image')
const { exportLayout } = await load('layerfs/image/export-image')
const { unpackImage } = await load('layerfs/image/unpack')
const { openRoot } = await load('layerfs/layer/rootfs')
const { copyTree } = await load('layerfs/layer/copy')
const { hashDiff } = await load('layerfs/layer/diff')
const { runSandbox } = await load('layerfs/sandbox/run')
const { defaultSecurity } = await load('layerfs/sandbox/defaults')
const { openFileObjectStore } = await load('registry/storage/filesystem/file-object-store')
const { createRegistryStorage } = await load('registry/storage/registry-storage')
const { uploadWhole, startUpload, appendToUpload, finishUpload } = await load(
  'registry/storage/uploads',
)
const { unlinkBlob } = await load('registry/storage/blobs')

const sha256 = bytes => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const absent = sha256('absent')
async function* broken() {
  yield randomBytes(1000)
  throw new Error('The bytes broke off')
}

const store = await openStore(join(work, 'store'))
const opened = await openFileObjectStore(join(work, 'registry'))
const storage = createRegistryStorage(opened.objects)
const tree = join(work, 'tree')
mkdirSync(tree)
writeFileSync(join(tree, 'file'), '')
mkdirSync(join(work, 'target/file'), { recursive: true })

const garbage = gzipSync(randomBytes(2000))
const { digest } = await putBlob(store.content, [garbage])
const layer = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest,
  size: garbage.length,
}
const damaged = {
  manifest: { layers: [layer, layer] },
  config: { rootfs: { type: 'layers', diff_ids: [sha256('one'), sha256('two')] } },
}
const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: absent, size: 1 }

async function runNothing() {
  const active = await store.snapshots.prepare(undefined)
  const spec = {
    ...{ root: active.mount, readOnly: false, mounts: [], argv: ['/absent'], env: [], cwd: '/' },
    ...{ user: { uid: 0, gid: 0, groups: [] }, hostname: 'x', network: 'none', limits: {} },
    ...{ security: defaultSecurity, extraHosts: [], dns: [], shmSize: 65536, terminal: false },
  }
  const io = { id: active.key, stdin: 'null', output: () => {}, stubs: store.stubs }
  await runSandbox(spec, io).finally(() => active[Symbol.asyncDispose]())
}

function copyOverDirectory() {
  const source = openRoot({ kind: 'directory', path: tree, readOnly: true })
  const root = openRoot({ kind: 'directory', path: join(work, 'target'), readOnly: false })
  try {
    copyTree({ root: source, path: '/file' }, { root, path: '/file' })
  } finally {
    source[Symbol.dispose]()
    root[Symbol.dispose]()
  }
}

async function uploadInParts(last) {
  const address = await startUpload(storage, 'a/b')
  await appendToUpload(storage, address, { bytes: [randomBytes(1000)] })
  await finishUpload(storage, address, { digest: absent, chunk: { bytes: last } })
}

const expected = { digest: absent }
/** How many of `count` runs; the way. */
const ways = {
  lockMissing: [1, () => tryLock(join(work, 'absent'), 'shared')],
  lockAborted: [
    1,
    () => acquireLock(join(work, 'l'), { mode: 'shared', signal: AbortSignal.abort() }),
  ],
  readMissing: [1, () => store.content.read(absent)],
  blobOfOtherDigest: [1, () => putBlob(store.content, [randomBytes(10)], expected)],
  blobBreaksOff: [1, () => putBlob(store.content, broken(), expected)],
  fileBreaksOff: [1, () => streamFileAtomic(join(work, 'file'), broken())],
  fileOverDirectory: [1, () => writeFileAtomic(tree, 'x', { durability: 'unsynced' })],
  archiveOfGarbage: [1, () => importArchive(broken(), store.content)],
  layoutMissing: [1, () => importLayout(tree, store.content)],
  exportMissing: [
    1,
    () =>
      exportLayout(join(work, 'out'), {
        images: [{ target }],
        content: store.content,
        format: 'oci',
      }),
  ],
  snapshotMissing: [1, () => store.snapshots.prepare(absent)],
  commitWithoutParent: [
    0.2,
    async () => {
      const staged = await store.snapshots.stage()
      const info = { name: absent, parent: absent, diffId: absent }
      await store.snapshots.commit(staged, info).finally(() => staged[Symbol.asyncDispose]())
    },
  ],
  containerMissing: [1, () => store.containers.remove('0'.repeat(64))],
  rootMissing: [
    1,
    () => openRoot({ kind: 'directory', path: join(work, 'absent'), readOnly: true }),
  ],
  layersMissing: [
    1,
    () => openRoot({ kind: 'overlay', lower: [join(work, 'absent')], upper: tree, work: tree }),
  ],
  copyOverDirectory: [1, copyOverDirectory],
  diffMissing: [1, () => hashDiff({ upper: join(work, 'absent'), lower: [] })],
  unpackGarbage: [0.02, () => unpackImage(damaged, store)],
  runNothing: [0.02, runNothing],
  registryBlobMissing: [1, () => unlinkBlob(storage, 'a/b', absent)],
  registryBlobOfOtherDigest: [
    0.2,
    () => uploadWhole(storage, 'a/b', { ...expected, bytes: [randomBytes(9)] }),
  ],
  registryBlobBreaksOff: [0.2, () => uploadWhole(storage, 'a/b', { ...expected, bytes: broken() })],
  registryUploadOfOtherDigest: [0.2, () => uploadInParts([randomBytes(9)])],
  registryUploadBreaksOff: [0.2, () => uploadInParts(broken())],
}

// From here on: what fails before ends the script, with its reason.
const uncaught = []
process.on('uncaughtException', error => uncaught.push(error.message))
process.on('unhandledRejection', error => uncaught.push(String(error)))

const openFiles = () => readdirSync('/proc/self/fd').length
const results = {}
for (const [name, [share, way]] of Object.entries(ways)) {
  const fail = async () => {
    try {
      await way()
      return 'no failure'
    } catch (error) {
      // A mistake of this script, not a failure of what it calls.
      if (error instanceof TypeError) uncaught.push(`${name}: ${error.message}`)
      return error.message
    }
  }
  const message = await fail()
  const before = openFiles()
  for (let i = 0; i < count * share; i++) await fail()
  results[name] = { message, leaked: openFiles() - before }
}
await store[Symbol.asyncDispose]()
await opened[Symbol.asyncDispose]()
process.stdout.write(JSON.stringify({ results, uncaught }))
