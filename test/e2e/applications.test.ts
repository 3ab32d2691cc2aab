/**
 * Whole applications, from a Dockerfile to an answer over HTTP: nginx on Debian, a Node service, and
 * this project's own registry. Each is built in one store, pushed, pulled into an empty one, run.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeWith, missing } from '../support/requires.ts'
import { buildNode, importDebian } from './base-images.ts'
import { containerAddress } from './container-address.ts'
import { blobsWith } from './image-content.ts'
import { attempt, run, type Started } from './process.ts'
import { checkout, fixture, openWorkspace, type Registry } from './workspace.ts'

/** In plain progress: a step that has output, or an end other than CACHED. */
const workedStep = /^#\d+ \[.*\] (RUN|COPY|WORKDIR).*\n#\d+ (\d|DONE)/m

describeWith(['root', 'build', 'mmdebstrap', 'debian'], 'applications', () => {
  const work = openWorkspace('applications')
  const store = work.store('store')
  const marker = `never in an image ${process.pid} ${Date.now()}`
  let registry: Registry
  let digest: string
  beforeAll(async () => {
    registry = await work.serve()
    await importDebian(store, work)
    // Side by side, as jobs on one machine: they share the store.
    await Promise.all([
      build('nginx-app', [fixture('nginx-app')]).then(built => {
        digest = built.digest
      }),
      missing(['npm']) === undefined ? buildOnNode() : undefined,
    ])
  })
  afterAll(() => work.close())

  let builds = 0
  const pushed = (name: string) => `${registry.address}/${name}:1`
  /** Builds and pushes; what --metadata-file says. */
  const build = async (name: string, args: readonly string[]) => {
    const metadata = work.path(`metadata-${builds++}.json`)
    const { stderr } = await store.tsbuild(
      ['-t', pushed(name), '--push', '--metadata-file', metadata, ...args],
      { timeoutMs: 280_000 },
    )
    return { stderr, digest: JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest'] }
  }

  const buildOnNode = async () => {
    await buildNode(store, work)
    const secret = ['--secret', `id=ca,src=${secretFile()}`]
    await Promise.all([
      build('node-app', [...secret, fixture('node-app')]),
      build('tsregistry', [...secret, '--build-arg', 'NODE=node', checkout]),
    ])
  }

  /** The certificates of this machine's networks, where it has any; in any case with the marker. */
  const secretFile = () => {
    const file = process.env['NODE_EXTRA_CA_CERTS']
    const certificates = file === undefined ? '' : readFileSync(file, 'utf8')
    return `${work.write('secret', { 'ca.pem': `${certificates}\n${marker}\n` })}/ca.pem`
  }

  /** Waits for the container to listen; what it answers. */
  const ask = async (container: Started, path: string, port = 8080) => {
    const address = await containerAddress(container)
    for (let attempt = 0; ; attempt++) {
      try {
        const response = await fetch(`http://${address}:${port}${path}`)
        return { status: response.status, text: await response.text() }
      } catch (error) {
        if (attempt === 100) throw error
        await new Promise(resolve => setTimeout(resolve, 100))
      }
    }
  }

  describe('nginx on Debian', () => {
    const user = work.store('nginx-user')

    test('is pulled into an empty store, answers, and ends well with SIGTERM', async () => {
      const server = user.start('tsrun', ['--rm', '-q', `${pushed('nginx-app')}@${digest}`])
      expect(await ask(server, '/five.txt')).toEqual({ status: 200, text: '1\n2\n3\n4\n5\n' })
      expect(await ask(server, '/three.txt')).toEqual({ status: 200, text: '1\n2\n3\n' })
      const page = readFileSync(`${fixture('nginx-app')}/site/index.html`, 'utf8')
      expect(await ask(server, '/')).toEqual({ status: 200, text: page })
      expect(await ask(server, '/missing')).toMatchObject({ status: 404 })
      server.child.kill('SIGTERM')
      const { code, stdout } = await server.finished
      expect(code).toBe(0)
      expect(stdout).toContain('"GET /five.txt HTTP/1.1" 200')
    })

    test('ends well with SIGQUIT, its STOPSIGNAL', async () => {
      const server = user.start('tsrun', ['--rm', pushed('nginx-app')])
      expect(await ask(server, '/three.txt')).toMatchObject({ status: 200 })
      server.child.kill('SIGQUIT')
      expect(await server.finished).toMatchObject({ code: 0 })
      const { stdout } = await user.tsrun([
        'inspect',
        '-f',
        '{{.Config.StopSignal}}',
        pushed('nginx-app'),
      ])
      expect(stdout).toBe('SIGQUIT\n')
    })

    test('a second build finds every step in the cache and gives the same digest', async () => {
      const again = await build('nginx-app', [fixture('nginx-app')])
      expect(again.digest).toBe(digest)
      expect(again.stderr.match(/^#\d+ CACHED$/gm)).toHaveLength(10)
      expect(again.stderr).not.toMatch(workedStep)
    })

    test('keeps owners and modes', async () => {
      const list = [
        'stat',
        '-c',
        '%U:%G %a %n',
        '/var/www/html/five.txt',
        '/usr/bin/passwd',
        '/tmp',
      ]
      expect((await user.tsrun(['--rm', pushed('nginx-app'), ...list])).stdout).toBe(
        'www-data:www-data 644 /var/www/html/five.txt\nroot:root 4755 /usr/bin/passwd\nroot:root 1777 /tmp\n',
      )
    })
  })

  describeWith(['npm'], 'on Node', () => {
    describe('a service with dependencies of npm', () => {
      const user = work.store('node-user')

      test('is pulled into an empty store, answers, and ends well with SIGTERM', async () => {
        const server = user.start('tsrun', ['--rm', '-q', pushed('node-app')])
        const { status, text } = await ask(server, '/some/path')
        expect({ status, ...JSON.parse(text) }).toEqual({
          status: 200,
          service: 'node-app',
          koa: '3.3.0',
          path: '/some/path',
          pid: 1,
        })
        server.child.kill('SIGTERM')
        expect(await server.finished).toEqual({ code: 0, stdout: 'listening\n', stderr: '' })
      })

      test('has the secret of its build in no layer, no config and no manifest', async () => {
        expect(blobsWith(user, marker)).toEqual([])
        // The same search finds what is there.
        expect(blobsWith(user, "service: 'node-app'")).toHaveLength(1)
        const script = 'ls /run; id -u'
        const { stdout } = await user.tsrun(['--rm', pushed('node-app'), 'sh', '-c', script])
        expect(stdout.split('\n')).not.toContain('secrets')
        expect(stdout).toMatch(/^1000$/m)
      })

      test('has it nowhere in the builder’s store or the registry either', async () => {
        const places = [store.root, work.path('registry-0')]
        const found = await attempt('grep', ['-rlF', marker, ...places], { timeoutMs: 100_000 })
        expect(found).toMatchObject({ code: 1, stdout: '' })
        const stubs = await run('find', [...places, '-path', '*/run/secrets*'])
        expect(stubs.stdout).toBe('')
      })

      test('needs the secret no more when its steps are in the cache', async () => {
        const { stderr } = await build('node-app', [fixture('node-app')])
        expect(stderr).not.toMatch(workedStep)
      })
    })

    describe('tsregistry as an image', () => {
      const user = work.store('registry-user')

      test('serves: an image is pushed to it and comes back the same', async () => {
        const image = pushed('tsregistry')
        const args = ['--rm', '-q', '--network', 'host', image, 'serve', '--addr', '127.0.0.1:0']
        const server = user.start('tsrun', [...args, '--root', '/var/lib/registry'])
        const [, address = ''] = await server.said(/Listening on http:\/\/(127\.0\.0\.1:\d+),/)
        const counter = `${address}/tools/counter:1`
        const context = work.write('counter', {
          Dockerfile: `FROM scratch\nCOPY --from=${pushed('nginx-app')} /usr/local/bin/counter /\nENTRYPOINT ["/counter"]`,
        })
        const id = await store.tsbuild(['-q', '-t', counter, '--push', context])
        const other = work.store('registry-other')
        expect((await other.tsrun(['--rm', '-q', counter, '3'])).stdout).toBe('1\n2\n3\n')
        const pulled = await other.tsrun(['inspect', '-f', '{{.Id}}', counter])
        expect(pulled.stdout).toBe(id.stdout)
        server.child.kill('SIGTERM')
        expect(await server.finished).toMatchObject({ code: 0 })
      })

      test('runs as a user without rights, and says what it is', async () => {
        const image = pushed('tsregistry')
        const [{ Config }] = JSON.parse((await user.tsrun(['inspect', image])).stdout)
        expect(Config).toMatchObject({
          User: '65532:65532',
          Volumes: { '/var/lib/registry': {} },
          ExposedPorts: { '5000/tcp': {} },
          Labels: { 'org.opencontainers.image.title': 'tsregistry' },
        })
        const { stdout } = await user.tsrun(['--rm', image, '--version'])
        expect(stdout).toMatch(/^tsregistry \d/)
      })
    })
  })
})
