/** The image commands of the built programs, against our own registry. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Compiled, compileSources } from '../support/compiled.ts'

let compiled: Compiled
let root: string
let registry: ChildProcess
let address: string
let archive: string

beforeAll(async () => {
  compiled = compileSources()
  root = mkdtempSync('/tmp/image-commands-')
  const server = join(compiled.dist, 'cli/tsregistry.js')
  registry = spawn(process.execPath, [
    ...[server, 'serve', '--addr', '127.0.0.1:0', '--root', join(root, 'registry')],
  ])
  for await (const line of createInterface({ input: registry.stdout as NodeJS.ReadableStream })) {
    const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined) continue
    address = `localhost:${port}`
    break
  }
  mkdirSync(join(root, 'rootfs/etc'), { recursive: true })
  writeFileSync(join(root, 'rootfs/etc/motd'), 'hello\n'.repeat(100_000))
  archive = join(root, 'rootfs.tar.gz')
  spawnSync('tar', ['-C', join(root, 'rootfs'), '-czf', archive, '.'])
}, 60_000)

afterAll(() => {
  registry.kill('SIGTERM')
  rmSync(root, { recursive: true, force: true })
  compiled[Symbol.dispose]()
})

/** A machine of its own: a store and a home. */
function machine(name: string) {
  const home = join(root, name)
  mkdirSync(home, { recursive: true })
  const env = { PATH: '/usr/bin:/bin', HOME: home, TSBUILD_ROOT: join(home, 'store') }
  const run = (words: string | readonly string[], input?: string | Uint8Array) => {
    const args = typeof words === 'string' ? words.split(' ') : words
    const program = join(compiled.dist, 'cli/tsrun.js')
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--', program, ...args], {
      env,
      ...(input === undefined ? {} : { input }),
    })
    return { status, stdout: String(stdout), stderr: String(stderr), bytes: stdout }
  }
  return { home, run }
}

