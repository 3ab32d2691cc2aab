/** `linux.netDevices` of a bundle: interfaces of this machine in the container's network. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { deleteContainer } from '../../src/layerfs/oci-runtime/lifecycle.ts'
import { missing as missingForBox } from './box.ts'
import { type Bundles, type Config, makeBundles } from './bundle.ts'

/** One end goes into containers; the other tells whether they are connected. */
const [device, peer] = [`tn${process.pid}a`, `tn${process.pid}b`]

const ip = (...words: string[]) => spawnSync('ip', words, { encoding: 'utf8' })

function missing(): string | undefined {
  if (missingForBox !== undefined) return missingForBox
  if (ip('link', 'add', device, 'type', 'veth', 'peer', 'name', peer).status !== 0) {
    return 'needs ip (iproute2) and veth'
  }
  ip('link', 'del', peer)
  return undefined
}

const withDevices =
  (netDevices: unknown, more: (config: Config) => void = () => {}) =>
  (config: Config) => {
    config.linux['netDevices'] = netDevices
    more(config)
  }

const lacks = missing()

describe.skipIf(lacks !== undefined)(`netDevices${lacks ? ` (${lacks})` : ''}`, () => {
  let bundles: Bundles

  beforeAll(() => {
    bundles = makeBundles()
  })

  afterAll(async () => {
    await bundles[Symbol.asyncDispose]()
  })

  beforeEach(makePair)

  /** The kernel takes a moment to end the one before, with the namespace that it was moved to. */
  async function makePair(): Promise<void> {
    const make = () => ip('link', 'add', device, 'type', 'veth', 'peer', 'name', peer).stderr
    await expect.poll(make, { timeout: 20_000 }).toBe('')
    ip('link', 'set', peer, 'up')
  }

  // Both, wherever the other one is.
  afterEach(() => void ip('link', 'del', peer))

  const show = 'ip -o link > /out/links; ip -o addr > /out/addresses'
  const linesOf = (file: string, name: string) =>
    bundles
      .read(file)
      .split('\n')
      .filter(line => new RegExp(`^\\d+: ${name}[:@ ]`).test(line))

  test('moves one with its hardware address, its addresses and its size of packets, and up', async () => {
    ip('link', 'set', device, 'address', '02:11:22:33:44:55', 'mtu', '1300')
    ip('addr', 'add', '203.0.113.5/24', 'broadcast', '203.0.113.255', 'dev', device)
    ip('addr', 'add', '198.51.100.1', 'peer', '198.51.100.2/32', 'dev', device)
    ip('-6', 'addr', 'add', '2001:db8::5/64', 'nodad', 'dev', device)
    // Neither is the whole world's: it is of this link, and of this namespace's time.
    ip('addr', 'add', '169.254.7.7/16', 'scope', 'link', 'dev', device)
    ip(
      '-6',
      'addr',
      'add',
      '2001:db8::6/64',
      'valid_lft',
      '100',
      'preferred_lft',
      '100',
      'dev',
      device,
    )
    await bundles.run(show, withDevices({ [device]: {} }))
    const [link = ''] = linesOf('links', device)
    expect(link).toMatch(/[<,]UP[,>]/)
    expect(link).toContain('mtu 1300')
    expect(link).toContain('02:11:22:33:44:55')
    const addresses = linesOf('addresses', device).join('\n')
    expect(addresses).toContain('inet 203.0.113.5/24 brd 203.0.113.255 scope global')
    expect(addresses).toContain('inet 198.51.100.1 peer 198.51.100.2/32 scope global')
    expect(addresses).toContain('inet6 2001:db8::5/64 scope global')
    expect(addresses).not.toContain('169.254.7.7')
    expect(addresses).not.toContain('2001:db8::6')
    expect(ip('link', 'show', device).status).not.toBe(0)
  })

  test('is there when hooks run, and bytes go through it', async () => {
    ip('addr', 'add', '203.0.113.5/24', 'dev', device)
    ip('addr', 'add', '203.0.113.6/24', 'dev', peer)
    const [seen, id] = [`${bundles.out}/hook`, 'connected']
    const hook = `pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip -o link show inside > ${seen}`
    const bundle = bundles.write(
      withDevices({ [device]: { name: 'inside' } }, config => {
        config.process.args = ['sleep', '1000']
        config.hooks['createRuntime'] = [
          { path: '/bin/sh', args: ['sh', '-c', hook], env: [`PATH=${process.env['PATH']}`] },
        ]
      }),
    )
    await bundles.create(id, bundle)
    await bundles.start(id)
    expect(bundles.read('hook')).toMatch(/^\d+: inside@.*[<,]UP[,>]/)
    const ping = spawn('busybox', ['ping', '-c', '1', '-w', '10', '203.0.113.5'], {
      stdio: 'ignore',
    })
    expect(await once(ping, 'exit')).toEqual([0, null])
    await deleteContainer(bundles.root, id, { force: true })
  })

  test('renames it, also to a number that is free, and to what another had here', async () => {
    await bundles.run(show, withDevices({ [device]: { name: 'net7' } }))
    expect(linesOf('links', 'net7')).toHaveLength(1)
    for (const name of ['net%d', 'n%dx']) {
      await makePair()
      await bundles.run(show, withDevices({ [device]: { name } }))
      expect(linesOf('links', name.replace('%d', '0'))).toHaveLength(1)
    }
  })

  test('goes into a network that is joined, and stays there', async () => {
    const holder = spawn('unshare', ['-n', 'sh', '-c', 'echo; exec sleep 1000'])
    await once(holder.stdout, 'data')
    const inside = (...words: string[]) =>
      spawnSync('nsenter', ['-t', `${holder.pid}`, '-n', 'ip', ...words], { encoding: 'utf8' })
    ip('addr', 'add', '203.0.113.5/24', 'dev', device)
    const joined = (config: Config) => {
      const network = config.linux.namespaces.find(({ type }) => type === 'network')
      Object.assign(network ?? {}, { path: `/proc/${holder.pid}/ns/net` })
    }
    inside('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other')
    await bundles.run(show, withDevices({ [device]: { name: 'eth%d' } }, joined))
    expect(linesOf('addresses', 'eth1').join()).toContain('203.0.113.5/24')
    expect(inside('link', 'show', 'eth1').status).toBe(0)
    holder.kill()
    await once(holder, 'exit')
  })

  test('goes into the network of a container that has users of its own', async () => {
    const map = [{ containerID: 0, hostID: 100_000, size: 1000 }]
    ip('addr', 'add', '203.0.113.5/24', 'dev', device)
    await bundles.run(
      'ip -o addr > /out/of-users',
      withDevices({ [device]: {} }, config => {
        config.linux.namespaces.push({ type: 'user' })
        Object.assign(config.linux, { uidMappings: map, gidMappings: map })
      }),
    )
    expect(linesOf('of-users', device).join()).toContain('203.0.113.5/24')
  })

  test('what cannot be moved is told, and is as it was', async () => {
    ip('addr', 'add', '203.0.113.5/24', 'dev', device)
    ip('link', 'set', device, 'up')
    const refused = async (netDevices: unknown) => {
      const id = 'refused'
      const failed = bundles.create(id, bundles.write(withDevices(netDevices)))
      const error = await failed.then(
        () => new Error('It was created'),
        (thrown: Error) => thrown,
      )
      return `${error.message}${'hint' in error ? ` ${error.hint}` : ''}`
    }
    expect(await refused({ [device]: { name: 'lo' } })).toMatch(
      new RegExp(
        `^Cannot name the network device "${device}": file already exists.*linux.netDevices`,
      ),
    )
    expect(ip('-o', 'addr', 'show', device).stdout).toContain('203.0.113.5/24')
    expect(ip('-o', 'link', 'show', device).stdout).toMatch(/[<,]UP[,>]/)
    expect(await refused({ nothere0: {} })).toContain(
      'Cannot find the network device "nothere0": no such device',
    )
    expect(await refused({ lo: { name: 'lo5' } })).toMatch(
      /^Cannot move the network device "lo": .* stay where/,
    )
    expect(ip('link', 'show', 'lo').status).toBe(0)
  })

  test('none is none', async () => {
    for (const none of [null, {}]) await bundles.run('true', withDevices(none))
    await bundles.run(show, withDevices({ [device]: null }))
    expect(linesOf('links', device)).toHaveLength(1)
  })
})

