// Runs each program in dist/cli the way it is used most, and keeps what V8 compiled meanwhile beside
// it. Where a run is not possible (no root, no namespaces) less is kept, and nothing else changes.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const runs = [
  ['tsbuild', 'build', '--help'],
  ['tsbuild', 'build', '-q', '--network', 'none', '-o', 'type=oci,dest=image.tar', 'context'],
  ['tsbuild', 'build', '-t', 'app', '--progress', 'plain', '--network', 'none', 'context'],
  ['tsrun', 'images'],
  ['tsrun', '--rm', '--network', 'none', 'app', '/true'],
  ['tsrun-oci', 'list'],
  ['tsregistry', '--help'],
]

/** Whatever ends otherwise than well has been compiled until then. */
export function keepCode(cli) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-code-'))
  try {
    writeContext(join(directory, 'context'))
    for (const [program, ...words] of runs) {
      const script = `process.argv.splice(1, 0, '${program}')
        require(${JSON.stringify(join(cli, 'launcher.js'))}).launchAndKeepCode('${program}')`
      spawnSync(process.execPath, ['-e', script, '--', ...words], {
        cwd: directory,
        stdio: 'ignore',
        env: { PATH: process.env.PATH, HOME: directory, TSBUILD_ROOT: join(directory, 'store') },
        timeout: 60_000,
      })
    }
  } finally {
    removeQuietly(directory)
  }
}

/** Without root some of it can belong to others: that must not be the end of an installation. */
function removeQuietly(directory) {
  try {
    rmSync(directory, { recursive: true, force: true })
  } catch (error) {
    console.error(`tsbuild: left behind ${directory}: ${error.message}`)
  }
}

function writeContext(directory) {
  mkdirSync(directory)
  writeFileSync(join(directory, 'file'), 'content\n')
  const flags = ['-static', '-x', 'c', '-o', join(directory, 'true'), '-']
  spawnSync('cc', flags, {
    input: 'int main(void) { return 0; }\n',
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const lines = ['FROM scratch', 'ENV A=b', 'COPY file true /', 'WORKDIR /work', 'RUN ["/true"]']
  writeFileSync(join(directory, 'Dockerfile'), `${lines.join('\n')}\n`)
}
