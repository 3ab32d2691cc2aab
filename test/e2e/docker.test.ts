/** Real Docker and our programs: each uses what the other made. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { busyboxRootfs } from '../support/busybox.ts'
import { describeWith } from '../support/requires.ts'
import { type DockerDaemon, startDocker } from './docker-daemon.ts'
import { fixture, openWorkspace, type Registry, type Store } from './workspace.ts'

/** Everything that a config can say, and steps of every kind. */
const dockerfile = `
FROM busybox AS tools
RUN echo tool > /tool

FROM busybox
ARG VERSION=1.0
ENV VERSION=\${VERSION} EMPTY="" \\
    SPACED="two words"
LABEL org.example.version=\${VERSION} "org.example.note"="it's fine"
RUN echo app:x:1234:1234::/srv:/bin/sh >> /etc/passwd
WORKDIR /srv
WORKDIR data
COPY --chown=1234:1234 --chmod=0640 file ./
COPY --from=tools /tool /usr/local/tool
RUN echo "$VERSION" > version && rm -f /home/unwanted
USER app:1234
EXPOSE 80 53/udp
VOLUME ["/var/data", "/srv/data/volume"]
HEALTHCHECK --interval=10s --timeout=2s --start-period=1m --retries=4 CMD ["true"]
STOPSIGNAL SIGQUIT
SHELL ["/bin/ash", "-c"]
ENTRYPOINT ["sh", "-c", "id -u; pwd; cat version; echo $0 $*"]
CMD ["word", "a b"]
`

const second = 1_000_000_000