describe.skipIf(missingForBox !== undefined)('netDevices that cannot be', () => {
  let bundles: Bundles

  beforeAll(() => {
    bundles = makeBundles()
  })

  afterAll(async () => {
    await bundles[Symbol.asyncDispose]()
  })

  test.each<[unknown, string]>([
    [{ '': {} }, 'the name of an interface'],
    [{ 'a/b': {} }, 'the name of an interface'],
    [{ 'a b': {} }, 'the name of an interface'],
    [{ sixteen_letters_: {} }, 'the name of an interface'],
    [{ '..': {} }, 'the name of an interface'],
    [{ 'a%d': {} }, 'the name of an interface'],
    [{ a: { name: 'b%s' } }, 'the name of an interface'],
    [{ a: { name: 'b%d%d' } }, 'the name of an interface'],
    [{ a: { name: 'b:1' } }, 'the name of an interface'],
    [{ a: { name: 5 } }, 'linux.netDevices'],
    [{ a: 'b' }, 'linux.netDevices'],
    [['a'], 'linux.netDevices'],
    [{ a: { name: 'x' }, b: { name: 'x' } }, 'a name of its own for each device'],
    [{ a: {}, b: { name: 'a' } }, 'a name of its own for each device'],
  ])('%j is refused', async (netDevices, words) => {
    await expect(bundles.create('bad', bundles.write(withDevices(netDevices)))).rejects.toThrow(
      words,
    )
  })

  test('needs a network of the container', async () => {
    const bundle = bundles.write(
      withDevices({ eth0: {} }, config => {
        config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network')
      }),
    )
    await expect(bundles.create('host', bundle)).rejects.toThrow('without a network namespace')
  })
})
