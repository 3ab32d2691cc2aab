// The whole way once: build fixtures/hello, push it to a registry of our own, pull it back by
// digest into an empty store, run it. Leaves nothing behind.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { busyboxRootfs } from './busybox-rootfs.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const program = name => join(root, `dist/cli/${name}.js`)
const work = mkdtempSync(join(tmpdir(), 'tsbuild-quickstart-'))
const stores = { here: join(work, 'store'), empty: join(work, 'empty-store') }
const started = Date.now()
let registry

try {
  if (process.getuid() !== 0) {
    throw new Error('the quickstart makes containers and needs root for now: run it with sudo')
  }
  if (!existsSync(program('tsbuild'))) throw new Error('dist/ is missing: run "npm ci" first')

  const address = await step('start tsregistry on a free port', startRegistry)
  await step('find a base image', findBase)
  const name = `${address}/hello:quickstart`
  await step(`build fixtures/hello as ${name}`, () =>
    run(
      'tsbuild',
      ['build', '-t', name, '--build-arg', 'GREETING=Hello', join(root, 'fixtures/hello')],
      stores.here,
    ),
  )
  await step('push it', () => run('tsbuild', ['push', name], stores.here))
  const { digest } = await step('ask the registry for its digest', () => inspect(name, address))
  const pinned = `${address}/hello@${digest}`
  await step(`pull ${pinned.slice(0, 60)}… into an empty store`, () =>
    run('tsrun', ['pull', pinned], stores.empty),
  )
  await step('run it with tsrun', () =>
    run('tsrun', ['--rm', pinned, 'from', 'a', 'container'], stores.empty),
  )
  console.log(`\nAll of it worked, in ${seconds(started)}.`)
} catch (error) {
  console.error(`\nquickstart: ${error.message}`)
  process.exitCode = 1
} finally {
  await stopRegistry()
  await untilQuiet()
  rmSync(work, { recursive: true, force: true, maxRetries: 20 })
}

async function step(title, work) {
  console.log(`\n▸ ${title}`)
  const begun = Date.now()
  const result = await work()
  console.log(`  done in ${seconds(begun)}`)
  return result
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`
}

function startRegistry() {
  const args = ['serve', '--addr', '127.0.0.1:0', '--root', join(work, 'registry')]
  registry = spawn(process.execPath, [program('tsregistry'), ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return new Promise((resolve, reject) => {
    let output = ''
    registry.stdout.on('data', chunk => {
      output += chunk
      const address = /127\.0\.0\.1:\d+/.exec(output)?.[0]
      if (address !== undefined) resolve(address)
    })
    registry.on('exit', code => reject(new Error(`tsregistry ended with ${code}`)))
  })
}

async function stopRegistry() {
  if (registry === undefined || registry.exitCode !== null) return
  const ended = new Promise(resolve => registry.on('exit', resolve))
  registry.kill('SIGTERM')
  await ended
}

/** A store is synced to the disk in the background after its last user is done. */
async function untilQuiet() {
  while (processesNaming(work)) await new Promise(resume => setTimeout(resume, 50))
}

function processesNaming(text) {
  return readdirSync('/proc').some(pid => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
    } catch {
      return false
    }
  })
}

/** Docker Hub's busybox where it can be reached, else one made of Debian's package. */
async function findBase() {
  const reachable = await fetch('https://registry-1.docker.io/v2/', {
    signal: AbortSignal.timeout(5000),
  }).then(
    response => response.status === 401 || response.ok,
    () => false,
  )
  if (reachable && tryRun('tsbuild', ['pull', 'busybox'], stores.here) === 0) {
    console.log('  took Docker Hub’s busybox')
    return
  }
  run('tsbuild', ['import', busyboxRootfs(work), 'busybox:latest'], stores.here)
  console.log('  Docker Hub is out of reach: took Debian’s busybox-static')
}

async function inspect(name, address) {
  const [, repository, tag] = /^[^/]+\/(.+):([^:]+)$/.exec(name)
  const response = await fetch(`http://${address}/v2/${repository}/manifests/${tag}`, {
    method: 'HEAD',
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  })
  return { digest: response.headers.get('docker-content-digest') }
}

function run(name, args, store) {
  const status = tryRun(name, args, store)
  if (status !== 0) throw new Error(`${name} ${args[0]} ended with ${status}`)
}

function tryRun(name, args, store) {
  const { status } = spawnSync(process.execPath, [program(name), ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, TSBUILD_ROOT: store },
  })
  return status
}
