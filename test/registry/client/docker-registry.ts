/** Debian's `docker-registry` on a loopback port: a registry that somebody else wrote. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const debians = '/usr/bin/docker-registry'

export const hasDockerRegistry = existsSync(debians)

/** Each CNCF Distribution that the machine has: Debian's is version 2, `registry` from Go version 3. */
export function distributionPrograms(): readonly string[] {
  const folders = [...(process.env['PATH'] ?? '').split(':'), join(homedir(), 'go/bin')]
  const newest = folders.map(folder => join(folder, 'registry')).find(existsSync)
  return [...(hasDockerRegistry ? [debians] : []), ...(newest === undefined ? [] : [newest])]
}

export interface DockerRegistry extends AsyncDisposable {
  readonly host: string
}

export interface DockerRegistryOptions {
  /** A line of an htpasswd file (bcrypt). */
  readonly htpasswd?: string
  readonly program?: string
  /** Where it stores; what is given stays when it ends. */
  readonly storage?: string
  /** Another driver, as its config.yml has it: `s3: {…}`. */
  readonly driver?: string
}

export async function startDockerRegistry({
  htpasswd,
  program = debians,
  storage,
  driver,
}: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  const root = await mkdtemp(join(tmpdir(), 'client-registry-'))
  const host = `127.0.0.1:${await freePort()}`
  const auth =
    htpasswd === undefined
      ? ''
      : `auth: {htpasswd: {realm: test, path: ${join(root, 'htpasswd')}}}\n`
  const stored = driver ?? `filesystem: {rootdirectory: '${storage ?? `${root}/data`}'}`
  await writeFile(join(root, 'htpasswd'), `${htpasswd ?? ''}\n`)
  await writeFile(
    join(root, 'config.yml'),
    `version: 0.1\nlog: {level: error}\nstorage: {${stored}, delete: {enabled: true}}\n${auth}http: {addr: '${host}'}\n`,
  )
  const child = spawn(program, ['serve', join(root, 'config.yml')], { stdio: 'ignore' })
  const gone = new Promise(resolve => child.once('exit', resolve))
  await untilItAnswers(host)
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await gone
      await rm(root, { recursive: true, force: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

async function untilItAnswers(host: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined)
    if (answer !== undefined) return
    await sleep(100)
  }
  throw new Error(`docker-registry does not answer at ${host}`)
}
