/** What a login costs: the same manifest from a registry that is open, and from one that asks who it is. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { hammer, manifestOf, pushBlob, pushManifest } from './client.ts'
import { type MeasuredServer, startOurs } from './servers.ts'

export interface LoginCost {
  readonly how: string
  /** Medians of one request, in ms. */
  readonly clock: number
  readonly processor: number
}

const policy = `
policies:
  - repositories: ["**"]
    allow: [{ to: [anyone], rights: [pull, push] }]
`

/** The first is without login. */
export async function measureLogins(median: (values: readonly number[]) => number) {
  const folder = mkdtempSync(join(tmpdir(), 'tsregistry-logins-'))
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const users = write('users', `alice:${hashSync('secret', 10)}\n`)
  const flags = ['--gc-interval', '0', '--htpasswd', users, '--policy', write('policy', policy)]
  try {
    await using open = await startOurs(['--gc-interval', '0'])
    await using guarded = await startOurs(flags)
    const basic = `Basic ${Buffer.from('alice:secret').toString('base64')}`
    const asked = `http://127.0.0.1:${guarded.port}/token?scope=repository:get:pull`
    const answer = await fetch(asked, { headers: { authorization: basic } })
    const { token } = (await answer.json()) as { readonly token: string }
    const ways = [
      { how: 'open', server: open, header: '' },
      { how: 'Basic', server: guarded, header: `Authorization: ${basic}\r\n` },
      { how: 'Bearer', server: guarded, header: `Authorization: Bearer ${token}\r\n` },
    ]
    for (const server of [open, guarded]) await prepare(server)
    const turns = ways.map(way => ({ ...way, clocks: [] as number[], processors: [] as number[] }))
    for (let turn = 0; turn < 6; turn++) {
      for (const { server, header, clocks, processors } of turns) {
        const before = server.processorMs()
        const load = { connections: 32, forMs: 800, header }
        const { length } = await hammer(server.port, '/v2/get/manifests/x', load)
        // The first warms up.
        if (turn === 0) continue
        clocks.push(800 / length)
        processors.push((server.processorMs() - before) / length)
      }
    }
    return turns.map(
      ({ how, clocks, processors }): LoginCost => ({
        how,
        clock: median(clocks),
        processor: median(processors),
      }),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function prepare({ port }: MeasuredServer): Promise<void> {
  const config = Buffer.from('{}')
  await pushBlob(port, 'get', config)
  await pushManifest(port, { name: 'get', reference: 'x' }, manifestOf(config, []))
}