describe('image commands', () => {
  test('an image goes to a registry and comes to another machine', () => {
    const { run } = machine('one')
    const id = run(`import ${archive} ${address}/team/app:1`).stdout.trim()
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/)
    const pushed = run(`push ${address}/team/app:1`)
    expect(pushed).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^1: digest: sha256:[0-9a-f]{64} size: \d+\n$/),
    })
    expect(pushed.stderr).toContain(`#1 pushing ${address}/team/app:1\n`)
    expect(pushed.stderr).toMatch(/#1 DONE \d+\.\ds\n$/)
    const digest = /sha256:[0-9a-f]{64}/.exec(pushed.stdout)?.[0]

    const other = machine('two')
    const pulled = other.run(`pull ${address}/team/app:1`)
    expect(pulled).toMatchObject({
      status: 0,
      stdout: `Digest: ${digest}\nStatus: Downloaded newer image for ${address}/team/app:1\n${address}/team/app:1\n`,
    })
    expect(other.run(`pull ${address}/team/app:1`).stdout).toContain('Image is up to date')
    expect(other.run(`pull -q ${address}/team/app@${digest}`)).toMatchObject({
      stdout: `${address}/team/app@${digest}\n`,
      stderr: '',
    })
    expect(other.run(['inspect', '-f', '{{.Id}}', `${address}/team/app:1`]).stdout).toBe(`${id}\n`)
  })

  test('a pull that fails says why once more at the end, and names nothing', () => {
    const { run } = machine('three')
    const { status, stdout, stderr } = run(`pull ${address}/team/nothing`)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('\nERROR: Cannot pull "')
    expect(run('images -q').stdout).toBe('')
  })

  test('tag, images, rmi', () => {
    const { run } = machine('four')
    const id = run(`import ${archive} app:1`).stdout.trim()
    expect(run('tag app:1 other/name:2')).toMatchObject({ status: 0, stdout: '' })
    expect(run(['images', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}']).stdout).toBe(
      `app:1 ${id.slice(7, 19)}\nother/name:2 ${id.slice(7, 19)}\n`,
    )
    expect(run('images -q app').stdout).toBe(`${id.slice(7, 19)}\n`)
    expect(run('images app:2').stdout.split('\n')).toHaveLength(2)
    const named = ['images', '--format', '{{.Repository}}']
    expect(run([...named, 'o*/n*:2']).stdout).toBe('other/name\n')
    expect(run([...named, '-f', 'reference=a*', '-f', 'dangling=false']).stdout).toBe('app\n')
    expect(run('images -qf dangling=true')).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(run('images a[').status).toBe(125)
    expect(run(`rmi ${id}`)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('it has 2 names'),
    })
    expect(run('rmi app:1 nothing')).toMatchObject({
      status: 1,
      stdout: 'Untagged: app:1\n',
      stderr: 'ERROR: Cannot find image "nothing" in the store\n',
    })
    expect(run('rmi -f other/name:2 nothing')).toMatchObject({
      status: 0,
      stdout: `Untagged: other/name:2\nDeleted: ${id}\n`,
    })
    expect(run('images -q').stdout).toBe('')
    expect(run(['tag', 'x', `a@${id}`])).toMatchObject({ status: 1 })
  })

  test('rmi and prune free what nothing uses, and nothing else', () => {
    const { run, home } = machine('prune')
    const blobs = () => readdirSync(join(home, 'store/blobs/sha256')).length
    run(`import ${archive} kept`)
    const kept = blobs()
    writeFileSync(join(root, 'rootfs/etc/more'), 'x')
    const tar = spawnSync('tar', ['-C', join(root, 'rootfs'), '-c', '.']).stdout
    run('import - other', tar)
    expect(blobs()).toBe(2 * kept)
    expect(run('rmi other').status).toBe(0)
    expect(blobs()).toBe(kept)
    run('import -', tar)
    // Who is not there to answer has not said yes.
    for (const input of ['', 'n\n', '\ny\n', 'yes please\n']) {
      expect(run('prune', input)).toEqual({
        ...{ status: 0, stdout: '', bytes: Buffer.alloc(0) },
        stderr:
          'Remove all images without a name, and what they alone use? [y/N] \nCanceled: nothing was removed (--force does not ask)\n',
      })
    }
    expect(blobs()).toBe(2 * kept)
    expect(run('prune', 'y\n')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(
        /^Removed 1 image, 0 cached steps, 0 unpacked layers, 3 blobs\nTotal reclaimed space: \S+\n$/,
      ),
    })
    expect(blobs()).toBe(kept)
    expect(run('prune -f --filter until=1d').status).toBe(125)
    expect(run('prune -f --filter label=x').stderr).toContain('Filter "label" is not supported yet')
  })

  test('bytes that are no archive are told with where they came from', () => {
    const { run, home } = machine('no-archive')
    const text = join(home, 'notes.txt')
    writeFileSync(text, 'no tar\n'.repeat(200))
    const expected = 'Expected a tar, plain or compressed, and whole\n'
    for (const args of [`load -i ${text}`, `import ${text} x`]) {
      const { status, stderr } = run(args)
      expect(status).toBe(1)
      expect(stderr).toContain(`ERROR: Cannot read "${text}": Cannot read tar header: `)
      expect(stderr).toContain(expected)
    }
    const cut = run('import -', readFileSync(archive).subarray(0, 300))
    expect(cut.stderr).toMatch(/^ERROR: Cannot read standard input: /)
    expect(run('images -q').stdout).toBe('')
  })

  test.each(['docker-archive', 'oci-archive'])('save as %s and load', format => {
    const { run, home } = machine(`save-${format}`)
    const id = run(`import ${archive} app:1`).stdout
    const file = join(home, 'app.tar')
    expect(run(`save --format ${format} -o ${file} app:1`).status).toBe(0)
    expect(run(`save --format ${format} app:1`).bytes.equals(readFileSync(file))).toBe(true)
    const other = machine(`load-${format}`)
    expect(other.run(`load -i ${file}`).stdout).toBe('Loaded image: app:1\n')
    expect(other.run('load -q', readFileSync(file))).toMatchObject({ status: 0, stdout: '' })
    expect(other.run(['images', '-q', '--no-trunc']).stdout).toBe(id)
  })

  test('save as an open layout and load it', () => {
    const { run, home } = machine('layout')
    run(`import ${archive} app:1`)
    expect(run(`save --format oci-dir -o ${home}/layout app:1`).status).toBe(0)
    expect(machine('layout-load').run(`load -i ${home}/layout`).stdout).toBe(
      'Loaded image: app:1\n',
    )
    expect(run('save --format oci-dir app:1').status).toBe(125)
  })

  test('load and import refuse what is none, and leave nothing', () => {
    const { run } = machine('garbage')
    expect(run('load', 'no archive at all')).toMatchObject({ status: 1, stdout: '' })
    expect(run('import - x', 'no archive at all')).toMatchObject({ status: 1, stdout: '' })
    expect(run('import /nothing/here x').stderr).toContain('ENOENT')
    expect(run('images -q').stdout).toBe('')
  })

  test('login checks the password and keeps it for its owner alone; logout forgets it', async () => {
    const server = createServer((request, response) => {
      const isKnown = request.headers.authorization === `Basic ${btoa('me:secret')}`
      const headers = { 'www-authenticate': 'Basic realm="test"' }
      response.writeHead(isKnown ? 200 : 401, isKnown ? {} : headers).end()
    }).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const { home, run } = machine('login')
    const login = (password: string) =>
      new Promise<{ status: number | null; stdout: string; stderr: string }>(resolve => {
        const args = ['login', '-u', 'me', '--password-stdin', host]
        const child = spawn(
          process.execPath,
          ['--', join(compiled.dist, 'cli/tsrun.js'), ...args],
          {
            env: { PATH: '/usr/bin:/bin', HOME: home },
          },
        )
        let stdout = ''
        let stderr = ''
        child.stdout.on('data', chunk => {
          stdout += chunk
        })
        child.stderr.on('data', chunk => {
          stderr += chunk
        })
        child.on('close', status => resolve({ status, stdout, stderr }))
        child.stdin.end(`${password}\n`)
      })
    try {
      expect(await login('wrong')).toMatchObject({ status: 1, stdout: '' })
      expect(await login('secret')).toMatchObject({ status: 0, stdout: 'Login Succeeded\n' })
      const config = JSON.parse(readFileSync(join(home, '.docker/config.json'), 'utf8'))
      expect(config).toEqual({ auths: { [host]: { auth: btoa('me:secret') } } })
      expect(run(`logout ${host}`).stdout).toBe(`Removing login credentials for ${host}\n`)
      expect(run(`logout ${host}`).stdout).toBe(`Not logged in to ${host}\n`)
    } finally {
      server.close()
    }
  })
})
