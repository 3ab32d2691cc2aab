/**
 * What a login costs: the same manifest without and with one, from a registry that has users and lets
 * anyone pull; and from one that asks nobody who they are.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { blobOf, manifestOf, pushBlob, pushManifest } from './client.ts'
import { type MeasuredServer, startOurs } from './servers.ts'
import { measureWays } from './ways.ts'

const policy = `
policies:
  - repositories: ["**"]
    allow: [{ to: [anyone], rights: [pull, push] }]
`

/** The first is without login, and the last from the open registry. */
export async function measureLogins() {
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
    const path = '/v2/get/manifests/x'
    const ways = [
      { how: 'anonymous', server: guarded, path },
      { how: 'Basic', server: guarded, path, header: `Authorization: ${basic}\r\n` },
      { how: 'Bearer', server: guarded, path, header: `Authorization: Bearer ${token}\r\n` },
      { how: 'open registry', server: open, path },
    ]
    for (const server of [open, guarded]) await prepare(server)
    return await measureWays(ways)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function prepare({ port }: MeasuredServer): Promise<void> {
  const config = Buffer.from('{}')
  await pushBlob(port, 'get', blobOf(config))
  await pushManifest(port, { name: 'get', reference: 'x' }, manifestOf(config, []))
}
