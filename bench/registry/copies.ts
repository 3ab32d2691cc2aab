/** What a copy of another registry's costs: pulled from it through ours, and where it was pushed. */
import { randomBytes } from 'node:crypto'
import { blobOf, digestOf, manifestOf, mustBe, pushBlob, pushManifest, send } from './client.ts'
import { startOurs } from './servers.ts'
import { type Cost, measureWays } from './ways.ts'

/** Of what is asked for: pulled where it was pushed, and as a copy. */
export async function measureCopies(): Promise<
  readonly { readonly what: string; readonly costs: readonly Cost[] }[]
> {
  await using upstream = await startOurs(['--gc-interval', '0'])
  const flags = ['--gc-interval', '0', '--upstream', `up=127.0.0.1:${upstream.port}`]
  await using through = await startOurs(flags)
  const [config, layer] = [Buffer.from('{}'), randomBytes(1024 * 1024)]
  for (const blob of [config, layer]) await pushBlob(upstream.port, 'get', blobOf(blob))
  await pushManifest(upstream.port, { name: 'get', reference: 'x' }, manifestOf(config, [layer]))
  const measured = [
    ['manifest GET of a copy', 'manifests/x'],
    ['1 MB blob GET of a copy', `blobs/${digestOf(layer)}`],
  ] as const
  const results: { what: string; costs: readonly Cost[] }[] = []
  for (const [what, path] of measured) {
    mustBe(200, await send(through.port, `/v2/up/get/${path}`))
    const ways = [
      { how: 'pushed', server: upstream, path: `/v2/get/${path}` },
      { how: 'pulled through', server: through, path: `/v2/up/get/${path}` },
    ]
    results.push({ what, costs: await measureWays(ways) })
  }
  return results
}
