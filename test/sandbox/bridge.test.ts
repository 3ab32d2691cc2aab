/**
 * The bridge network. Each test has a host of its own: a network namespace with nothing in it, so
 * this machine's interfaces and rules are out of reach. iproute2, nft and iptables judge.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  addNeighbour,
  ask,
  attach,
  compileDriver,
  inside,
  missingNeeds,
  nft,
  onHost,
  removeDriver,
  rulesOfOthers,
  serve,
  startAttach,
} from './bridge-host.ts'

const needs = missingNeeds()

beforeAll(compileDriver)
afterAll(removeDriver)

describe.skipIf(needs.length > 0)(
  `bridge_attach() (needs ${needs.join(', ') || 'nothing'})`,
  () => {
    it('gives the container lo, eth0 with its address, and a default route', () =>
      onHost(async host => {
        const container = await attach(host)
        expect(container).toMatchObject({ address: '10.213.0.2', prefix: 16, blockedBy: '' })
        const links = JSON.parse(inside(container.pid, 'ip', '-j', 'address'))
        expect(links.map((link: { ifname: string }) => link.ifname)).toEqual(['lo', 'eth0'])
        expect(links[1]).toMatchObject({ operstate: 'UP', address: '02:42:0a:d5:00:02' })
        expect(links[1].addr_info).toMatchObject([{ local: '10.213.0.2', prefixlen: 16 }])
        const route = inside(container.pid, 'ip', 'route', 'show', 'default')
        expect(route.trim()).toBe('default via 10.213.0.1 dev eth0')
      }))

    it('leaves no half of IPv6: none on eth0, the bridge and the pair, ::1 on lo', () =>
      onHost(async host => {
        const container = await attach(host)
        expect(inside(container.pid, 'ip', '-6', '-br', 'address')).toMatch(
          /^lo\s+UNKNOWN\s+::1\/128\s*$/,
        )
        expect(inside(host.pid, 'ip', '-6', '-br', 'address')).toMatch(
          /^lo\s+UNKNOWN\s+::1\/128\s*$/,
        )
      }))

    it('connects a container with the gateway, and by NAT with what lies beyond', () =>
      onHost(async host => {
        const outside = await addNeighbour(host)
        await serve(host, outside)
        await serve(host, host.pid)
        const container = await attach(host)
        expect(ask(container.pid, '10.213.0.1')).toBe('you are 10.213.0.2')
        expect(ask(container.pid, '198.51.100.2')).toBe('you are 198.51.100.1')
      }))

    it('connects containers with each other, under their own addresses', () =>
      onHost(async host => {
        const [one, other] = [await attach(host), await attach(host)]
        await serve(host, one.pid)
        expect(ask(other.pid, one.address)).toBe(`you are ${other.address}`)
      }))

    it('lets nobody outside reach a container by routing through the host', () =>
      onHost(async host => {
        const outside = await addNeighbour(host)
        const container = await attach(host)
        await serve(host, container.pid)
        inside(outside, 'ip', 'route', 'add', '10.213.0.0/16', 'via', '198.51.100.1')
        expect(ask(outside, container.address)).toMatch(/^failed/)
        expect(ask(host.pid, container.address)).toBe('you are 10.213.0.1')
      }))

    it('gives 50 containers started at once 50 addresses, on one bridge with one set of rules', () =>
      onHost(async host => {
        const containers = await Promise.all(Array.from({ length: 50 }, () => attach(host)))
        expect(containers.filter(container => container.failedStep)).toEqual([])
        expect(new Set(containers.map(container => container.address)).size).toBe(50)
        const links = JSON.parse(inside(host.pid, 'ip', '-j', 'link', 'show', 'master', 'tsrun0'))
        expect(links).toHaveLength(50)
        expect(inside(host.pid, 'nft', 'list', 'ruleset').match(/masquerade/g)).toHaveLength(1)
      }))

    it('frees address and link when the monitor is killed', () =>
      onHost(async host => {
        const first = await attach(host)
        first.monitor.kill('SIGKILL')
        await until(() => !inside(host.pid, 'ip', '-br', 'link').includes('ve0ad50002'))
        writeFileSync(join(host.locks, 'lock'), '10.213.0.1\n')
        expect((await attach(host)).address).toBe(first.address)
      }))

    it('attaches after monitors that were killed at any moment of theirs', () =>
      onHost(async host => {
        for (let i = 0; i < 40; i++) {
          const monitor = startAttach(host, {})
          await delay(i / 4)
          monitor.kill('SIGKILL')
        }
        const container = await attach(host)
        expect(container.failedStep).toBeUndefined()
        const links = () => inside(host.pid, 'ip', '-br', 'link', 'show', 'master', 'tsrun0')
        await until(() => links().trim().split('\n').length === 1)
        await serve(host, host.pid)
        expect(ask(container.pid, '10.213.0.1')).toBe(`you are ${container.address}`)
      }))

    it('does not give a held address again, wherever the last one is said to be', () =>
      onHost(async host => {
        await attach(host)
        for (const text of ['10.213.0.1\n', '10.213.255.254\n', 'no address', '']) {
          writeFileSync(join(host.locks, 'lock'), text)
          expect((await attach(host)).address).toMatch(/^10\.213\.0\.[3-6]$/)
        }
      }))

    it('says so when every address of the subnet is held', () =>
      onHost(async host => {
        const small = { subnet: '10.213.0.0/29' }
        for (let i = 2; i < 7; i++)
          expect((await attach(host, small)).address).toBe(`10.213.0.${i}`)
        expect(await attach(host, small)).toMatchObject({
          failedStep: "claim a free address of the bridge's subnet",
          error: 'EADDRNOTAVAIL',
        })
      }))

    it('replaces a link of the same name that an earlier container left', () =>
      onHost(async host => {
        inside(host.pid, 'ip', 'link', 'add', 've0ad50002', 'type', 'veth')
        expect((await attach(host)).address).toBe('10.213.0.2')
        expect(inside(host.pid, 'ip', 'link', 'show', 've0ad50002')).toContain('master tsrun0')
      }))

    it('completes a bridge whose set-up was interrupted', () =>
      onHost(async host => {
        inside(host.pid, 'ip', 'link', 'add', 'tsrun0', 'type', 'bridge')
        await serve(host, host.pid)
        expect(ask((await attach(host)).pid, '10.213.0.1')).toBe('you are 10.213.0.2')
      }))

    it('keeps the subnet of a bridge that has one', () =>
      onHost(async host => {
        inside(host.pid, 'ip', 'link', 'add', 'tsrun0', 'type', 'bridge')
        inside(host.pid, 'ip', 'address', 'add', '10.9.0.1/24', 'dev', 'tsrun0')
        expect(await attach(host)).toMatchObject({ address: '10.9.0.2', prefix: 24 })
      }))

    it.each([
      ['10.0.0.0/8', '172.29.0.2'],
      ['10.213.4.0/24', '10.87.0.2'],
      ['0.0.0.0/1', '10.213.0.2'],
    ])('with a route to %s chooses the subnet of %s', (route, address) =>
      onHost(async host => {
        inside(host.pid, 'ip', 'route', 'add', route, 'dev', 'lo')
        expect((await attach(host)).address).toBe(address)
      }),
    )

    it('says so when routes take every subnet it knows', () =>
      onHost(async host => {
        for (const route of ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'])
          inside(host.pid, 'ip', 'route', 'add', route, 'dev', 'lo')
        expect(await attach(host)).toMatchObject({
          failedStep: 'find a subnet that no route overlaps',
          error: 'EADDRNOTAVAIL',
        })
        expect(inside(host.pid, 'ip', '-br', 'link')).not.toContain('tsrun0')
      }))
  },
)

describe.skipIf(needs.length > 0)('bridge_attach() and the packet filter', () => {
  it('changes nothing in the tables of others', () =>
    onHost(async host => {
      nft(host, 'table ip filter { chain INPUT { type filter hook input priority 0; counter; }; }')
      nft(host, 'table inet other { set s { type ipv4_addr; elements = { 10.213.0.9 }; }; }')
      const before = rulesOfOthers(host)
      await attach(host)
      expect(rulesOfOthers(host)).toEqual(before)
      expect(before.length).toBeGreaterThan(4)
    }))

  it('keeps the rules of an earlier attach, and restores what was removed', () =>
    onHost(async host => {
      await attach(host)
      const rules = () => inside(host.pid, 'nft', '-a', 'list', 'table', 'inet', 'tsrun')
      const before = rules()
      await attach(host)
      expect(rules()).toBe(before)
      nft(host, 'flush chain inet tsrun tsrun0-forward')
      nft(host, 'add chain inet tsrun published')
      await attach(host)
      expect(rules().match(/tsrun tsrun0 10\.213\.0\.0\/16/g)).toHaveLength(6)
      expect(rules()).toContain('chain published')
    }))

  it("passes Docker's policy of dropping by Docker's chain for that, once", () =>
    onHost(async host => {
      const outside = await addNeighbour(host)
      await serve(host, outside)
      for (const rule of ['-P FORWARD DROP', '-N DOCKER-USER', '-A DOCKER-USER -j RETURN'])
        inside(host.pid, 'iptables', ...rule.split(' '))
      inside(host.pid, 'iptables', '-A', 'FORWARD', '-j', 'DOCKER-USER')
      await attach(host)
      const container = await attach(host)
      expect(container.blockedBy).toBe('')
      expect(ask(container.pid, '198.51.100.2')).toBe('you are 198.51.100.1')
      expect(inside(host.pid, 'iptables', '-S', 'DOCKER-USER').trim().split('\n')).toEqual([
        '-N DOCKER-USER',
        '-A DOCKER-USER -i tsrun0 -m comment --comment "tsrun tsrun0" -j ACCEPT',
        '-A DOCKER-USER -o tsrun0 -m comment --comment "tsrun tsrun0" -j ACCEPT',
        '-A DOCKER-USER -j RETURN',
      ])
    }))

  it.each([['ip filter FORWARD'], ['inet filter forward']])(
    'names %s when it drops and is not ours to change',
    place =>
      onHost(async host => {
        const [family, table, chain] = place.split(' ')
        nft(
          host,
          `table ${family} ${table} { chain ${chain} { type filter hook forward priority 0; policy drop; }; }`,
        )
        const before = rulesOfOthers(host)
        expect((await attach(host)).blockedBy).toBe(place)
        expect(rulesOfOthers(host)).toEqual(before)
      }),
  )
})

describe.skipIf(needs.length > 0)('bridge_attach() refuses', () => {
  it.each([
    ['', '10.213.0.0/16', "read the bridge's name"],
    ['../../x', '10.213.0.0/16', "read the bridge's name"],
    ['1bridge', '10.213.0.0/16', "read the bridge's name"],
    ['sixteen-letters0', '10.213.0.0/16', "read the bridge's name"],
    ['tsrun0', '10.213.0.0', "read the bridge's subnet"],
    ['tsrun0', '10.213.0.1/16', "read the bridge's subnet"],
    ['tsrun0', '10.213.0.0/30', "read the bridge's subnet"],
    ['tsrun0', '10.0.0.0/7', "read the bridge's subnet"],
    ['tsrun0', '10.213.0.0/16x', "read the bridge's subnet"],
    ['tsrun0', '10.213.0.256/29', "read the bridge's subnet"],
  ])('the bridge "%s" with the subnet "%s"', (name, subnet, failedStep) =>
    onHost(async host => {
      expect(await attach(host, { name, subnet })).toEqual({
        monitor: expect.anything(),
        failedStep,
        error: 'EINVAL',
      })
    }),
  )

  it('an interface that is no bridge', () =>
    onHost(async host => {
      inside(host.pid, 'ip', 'link', 'add', 'tsrun0', 'type', 'veth')
      const failedStep = 'reuse the interface, which is no bridge'
      expect(await attach(host)).toMatchObject({ failedStep, error: 'EEXIST' })
    }))

  it('a bridge whose address is not the first of its subnet', () =>
    onHost(async host => {
      inside(host.pid, 'ip', 'link', 'add', 'tsrun0', 'type', 'bridge')
      inside(host.pid, 'ip', 'address', 'add', '10.9.0.254/24', 'dev', 'tsrun0')
      const failedStep = "use the bridge's address as the gateway"
      expect(await attach(host)).toMatchObject({ failedStep, error: 'EADDRINUSE' })
    }))

  it("a container in the host's own network namespace", () =>
    onHost(async host => {
      expect(await attach(host, { arguments: ['host'] })).toMatchObject({
        failedStep: "find the container outside the host's network namespace",
      })
    }))

  it('a caller without the rights, and leaves nothing', () =>
    onHost(async host => {
      const bounding = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin']
      const refused = await attach(host, { prefix: bounding })
      expect(refused).toMatchObject({ failedStep: 'create the bridge', error: 'EPERM' })
      expect(inside(host.pid, 'ip', '-br', 'link')).not.toContain('tsrun0')
    }))
})

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !condition(); i++) await delay(50)
  expect(condition()).toBe(true)
}
