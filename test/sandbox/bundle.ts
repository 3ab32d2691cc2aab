/** Bundles of the runtime specification, run in this process: each writes what it sees to /out. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CreateRequest, createContainer } from '../../src/layerfs/oci-runtime/create.ts'
import { deleteContainer, startContainer } from '../../src/layerfs/oci-runtime/lifecycle.ts'
import {
  listStates,
  readState,
  type Status,
  statusOf,
} from '../../src/layerfs/oci-runtime/state.ts'
import { defaultPath, dockerCapabilities } from '../../src/layerfs/sandbox/defaults.ts'
import { type Box, makeBox } from './box.ts'

/** What config.json holds; tests change it as they like. */
export type Config = ReturnType<typeof plainConfig> & Record<string, unknown>

function plainConfig(rootfs: string, out: string) {
  const sets = ['bounding', 'effective', 'permitted'].map(name => [name, dockerCapabilities])
  return {
    ociVersion: '1.2.0',
    process: {
      args: ['true'],
      env: [`PATH=${defaultPath}`],
      cwd: '/',
      user: { uid: 0, gid: 0 } as Record<string, unknown>,
      capabilities: Object.fromEntries(sets),
    } as Record<string, unknown> & { args: string[]; user: Record<string, unknown> },
    root: { path: rootfs } as Record<string, unknown>,
    hostname: 'bundle',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      { destination: '/out', type: 'bind', source: out, options: ['rbind', 'rw'] },
    ] as Record<string, unknown>[],
    hooks: {} as Record<string, unknown>,
    annotations: { 'org.example.made-by': 'a test' },
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map(type => ({ type })) as Record<
        string,
        unknown
      >[],
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
    } as Record<string, unknown> & { namespaces: Record<string, unknown>[] },
  }
}

export interface Bundles extends AsyncDisposable {
  readonly box: Box
  readonly directory: string
  /** Where states are. */
  readonly root: string
  readonly out: string
  /** Writes config.json; the directory of the bundle. */
  write(change?: (config: Config) => void): string
  /** Of the container's /out. */
  read(file: string): string
  create(id: string, bundle: string, request?: Partial<CreateRequest>): Promise<number>
  start(id: string): Promise<void>
  /** Runs `script` in a new container to its end, and deletes it. */
  run(script: string, change?: (config: Config) => void): Promise<void>
  status(id: string): Status
  until(id: string, status: Status): Promise<void>
}

let count = 0

export function makeBundles(): Bundles {
  const box = makeBox()
  const directory = mkdtempSync('/tmp/oci-runtime-test-')
  const [root, out] = [join(directory, 'state'), join(directory, 'out')]
  mkdirSync(out)
  chmodSync(out, 0o777)
  for (const name of ['proc', 'sys', 'dev', 'out']) mkdirSync(join(box.layer, name))
  const status = (id: string) => statusOf(root, readState(root, id))
  const until = async (id: string, wanted: Status) => {
    for (let attempt = 0; attempt < 1000 && status(id) !== wanted; attempt++) await sleep(5)
    if (status(id) !== wanted) throw new Error(`${id} is ${status(id)}, not ${wanted}`)
  }
  const bundles: Bundles = {
    box,
    directory,
    root,
    out,
    write(change = () => {}) {
      const bundle = join(directory, `bundle-${count++}`)
      const config = plainConfig(box.layer, out) as Config
      change(config)
      mkdirSync(bundle)
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
      return bundle
    },
    read: file => readFileSync(join(out, file), 'utf8'),
    async create(id, bundle, request = {}) {
      const { pid } = await createContainer({
        ...{ root, id, bundle, preserved: 0, isDetached: true },
        ...request,
      })
      return pid
    },
    start: id => startContainer(root, id),
    async run(script, change = () => {}) {
      const id = `run-${count}`
      const bundle = this.write(config => {
        config.process.args = ['sh', '-c', script]
        change(config)
      })
      await this.create(id, bundle)
      await this.start(id)
      await until(id, 'stopped')
      await deleteContainer(root, id, { force: false })
    },
    status,
    until,
    async [Symbol.asyncDispose]() {
      for (const { id } of listStates(root)) await deleteContainer(root, id, { force: true })
      box[Symbol.dispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
  return bundles
}
