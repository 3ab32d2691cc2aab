/**
 * For bridge.test.ts: hosts that are network namespaces, and containers attached in them by
 * bridge-attach.c, which is the monitor's part of the network without the rest of a sandbox.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const native = fileURLToPath(new URL('../../src/layerfs/native/bridge', import.meta.url))
const driverSource = fileURLToPath(new URL('bridge-attach.c', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'tsbuild-bridge-'))
const driver = join(folder, 'bridge-attach')

interface Attached {
  readonly monitor: ChildProcess
  readonly pid: number
  readonly address: string
  readonly prefix: number
  readonly blockedBy: string
  /** That was published, if one was. */
  readonly port: number
  readonly failedStep?: string
  readonly error?: string
}

/** A network namespace that plays the host, and what was started in it. */
interface Host {
  readonly pid: number
  readonly locks: string
  readonly started: ChildProcess[]
}

export function compileDriver(): void {
  const files = readdirSync(native).filter(name => name.endsWith('.c'))
  const sources = files.map(name => join(native, name))
  run('cc', '-std=gnu17', '-Wall', '-Werror', '-o', driver, driverSource, ...sources)
}

export function removeDriver(): void {
  rmSync(folder, { recursive: true, force: true })
}

export function missingNeeds(): string[] {
  const tools = ['cc', 'ip', 'nft', 'iptables', 'nsenter', 'unshare', 'setpriv']
  const missing = tools.filter(tool => spawnSync(tool, ['--version']).error !== undefined)
  return process.getuid?.() === 0 ? missing : ['root', ...missing]
}

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}

export function inside(pid: number, ...command: string[]): string {
  return run('nsenter', `--net=/proc/${pid}/ns/net`, '--', ...command)
}

export function nft(host: Host, text: string): void {
  inside(host.pid, 'nft', text)
}

export async function onHost(test: (host: Host) => Promise<void>): Promise<void> {
  const started: ChildProcess[] = []
  try {
    const pid = await startNamespace(started)
    const locks = join(mkdtempSync(join(folder, 'host-')), 'run/locks')
    inside(pid, 'ip', 'link', 'set', 'lo', 'up')
    await test({ pid, locks, started })
  } finally {
    for (const child of started) child.kill('SIGKILL')
  }
}

async function startNamespace(started: ChildProcess[]): Promise<number> {
  const script = 'echo ready; exec sleep 300'
  const child = spawn('unshare', ['--net', 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  started.push(child)
  await once(child.stdout, 'data')
  return pidOf(child)
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process did not start')
  return child.pid
}

/** Another machine, on a network that only the host is on: 198.51.100.2, the host is .1. */
export async function addNeighbour(host: Host): Promise<number> {
  const pid = await startNamespace(host.started)
  inside(host.pid, 'ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'up1', 'netns', `${pid}`)
  inside(host.pid, 'ip', 'address', 'add', '198.51.100.1/24', 'dev', 'up0')
  inside(host.pid, 'ip', 'link', 'set', 'up0', 'up')
  inside(pid, 'ip', 'address', 'add', '198.51.100.2/24', 'dev', 'up1')
  inside(pid, 'ip', 'link', 'set', 'up1', 'up')
  return pid
}

interface AttachOptions {
  readonly name?: string
  readonly subnet?: string
  readonly prefix?: readonly string[]
  readonly arguments?: readonly string[]
}

export async function attach(host: Host, options: AttachOptions = {}): Promise<Attached> {
  const monitor = startAttach(host, options)
  const [line] = await once(createInterface(monitor.stdout), 'line')
  return { monitor, ...JSON.parse(line) }
}

export function startAttach(host: Host, options: AttachOptions) {
  const { name = 'tsrun0', subnet = '10.213.0.0/16', prefix = [] } = options
  const command = [...prefix, driver, name, subnet, host.locks, ...(options.arguments ?? [])]
  const monitor = spawn('nsenter', [`--net=/proc/${host.pid}/ns/net`, '--', ...command], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  host.started.push(monitor)
  return monitor
}

/** Tells whoever connects to port 7000 which address it comes from. */
export async function serve(
  host: Host,
  pid: number,
  { address = '0.0.0.0', port = 7000 } = {},
): Promise<void> {
  const script = `require('node:net').createServer(socket => socket.end('you are ' + socket.remoteAddress))
    .listen(${port}, '${address}', () => console.log('listening'))`
  const args = [`--net=/proc/${pid}/ns/net`, '--', process.execPath, '-e', script]
  const server = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  host.started.push(server)
  await once(server.stdout, 'data')
}

export function ask(pid: number, address: string, port = 7000): string {
  const script = `const socket = require('node:net').connect(${port}, '${address}')
    socket.setTimeout(1500, () => socket.destroy(new Error('timeout')))
    socket.on('data', data => console.log(String(data)))
    socket.on('error', error => console.log('failed: ' + error.message))`
  return inside(pid, process.execPath, '-e', script).trim()
}

export function rulesOfOthers(host: Host): unknown[] {
  const { nftables } = JSON.parse(inside(host.pid, 'nft', '-j', 'list', 'ruleset'))
  return nftables.filter((item: object) => !JSON.stringify(item).includes('"tsrun'))
}
