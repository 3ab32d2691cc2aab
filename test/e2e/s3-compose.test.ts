/**
 * deploy/compose as it is: the programs that its services name, with their commands, variables and
 * files, as processes of this machine; only addresses and folders are this test's.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import { digestOf } from '../../src/oci/digest.ts'
import { missing } from '../support/requires.ts'
import { findS3Server, freePort } from '../support/s3-server.ts'
import { type Started, start } from './process.ts'
import { checkout, openWorkspace } from './workspace.ts'

interface Service {
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>
}

const gateway = findS3Server('versitygw')
const lacks = gateway === undefined ? 'versitygw' : missing(['build', 'nginx'])
const folder = join(checkout, 'deploy/compose')
const program = join(checkout, 'dist/cli/tsregistry.js')
const names = ['replica-1', 'replica-2', 'replica-3'] as const

describe.skipIf(lacks !== undefined)(
  `deploy/compose${lacks === undefined ? '' : ` [skipped: needs ${lacks}]`}`,
  () => {
    test('serves through nginx, also while a replica is gone', { timeout: 60_000 }, async () => {
      const work = openWorkspace('compose')
      const running: Started[] = []
      try {
        const { services }: Compose = parse(
          // As the shell and compose read it: the default of a variable that is not set.
          readFileSync(join(folder, 'compose.yaml'), 'utf8').replace(/\$\{\w+:-([^}]*)\}/g, '$1'),
        )
        const ports = new Map<string, number>()
        for (const name of [...names, 's3', 'nginx']) ports.set(name, await freePort())
        const here = (text: string) =>
          text
            .replace(/\b(replica-[123]|s3):[0-9]+/g, (_, name) => `127.0.0.1:${ports.get(name)}`)
            .replace('/data', work.path('data'))
        const run = (name: string, command: string, args: readonly string[]) => {
          const { environment = {} } = services[name] ?? {}
          const variables = Object.entries(environment).map(([key, value]) => [key, here(value)])
          const env = { ...work.env, ...Object.fromEntries(variables) }
          const started = start(command, args, { env })
          running.push(started)
          return started
        }
        const commandOf = (name: string, from: string) =>
          (services[name]?.command ?? []).map(word =>
            here(word === from ? `127.0.0.1:${ports.get(name)}` : word),
          )

        mkdirSync(work.path('data'))
        const [mkdir = '', ...folders] = commandOf('bucket', '')
        await run('bucket', mkdir, folders).finished
        run('s3', gateway ?? '', commandOf('s3', ':7070'))
        const replicas = names.map(name =>
          run(name, process.execPath, [program, ...commandOf(name, '0.0.0.0:5000')]),
        )
        await Promise.all(replicas.map(replica => replica.said(/Listening on/)))

        const config = here(readFileSync(join(folder, 'nginx.conf'), 'utf8')).replace(
          'listen 5000',
          `listen 127.0.0.1:${ports.get('nginx')}`,
        )
        const place = work.write('nginx', { 'nginx.conf': config })
        const quiet = `daemon off; pid ${place}/pid; error_log ${place}/errors;`
        run('nginx', 'nginx', ['-p', place, '-c', `${place}/nginx.conf`, '-g', quiet])
        const base = `http://127.0.0.1:${ports.get('nginx')}/v2/`
        await vi.waitUntil(() => fetch(base).catch(() => undefined), 5000)

        const pushAndPull = async () => {
          const bytes = randomBytes(12 * 1024 * 1024)
          const digest = digestOf(bytes)
          const begun = await fetch(`${base}app/blobs/uploads/`, { method: 'POST' })
          expect(begun.status).toBe(202)
          const location = new URL(begun.headers.get('location') ?? '', base)
          // Through nginx, as `Host` and `X-Forwarded-Proto` say.
          expect(location.host).toBe(new URL(base).host)
          const sent = await fetch(location, { method: 'PATCH', body: new Uint8Array(bytes) })
          expect(sent.status).toBe(202)
          const last = new URL(sent.headers.get('location') ?? '', base)
          last.searchParams.set('digest', digest)
          expect((await fetch(last, { method: 'PUT' })).status).toBe(201)
          const pulled = await fetch(`${base}app/blobs/${digest}`)
          expect(digestOf(Buffer.from(await pulled.arrayBuffer()))).toBe(digest)
        }
        await pushAndPull()
        replicas[1]?.child.kill('SIGTERM')
        await replicas[1]?.finished
        await pushAndPull()
      } finally {
        for (const { child } of running.toReversed()) child.kill('SIGTERM')
        await Promise.all(running.map(({ finished }) => finished.catch(() => {})))
        await work.close()
      }
    })
  },
)
