/** `--cache-to` and `--cache-from`: what one build made is used by another, elsewhere. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { openWorkspace, type Registry, type Store } from './workspace.ts'

describeWith(['root', 'build', 'busybox'], 'tsbuild --cache-to, --cache-from', () => {
  const work = openWorkspace('cache')
  let registry: Registry
  let first: Store
  let context: string
  let dockerfile: string
  beforeAll(async () => {
    registry = await work.serve()
    first = await work.storeWithBusybox('first')
    await first.tsbuild(['tag', 'busybox', `${registry.address}/base:1`])
    await first.tsbuild(['push', `${registry.address}/base:1`])
    dockerfile = [
      `FROM ${registry.address}/base:1 AS build`,
      'COPY file /src/file',
      'RUN mkdir /out && cat /src/file > /out/result && head -c 100000 /dev/urandom > /tmp/large',
      `FROM ${registry.address}/base:1`,
      'COPY --from=build /out /out',
      'RUN cat /out/result > /last',
      'CMD ["cat", "/last"]',
    ].join('\n')
    context = work.write('context', { Dockerfile: dockerfile, file: 'one\n' })
  })
  afterAll(() => work.close())

  let stores = 0
  const freshStore = () => work.store(`store-${stores++}`)
  const build = async (store: Store, ...args: string[]) => {
    const metadata = work.path('metadata.json')
    const flags = ['--progress', 'plain', '--metadata-file', metadata, '-t', 'app']
    const { stderr } = await store.tsbuild([...flags, ...args, context])
    const { 'containerimage.digest': digest, 'cache.manifest': cache } = JSON.parse(
      readFileSync(metadata, 'utf8'),
    )
    return { digest, cache, stderr, cached: stderr.match(/ CACHED.*/g) ?? [] }
  }
  const blobsIn = (root: string) => readdirSync(join(root, 'blobs/sha256')).sort()
  const filesOf = (store: Store) => {
    const names = (kind: string) => join(store.root, kind)
    return existsSync(names('snapshots')) ? readdirSync(names('snapshots')) : []
  }

  test('type=registry,mode=max: every step is found in an empty store, and the image is the same', async () => {
    const ref = `${registry.address}/app:cache`
    const made = await build(first, '--cache-to', `type=registry,ref=${ref},mode=max`)
    expect(made.stderr).toContain('exporting cache to registry')
    expect(made.cache.mediaType).toBe('application/vnd.oci.image.manifest.v1+json')
    const store = freshStore()
    const { digest, cached } = await build(store, '--cache-from', ref)
    expect(cached).toEqual(Array(4).fill(` CACHED (from cache ${ref})`))
    expect(digest).toBe(made.digest)
    // Nothing was unpacked, and of the build stage nothing was fetched.
    expect(filesOf(store)).toEqual([])
    expect(blobsIn(store.root).length).toBeLessThan(blobsIn(first.root).length)
    const { stdout } = await store.tsrun(['--rm', '--network', 'none', 'app'])
    expect(stdout).toBe('one\n')
    // What a cache told is not believed by a build that does not name it.
    expect((await build(store)).cached).toEqual([])
  })

  test('what follows a found step is built on its files', async () => {
    const store = freshStore()
    const more = work.write('more', {
      Dockerfile: `${dockerfile}\nRUN cat /last /last > /twice`,
      file: 'one\n',
    })
    await store.tsbuild(['-t', 'more', '--cache-from', `${registry.address}/app:cache`, more])
    const { stdout } = await store.tsrun(['--rm', '--network', 'none', 'more', 'cat', '/twice'])
    expect(stdout).toBe('one\none\n')
  })

  test('mode=min has the steps of the image alone', async () => {
    const ref = `${registry.address}/app:min`
    await build(first, '--cache-to', `type=registry,ref=${ref},mode=min`)
    const { cached } = await build(freshStore(), '--cache-from', `type=registry,ref=${ref}`)
    // The build stage runs again; what it gave has the same content.
    expect(cached).toHaveLength(2)
  })

  test('type=inline: the image is its own cache', async () => {
    const ref = `${registry.address}/app:inline`
    const made = await build(first, '--cache-to', 'type=inline', '-o', `type=registry,name=${ref}`)
    const { cached, digest } = await build(
      freshStore(),
      '--cache-from',
      ref,
      '--cache-to',
      'type=inline',
    )
    expect(cached).toHaveLength(2)
    expect(digest).toBe(made.digest)
    // An image that was built on it has nothing of it.
    work.write('child', { Dockerfile: `FROM ${ref}\nLABEL a=b` })
    const store = freshStore()
    await store.tsbuild(['-t', 'child', work.path('child')])
    const { stdout } = await store.tsbuild(['inspect', 'child'])
    expect(stdout).not.toContain('moby.buildkit.cache.v0')
  })

  test('type=local: a directory for another machine, which has the live blobs only', async () => {
    const directory = work.path('local-cache')
    const to = `type=local,dest=${directory},mode=max`
    await build(first, '--cache-to', to)
    const before = blobsIn(directory)
    await build(first, '--cache-to', to)
    expect(blobsIn(directory)).toEqual(before)
    const { cached } = await build(freshStore(), '--cache-from', `type=local,src=${directory}`)
    expect(cached).toHaveLength(4)
    writeFileSync(join(context, 'file'), 'another\n')
    await build(first, '--cache-to', to)
    writeFileSync(join(context, 'file'), 'one\n')
    expect(blobsIn(directory)).toHaveLength(before.length)
    await build(first, '--cache-to', `${to},tag=other`)
    expect(blobsIn(directory).length).toBeGreaterThan(before.length)
    await build(first, '--cache-to', `${to},reset=true`)
    expect(blobsIn(directory)).toEqual(before)
  })

  test('a fully cached build hands on what it was given, without storing it', async () => {
    const store = freshStore()
    const directory = work.path('handed-on')
    const from = `type=local,src=${work.path('local-cache')}`
    await build(store, '--cache-from', from, '--cache-to', `type=local,dest=${directory},mode=max`)
    expect(blobsIn(directory)).toEqual(blobsIn(work.path('local-cache')))
    expect(filesOf(store)).toEqual([])
  })

  test('oci-mediatypes=false writes a list, as older registries want it', async () => {
    const ref = `${registry.address}/app:list`
    const to = `type=registry,ref=${ref},mode=max,oci-mediatypes=false`
    const { cache } = await build(first, '--cache-to', to)
    expect(cache.mediaType).toBe('application/vnd.docker.distribution.manifest.list.v2+json')
    const { cached } = await build(freshStore(), '--cache-from', ref)
    expect(cached).toHaveLength(4)
  })

  test('a cache that is not there, or is none, is a warning', async () => {
    const refs = [`${registry.address}/app:missing`, `${registry.address}/base:1`]
    const flags = refs.flatMap(ref => ['--cache-from', ref])
    const local = ['--cache-from', `type=local,src=${work.path('nowhere')}`]
    const { stderr } = await build(freshStore(), ...flags, ...local)
    for (const ref of refs) expect(stderr).toContain(`cache ${ref} is not used`)
    expect(stderr).toContain(`cache ${work.path('nowhere')} is not used`)
    expect((await build(first, ...flags)).stderr).not.toContain('is not used')
  })

  test('a cache that lost a layer is not used for it', async () => {
    const directory = work.path('lossy')
    await build(first, '--cache-to', `type=local,dest=${directory},mode=max`)
    const sizes = blobsIn(directory).map(name => {
      const path = join(directory, 'blobs/sha256', name)
      return { path, size: readFileSync(path).length }
    })
    for (const { path } of sizes.filter(({ size }) => size > 50_000)) rmSync(path)
    const { stderr, cached } = await build(
      freshStore(),
      '--cache-from',
      `type=local,src=${directory}`,
    )
    expect(stderr).toMatch(/cache .*lossy lacks layer sha256:/)
    // COPY alone is found below it; what follows is found again by its content.
    expect(cached).toHaveLength(3)
  })

  test('a layer with other bytes than its name fails the step that reads it, and stays out of the store', async () => {
    const directory = work.path('hostile')
    await build(first, '--cache-to', `type=local,dest=${directory},mode=max`)
    for (const name of blobsIn(directory)) {
      const path = join(directory, 'blobs/sha256', name)
      const bytes = readFileSync(path)
      if (bytes[0] !== 0x1f) continue
      bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 0xff
      writeFileSync(path, bytes)
    }
    const store = freshStore()
    const more = work.write('hostile-more', {
      Dockerfile: `${dockerfile}\nRUN cat /last`,
      file: 'one\n',
    })
    const { code, stderr } = await store.attempt('tsbuild', [
      '--cache-from',
      `type=local,src=${directory}`,
      more,
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/expected sha256:[0-9a-f]{64}, got sha256:/)
    await store.tsbuild(['fsck'])
  })

  test('an export that fails fails the build, unless that is to be ignored', async () => {
    const to = 'type=registry,ref=127.0.0.1:1/nowhere'
    expect((await first.attempt('tsbuild', ['-t', 'app', '--cache-to', to, context])).code).toBe(1)
    const { stderr } = await build(first, '--cache-to', `${to},ignore-error=true`)
    expect(stderr).toContain('cache 127.0.0.1:1/nowhere:latest is not written')
  })

  test('cache-mounts=all: what a cache mount holds goes along, and begins it elsewhere', async () => {
    const mounting = (command: string) =>
      work.write('mounting', {
        Dockerfile: [
          `FROM ${registry.address}/base:1`,
          `RUN --mount=type=cache,target=/cache,id=kept,uid=7,mode=0750 ${command}`,
        ].join('\n'),
      })
    const directory = work.path('mounts')
    const to = ['--cache-to', `type=local,dest=${directory},cache-mounts=all`]
    const from = ['--cache-from', `type=local,src=${directory}`]
    await first.tsbuild([...to, mounting('mkdir /cache/sub && echo kept > /cache/sub/file')])
    const store = freshStore()
    const look = 'cat /cache/sub/file && stat -c "%a %u" /cache'
    const { stderr } = await store.tsbuild(['--progress', 'plain', ...from, mounting(look)])
    expect(stderr).toContain(`restoring cache mount kept (7:0 750) from ${directory}`)
    expect(stderr).toMatch(/ kept\n.* 750 7\n/)
    // Here it is not empty any more, so it is what this machine made of it.
    await store.tsbuild([...from, mounting('echo own > /cache/sub/file')])
    const again = await store.tsbuild(['--progress', 'plain', ...from, mounting(`echo; ${look}`)])
    expect(again.stderr).toMatch(/ own\n/)
    // A build that finds its step runs nothing: the mount is handed on as it came.
    await first.tsbuild([...to, mounting('echo last')])
    const handed = work.path('mounts-handed-on')
    const passing = freshStore()
    await passing.tsbuild([
      ...from,
      '--cache-to',
      `type=local,dest=${handed},cache-mounts=kept`,
      mounting('echo last'),
    ])
    expect(existsSync(join(passing.root, 'cache-mounts'))).toBe(false)
    const { stderr: last } = await freshStore().tsbuild([
      '--progress',
      'plain',
      '--cache-from',
      `type=local,src=${handed}`,
      mounting(look),
    ])
    expect(last).toMatch(/ kept\n/)
    const unknown = ['--cache-to', `type=local,dest=${work.path('no-mounts')},cache-mounts=true`]
    expect((await first.tsbuild([...unknown, mounting('echo last')])).stderr).toContain(
      `cache ${work.path('no-mounts')}: no step has the cache mount "true"; there is kept (7:0 750)`,
    )
  })
})
