/** Real S3 servers for tests: each program that the machine has, on a free port, with a bucket. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createS3Client } from '../../src/registry/storage/s3/s3-client.ts'
import { defaultMemory, type S3Options } from '../../src/registry/storage/s3/s3-options.ts'

export type S3Product = 'minio' | 'versitygw' | 'moto' | 'seaweedfs' | 'rclone'

export const bucketName = 'registry'

export const credentials = { accessKeyId: 'test-access', secretAccessKey: 'test-secret-key' }

interface Place {
  readonly port: number
  readonly root: string
  /** More free ones: some products are several servers. */
  readonly ports: readonly number[]
}

interface Product {
  readonly program: string
  readonly args: (at: Place) => readonly string[]
}

const products: Readonly<Record<S3Product, Product>> = {
  minio: {
    program: 'minio',
    args: ({ port, root }) => [
      'server',
      '--address',
      `127.0.0.1:${port}`,
      '--console-address',
      '127.0.0.1:0',
      root,
    ],
  },
  versitygw: {
    program: 'versitygw',
    args: ({ port, root }) => [
      '--port',
      `127.0.0.1:${port}`,
      '--keep-alive',
      '--quiet',
      'posix',
      root,
    ],
  },
  moto: { program: 'moto_server', args: ({ port }) => ['-H', '127.0.0.1', '-p', `${port}`] },
  seaweedfs: {
    program: 'weed',
    args: ({ port, root, ports: [s3, ...others] }) => [
      ...['server', `-dir=${root}`, '-ip=127.0.0.1', '-ip.bind=127.0.0.1'],
      ...['-s3', `-s3.port=${port}`, `-s3.port.grpc=${s3}`],
      ...['master', 'volume', 'filer'].flatMap((name, i) => [
        `-${name}.port=${others[2 * i]}`,
        `-${name}.port.grpc=${others[2 * i + 1]}`,
      ]),
      ...['-master.telemetry=false', '-master.volumeSizeLimitMB=64', '-volume.max=100'],
    ],
  },
  rclone: {
    program: 'rclone',
    args: ({ port, root }) => [
      ...['serve', 's3', '--addr', `127.0.0.1:${port}`],
      ...['--auth-key', `${credentials.accessKeyId},${credentials.secretAccessKey}`],
      ...['--config', '/dev/null', root],
    ],
  },
}

/** Where the program is; `undefined` when this machine has none. */
export function findS3Server(product: S3Product): string | undefined {
  const { program } = products[product]
  const folders = [
    ...(process.env['PATH'] ?? '').split(':'),
    process.env['GOBIN'] ?? '',
    join(process.env['GOPATH'] ?? join(homedir(), 'go'), 'bin'),
    process.env['TSREGISTRY_S3_SERVERS'] ?? '',
  ]
  return folders.map(folder => join(folder, program)).find(path => existsSync(path))
}

/** The first of those that decide conditions, so that any number of processes may write. */
export function findFullS3Server(): S3Product | undefined {
  return (['versitygw', 'minio', 'moto'] as const).find(product => findS3Server(product))
}

export interface TestS3Server extends AsyncDisposable {
  readonly options: S3Options
  readonly port: number
  /** Where its data is. */
  readonly root: string
  /** As `serve --storage` takes it. */
  readonly address: string
  /** Of a program that stores in it. */
  readonly environment: Readonly<Record<string, string>>
  /** With SIGKILL, and again on the same port with the same data. */
  restart(): Promise<void>
}

export async function startS3Server(product: S3Product): Promise<TestS3Server> {
  const program = findS3Server(product)
  if (program === undefined) throw new Error(`No ${product} on this machine`)
  const root = await mkdtemp(join(tmpdir(), 'tsregistry-s3-'))
  const port = await freePort()
  const ports = await Promise.all(Array.from({ length: 7 }, freePort))
  const run = () => start(program, products[product].args({ port, root, ports }))
  const options: S3Options = {
    bucket: bucketName,
    prefix: '',
    region: 'us-east-1',
    endpoint: new URL(`http://127.0.0.1:${port}`),
    pathStyle: true,
    credentials,
    memory: defaultMemory,
  }
  let child = run()
  await mkdir(root, { recursive: true })
  await makeBucket(options)
  return {
    options,
    port,
    root,
    address: `s3://${bucketName}?endpoint=http://127.0.0.1:${port}`,
    environment: {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    restart: async () => {
      await stop(child)
      child = run()
    },
    [Symbol.asyncDispose]: async () => {
      await stop(child)
      await rm(root, { recursive: true, force: true })
    },
  }
}

/** It ends with us, however we end: a test that is given up leaves none behind. */
function start(program: string, args: readonly string[]): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
    stdio: 'ignore',
    env: {
      ...process.env,
      MINIO_ROOT_USER: credentials.accessKeyId,
      MINIO_ROOT_PASSWORD: credentials.secretAccessKey,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      ROOT_ACCESS_KEY_ID: credentials.accessKeyId,
      ROOT_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
  })
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise(resolve => child.once('close', resolve))
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL')
    await ended
  }
}

async function makeBucket(options: S3Options): Promise<void> {
  const client = await createS3Client(options)
  try {
    const until = Date.now() + 20_000
    for (;;) {
      try {
        await client.sendOnly({ method: 'PUT' })
        return
      } catch (error) {
        if (Date.now() > until) throw error
        await pause(50)
      }
    }
  } finally {
    client.close()
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      )
    })
  })
}