describeWith(['root', 'build', 'busybox', 'docker'], 'Docker', () => {
  const work = openWorkspace('docker')
  let store: Store
  let registry: Registry
  let daemon: DockerDaemon
  let image: string
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    registry = await work.serve()
    daemon = await startDocker(work)
    image = `${registry.address}/team/everything:1`
    const context = work.write('everything', { Dockerfile: dockerfile, file: 'a file\n' })
    await store.tsbuild(['-t', image, '--build-arg', 'VERSION=2.0', '--push', context])
    await daemon.docker(['pull', image])
  })
  afterAll(async () => {
    await daemon?.stop()
    await work.close()
  })

  const inspect = async (name: string) =>
    JSON.parse((await daemon.docker(['image', 'inspect', name])).stdout)[0]
  const dockerRun = async (...args: string[]) =>
    (await daemon.docker(['run', '--rm', '--network', 'none', ...args])).stdout

  test('runs an image that tsbuild built and pushed', async () => {
    expect(await dockerRun(image)).toBe('1234\n/srv/data\n2.0\nword a b\n')
    expect(await dockerRun('--entrypoint', 'stat', image, '-c', '%a %u:%g', 'file')).toBe(
      '640 1234:1234\n',
    )
  })

  test('reads from the config what the Dockerfile says', async () => {
    const { Config, Architecture, Os, Id } = await inspect(image)
    expect({ Architecture, Os }).toEqual({ Architecture: 'amd64', Os: 'linux' })
    expect(Config).toMatchObject({
      User: 'app:1234',
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'VERSION=2.0',
        'EMPTY=',
        'SPACED=two words',
      ],
      Cmd: ['word', 'a b'],
      Healthcheck: {
        Test: ['CMD', 'true'],
        Interval: 10 * second,
        Timeout: 2 * second,
        StartPeriod: 60 * second,
        Retries: 4,
      },
      Volumes: { '/var/data': {}, '/srv/data/volume': {} },
      WorkingDir: '/srv/data',
      Entrypoint: ['sh', '-c', 'id -u; pwd; cat version; echo $0 $*'],
      Labels: { 'org.example.version': '2.0', 'org.example.note': "it's fine" },
      StopSignal: 'SIGQUIT',
      Shell: ['/bin/ash', '-c'],
    })
    const ours = JSON.parse((await store.tsbuild(['inspect', image])).stdout)[0]
    expect(Id).toBe(ours.Id)
  })

  test('has a layer per step that changes files, and the history that BuildKit writes (O02, O03)', async () => {
    const { RootFS } = await inspect(image)
    const format = '{{.CreatedBy}}\t{{.Comment}}\t{{.Size}}'
    const { stdout } = await daemon.docker(['history', '--no-trunc', '--format', format, image])
    const history = stdout
      .trimEnd()
      .split('\n')
      .map(line => line.split('\t'))
      .reverse()
    expect(history.slice(1).map(([createdBy]) => createdBy)).toEqual([
      'ARG VERSION=2.0',
      'ENV VERSION=2.0 EMPTY= SPACED=two words',
      "LABEL org.example.version=2.0 org.example.note=it's fine",
      'RUN |1 VERSION=2.0 /bin/sh -c echo app:x:1234:1234::/srv:/bin/sh >> /etc/passwd # buildkit',
      'WORKDIR /srv',
      'WORKDIR /srv/data',
      'COPY --chown=1234:1234 --chmod=0640 file ./ # buildkit',
      'COPY /tool /usr/local/tool # buildkit',
      'RUN |1 VERSION=2.0 /bin/sh -c echo "$VERSION" > version && rm -f /home/unwanted # buildkit',
      'USER app:1234',
      'EXPOSE [53/udp 80/tcp]',
      'VOLUME [/var/data /srv/data/volume]',
      'HEALTHCHECK {Test:[CMD true] Interval:10s Timeout:2s StartPeriod:1m0s StartInterval:0s Retries:4}',
      'STOPSIGNAL SIGQUIT',
      'SHELL [/bin/ash -c]',
      'ENTRYPOINT ["sh" "-c" "id -u; pwd; cat version; echo $0 $*"]',
      'CMD ["word" "a b"]',
    ])
    expect(new Set(history.slice(1).map(([, comment]) => comment))).toEqual(
      new Set(['buildkit.dockerfile.v0']),
    )
    // The base, and: RUN, WORKDIR, WORKDIR, COPY, COPY, RUN.
    expect(RootFS.Layers).toHaveLength(1 + 6)
  })

  test('pushes an image, which tsrun pulls and runs', async () => {
    const name = `${registry.address}/docker/imported:1`
    const rootfs = busyboxRootfs(work.path('tmp-busybox'))
    const changes = ['ENV FROM=docker', 'WORKDIR /home', 'CMD ["sh", "-c", "echo $FROM; pwd"]']
    await daemon.docker(['import', ...changes.flatMap(c => ['--change', c]), rootfs, 'imported'])
    await daemon.docker(['tag', 'imported', name])
    await daemon.docker(['push', name])
    const other = work.store('other')
    expect((await other.tsrun(['--rm', '--network', 'none', name])).stdout).toBe('docker\n/home\n')
  })

  test('pushes what it pulled from us under another name, with the same digest', async () => {
    const again = `${registry.address}/again/everything:1`
    await daemon.docker(['tag', image, again])
    const pushed = (await daemon.docker(['push', again])).stdout
    const other = work.store('other')
    await other.tsrun(['pull', '-q', again])
    const [{ Id }] = JSON.parse((await other.tsrun(['inspect', again])).stdout)
    expect(Id).toBe((await inspect(image)).Id)
    expect(pushed).toMatch(/digest: sha256:[0-9a-f]{64}/)
    expect((await other.tsrun(['--rm', '--network', 'none', again])).stdout).toBe(
      '1234\n/srv/data\n2.0\nword a b\n',
    )
  })

  test('loads and runs the archive of -o type=docker', async () => {
    const archive = work.path('hello.tar')
    const args = ['-t', 'hello:archive', '-o', `type=docker,dest=${archive}`, fixture('hello')]
    await store.tsbuild(args)
    const { stdout } = await daemon.docker(['load', '-i', archive])
    expect(stdout).toContain('Loaded image: hello:archive')
    expect(await dockerRun('hello:archive', 'from', 'docker')).toMatch(
      /^Hello, world, from docker\npid 1 on [0-9a-f]{12}, built on x86_64\n$/,
    )
  })

  test('loads what tsbuild save wrote, several images at once', async () => {
    const archive = work.path('saved-by-us.tar')
    await store.tsbuild(['tag', 'busybox', 'busybox:copy'])
    await store.tsbuild(['save', '-o', archive, image, 'busybox:copy'])
    await daemon.docker(['rmi', '--force', image])
    await daemon.docker(['load', '-i', archive])
    expect(await dockerRun(image)).toBe('1234\n/srv/data\n2.0\nword a b\n')
    expect(await dockerRun('busybox:copy', 'echo', 'copied')).toBe('copied\n')
  })

  test('saves an archive that tsbuild loads', async () => {
    const archive = work.path('saved-by-docker.tar')
    await daemon.docker(['save', '-o', archive, image])
    const other = work.store('from-docker')
    expect((await other.tsbuild(['load', '-i', archive])).stdout).toBe(`Loaded image: ${image}\n`)
    const [{ Id }] = JSON.parse((await other.tsbuild(['inspect', image])).stdout)
    expect(Id).toBe((await inspect(image)).Id)
    expect((await other.tsrun(['--rm', '--network', 'none', image, 'loaded'])).stdout).toBe(
      '1234\n/srv/data\n2.0\nloaded\n',
    )
  })

  test('takes what tsbuild --load sends to its socket', async () => {
    const args = ['--load', '-t', 'hello:loaded', fixture('hello')]
    await store.tsbuild(args, { env: { DOCKER_HOST: `unix://${work.path('docker.sock')}` } })
    expect(await dockerRun('hello:loaded')).toMatch(/^Hello, world/)
    const ours = await store.attempt('tsbuild', ['inspect', 'hello:loaded'])
    expect(ours.code).toBe(1)
  })

  test('pulls its platform out of an index that tsbuild pushed, in either vocabulary', async () => {
    const context = work.write('two', { Dockerfile: 'FROM busybox\nCMD ["echo", "from an index"]' })
    for (const types of ['oci-mediatypes=true', 'oci-mediatypes=false']) {
      const name = `${registry.address}/team/two:${types.slice(-4)}`
      const platforms = ['--platform', 'linux/arm64,linux/amd64']
      await store.tsbuild([...platforms, '-o', `type=registry,name=${name},${types}`, context])
      await daemon.docker(['pull', name])
      expect(await dockerRun(name)).toBe('from an index\n')
    }
  })

  test('an image without any layer goes the whole way', async () => {
    const name = `${registry.address}/team/empty:1`
    const context = work.write('empty', { Dockerfile: 'FROM scratch\nLABEL a=b\nCMD ["/nothing"]' })
    await store.tsbuild(['-t', name, '--push', context])
    await daemon.docker(['pull', name])
    expect((await inspect(name)).Config).toMatchObject({ Labels: { a: 'b' }, Cmd: ['/nothing'] })
  })
})
