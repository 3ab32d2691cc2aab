// Runs a sandbox with fewer and fewer files to be opened, and prints, as JSON, how each run ended
// and what nobody caught. To be started under a low `ulimit -n`.
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'

const [dist, work] = process.argv.slice(2)
const uncaught = []
process.on('uncaughtException', error => uncaught.push(error.message))
process.on('unhandledRejection', error => uncaught.push(String(error)))

const { runSandbox } = await import(`${dist}/layerfs/sandbox/run.js`)
const { defaultSecurity } = await import(`${dist}/layerfs/sandbox/defaults.js`)

const root = join(work, 'root')
mkdirSync(root)

async function run() {
  const spec = {
    ...{ root: { kind: 'directory', path: root, readOnly: true }, readOnly: true, mounts: [] },
    ...{ argv: ['/absent'], env: [], cwd: '/', user: { uid: 0, gid: 0, groups: [] } },
    ...{ hostname: 'x', network: 'none', security: defaultSecurity, limits: {}, extraHosts: [] },
    ...{ dns: [], shmSize: 65536, terminal: false },
  }
  await runSandbox(spec, { id: 'x', stdin: 'null', output: () => {}, stubs: join(work, 'stubs') })
}

function openAll() {
  const files = []
  try {
    for (;;) files.push(openSync('/dev/null'))
  } catch {
    return files
  }
}

const fails = () =>
  run().then(
    () => 'no failure',
    error => `${error.code ?? error.name}: ${error.message}`,
  )
const ends = [await fails()]
for (let free = 24; free >= 0; free--) {
  const files = openAll()
  for (let i = 0; i < free; i++) closeSync(files.pop())
  ends.push(await fails())
  for (const file of files) closeSync(file)
}
ends.push(await fails())
process.stdout.write(JSON.stringify({ ends, uncaught }))
