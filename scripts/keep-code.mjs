// Runs each program in dist/cli the way it is used most, and keeps what V8 compiled meanwhile beside
// it. Where a run is not possible (no root, no namespaces) less is kept, and nothing else changes.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Each in a store: what one has built is pulled by the other, and built a second time from its cache. */
const runs = registry => {
  const [base, app] = [`${registry}/base:1`, `${registry}/app:1`]
  const build = ['tsbuild', 'build', '--network', 'none', '--progress', 'plain']
  const pushed = [...build, '-t', app, '--push', '--build-arg', `BASE=${base}`, 'context']
  return [
    ['first', 'tsbuild', 'build', '--help'],
    ['first', ...build, '-t', base, '--push', 'base'],
    ['first', ...build, '-q', '-o', 'type=oci,dest=image.tar', 'base'],
    ['second', ...pushed],
    ['second', ...pushed],
    ['second', 'tsrun', 'images'],
    ['second', 'tsrun', '--rm', '--network', 'none', app, '/true'],
    ['first', 'tsrun', 'pull', app],
    ['first', 'tsrun-oci', 'list'],
  ]
}
const served = ['first', 'tsregistry', 'serve', '--addr', '127.0.0.1:0', '--root', 'registry']

/** Whatever ends otherwise than well has been compiled until then. */
export async function keepCode(cli) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-code-'))
  const start = (how, [store, program, ...words], stdio) => {
    const script = `process.argv.splice(1, 0, '${program}')
      require(${JSON.stringify(join(cli, 'launcher.js'))}).launchAndKeepCode('${program}')`
    const env = { PATH: process.env.PATH, HOME: directory, TSBUILD_ROOT: join(directory, store) }
    const options = { cwd: directory, env, stdio, timeout: 60_000 }
    return how(process.execPath, ['-e', script, '--', ...words], options)
  }
  try {
    writeContexts(directory)
    const registry = start(spawn, served, ['ignore', 'pipe', 'ignore'])
    const ended = once(registry, 'close')
    for (const run of runs(await addressOf(registry))) start(spawnSync, run, 'ignore')
    registry.kill('SIGTERM')
    await ended
  } finally {
    removeQuietly(directory)
  }
}

/** Where nobody answers, of one that could not start. */
function addressOf(registry) {
  return new Promise(resolve => {
    let said = ''
    registry.stdout.on('data', text => {
      said += text
      const [, address] = /http:\/\/([^,\s]+)/.exec(said) ?? []
      if (address !== undefined) resolve(address)
    })
    registry.stdout.on('end', () => resolve('127.0.0.1:1'))
  })
}

/** Without root some of it can belong to others: that must not be the end of an installation. */
function removeQuietly(directory) {
  try {
    rmSync(directory, { recursive: true, force: true })
  } catch (error) {
    console.error(`tsbuild: left behind ${directory}: ${error.message}`)
  }
}

function writeContexts(directory) {
  const write = (name, lines) => {
    mkdirSync(join(directory, name))
    writeFileSync(join(directory, name, 'Dockerfile'), `${lines.join('\n')}\n`)
  }
  write('base', ['FROM scratch', 'COPY true /'])
  const steps = ['ENV A=b', 'COPY file /', 'COPY data /data', 'WORKDIR /work', 'RUN ["/true"]']
  write('context', ['ARG BASE', 'FROM $BASE', ...steps])
  writeFileSync(join(directory, 'context/file'), 'content\n')
  for (const folder of ['data', 'data/deep']) {
    mkdirSync(join(directory, 'context', folder))
    writeFileSync(join(directory, 'context', folder, 'file'), 'content\n')
  }
  spawnSync('cc', ['-static', '-x', 'c', '-o', join(directory, 'base/true'), '-'], {
    input: 'int main(void) { return 0; }\n',
    stdio: ['pipe', 'ignore', 'ignore'],
  })
}
