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
  ['tsregistry', 'serve', '--addr', '127.0.0.1:0', '--root', 'registry'],
]

/** Whatever ends otherwise than well has been compiled until then. */
export function keepCode(cli) {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-code-'))
  try {
    writeContext(join(directory, 'context'))
    for (const [program, ...words] of runs) {
      const script = `process.argv.splice(1, 0, '${program}')
        require(${JSON.stringify(join(cli, 'launcher.js'))}).launchAndKeepCode('${program}')`
      const client = words[0] === 'serve' ? `;(${useRegistry})()` : ''
      spawnSync(process.execPath, ['-e', script + client, '--', ...words], {
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

/**
 * In the process of a registry that starts: pushes an image and pulls it, and ends the registry. As
 * text, so what it needs is in it.
 */
async function useRegistry() {
  const { createHash, randomBytes } = require('node:crypto')
  const written = process.stdout.write
  const address = await new Promise(resolve => {
    process.stdout.write = text => {
      const [url] = /http:[^,\s]+/.exec(String(text)) ?? []
      if (url !== undefined) resolve(url)
      return true
    }
  })
  process.stdout.write = written
  const digestOf = bytes => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const ask = async (method, path, { body, type } = {}) => {
    const headers = type === undefined ? {} : { 'content-type': type }
    const answer = await fetch(new URL(path, address), { method, body, headers })
    await answer.arrayBuffer()
    return answer
  }
  const blob = randomBytes(200_000)
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const descriptor = { mediaType: type, digest: digestOf(blob), size: blob.length }
  const manifest = { schemaVersion: 2, mediaType: type, config: descriptor, layers: [] }
  try {
    for (let i = 0; i < 3; i++) {
      await ask('HEAD', `/v2/a/blobs/${digestOf(blob)}`)
      const { headers } = await ask('POST', '/v2/a/blobs/uploads/')
      await ask('PUT', `${headers.get('location')}?digest=${digestOf(blob)}`, { body: blob })
      await ask('PUT', '/v2/a/manifests/x', { body: JSON.stringify(manifest), type })
      for (const path of ['manifests/x', `blobs/${digestOf(blob)}`, 'tags/list?n=1']) {
        await ask('GET', `/v2/a/${path}`)
      }
    }
  } finally {
    process.kill(process.pid, 'SIGTERM')
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
