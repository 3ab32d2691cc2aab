/** Who builds: what all of them can do, and tsbuild, as it is built, one process for each build. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../measure.ts'

export interface BuildAsk {
  readonly context: string
  /** Nothing leaves the builder unless this says so. */
  readonly output?:
    | { readonly kind: 'oci'; readonly path: string }
    | { readonly kind: 'push'; readonly name: string }
}

export interface Contestant {
  readonly name: string
  build(ask: BuildAsk): Promise<void>
  /** All it knows: cache, base images, contexts. */
  forget(): Promise<void>
  /** The most memory of the builds since the last call, in bytes. */
  takePeakMemory(): number
}

/** As `npm run build` made it. */
const program = fileURLToPath(new URL('../../dist/cli/tsbuild.js', import.meta.url))

export function startTsbuild(directory: string): Contestant {
  const report = join(directory, 'max-rss')
  const preload = join(directory, 'report-memory.cjs')
  writeFileSync(
    preload,
    `process.on('exit', () => require('node:fs').writeFileSync(${JSON.stringify(report)},
       String(process.resourceUsage().maxRSS)))\n`,
  )
  let stores = 0
  let peak = 0
  return {
    name: 'tsbuild',
    build: async ({ context, output }) => {
      const flags =
        output === undefined
          ? ['-o', 'type=cacheonly']
          : output.kind === 'oci'
            ? ['-o', `type=oci,dest=${output.path}`]
            : ['-t', output.name, '--push']
      const always = ['--network', 'none', '--progress', 'plain']
      const args = ['--require', preload, program, 'build', ...always, ...flags, context]
      const env = { ...cleanEnvironment, TSBUILD_ROOT: join(directory, `store-${stores}`) }
      await command(process.execPath, args, env)
      peak = Math.max(peak, Number(readFileSync(report, 'utf8')) * 1024)
    },
    forget: async () => {
      rmSync(join(directory, `store-${stores}`), { recursive: true, force: true })
      stores++
    },
    takePeakMemory: () => {
      const taken = peak
      peak = 0
      return taken
    },
  }
}

/** Throws, with what it said, unless it ends with 0. */
export async function command(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
  const said: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => said.push(chunk))
  }
  const [code] = await once(child, 'close')
  if (code === 0) return
  throw new Error(`${name} ${args.join(' ')}: exit code ${code}\n${Buffer.concat(said)}`)
}
