/** The registries that are compared, each over a folder of the same bucket. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bucketName, credentials, freePort } from '../../test/support/s3-server.ts'
import { processorMs } from '../registry/servers.ts'

export interface Rival {
  readonly name: string
  /** `s3Port` is where it finds the S3 server. */
  start(s3Port: number): Promise<RunningRegistry>
  /** Where in the bucket the file of a tag is, and what it holds. */
  tagFile(
    name: string,
    tag: string,
    digest: string,
  ): { readonly key: string; readonly text: string }
}

export interface RunningRegistry extends AsyncDisposable {
  readonly port: number
  /** What all its threads have used so far. */
  processorMs(): number
}

/** Compiled beside the benchmark (scripts/bench.mjs). */
const program = fileURLToPath(new URL('../../dist/cli/tsregistry.js', import.meta.url))

export const ours: Rival = {
  name: 'tsregistry',
  start: async s3Port => {
    const port = await freePort()
    const storage = `s3://${bucketName}/ours?endpoint=http://127.0.0.1:${s3Port}`
    const args = [program, 'serve', '--addr', `127.0.0.1:${port}`, '--storage', storage]
    const quiet = ['--gc-interval', '0', '--log-level', 'error', '--verify-reads', '0']
    const child = spawn(process.execPath, [...args, ...quiet], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
    })
    return serving(child, port, () => {})
  },
  tagFile: (name, tag, digest) => ({
    key: `ours/r/${name}/_t/${tag}`,
    text: JSON.stringify({ digest }),
  }),
}

/** Debian's docker-registry (2.8), and a newer one that was compiled by `go install`. */
export function distributions(): Rival[] {
  const compiled = join(homedir(), 'go/bin/registry')
  return [
    ...(spawnSync('docker-registry', ['--version']).status === 0
      ? [distribution('distribution 2.8', 'docker-registry')]
      : []),
    ...(existsSync(compiled) ? [distribution('distribution 3', compiled)] : []),
  ]
}

function distribution(name: string, path: string): Rival {
  const folder = name.replace(' ', '-')
  return {
    name,
    start: async s3Port => {
      const root = mkdtempSync(join(tmpdir(), 'tsregistry-bench-'))
      const port = await freePort()
      const config = join(root, 'config.yml')
      writeFileSync(
        config,
        `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  redirect: {disable: true}
  maintenance: {uploadpurging: {enabled: false}}
  s3:
    accesskey: ${credentials.accessKeyId}
    secretkey: ${credentials.secretAccessKey}
    region: us-east-1
    regionendpoint: http://127.0.0.1:${s3Port}
    forcepathstyle: true
    secure: false
    bucket: ${bucketName}
    rootdirectory: /${folder}
http: {addr: "127.0.0.1:${port}"}
`,
      )
      const child = spawn(path, ['serve', config], {
        stdio: 'ignore',
        env: { OTEL_TRACES_EXPORTER: 'none' },
      })
      return serving(child, port, () => rmSync(root, { recursive: true, force: true }))
    },
    tagFile: (repository, tag, digest) => ({
      key: `${folder}/docker/registry/v2/repositories/${repository}/_manifests/tags/${tag}/current/link`,
      text: digest,
    }),
  }
}

async function serving(
  child: ChildProcess,
  port: number,
  clean: () => void,
): Promise<RunningRegistry> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const isUp = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isUp) break
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return {
    port,
    processorMs: () => processorMs(child.pid ?? 0),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
      clean()
    },
  }
}
