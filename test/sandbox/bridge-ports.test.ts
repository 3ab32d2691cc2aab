/** Published ports, on hosts that are network namespaces: see bridge.test.ts. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  addNeighbour,
  ask,
  attach,
  compileDriver,
  inside,
  missingNeeds,
  onHost,
  removeDriver,
  serve,
} from './bridge-host.ts'

const needs = missingNeeds()

beforeAll(compileDriver, 60_000)
afterAll(removeDriver)

/** The container's port 7000, published. */
const publish = (address: string, port: number, protocol = 'tcp') => ({
  prefix: ['env', `PUBLISH=${address} ${port} 7000 ${protocol}`],
})

const tables = (pid: number) => inside(pid, 'nft', 'list', 'tables').match(/tsrun-\w+-\d+/g) ?? []

describe.skipIf(needs.length > 0)(
  `ports_publish() (needs ${needs.join(', ') || 'nothing'})`,
  () => {
    it('leads from another machine to the container, which sees who it is', () =>
      onHost(async host => {
        const outside = await addNeighbour(host)
        const container = await attach(host, publish('0.0.0.0', 8080))
        await serve(host, container.pid)
        expect(ask(outside, '198.51.100.1', 8080)).toBe('you are 198.51.100.2')
        expect(ask(outside, '198.51.100.1', 7000)).toMatch(/^failed/)
      }))

    it('leads from this machine, by 127.0.0.1 and by its own addresses', () =>
      onHost(async host => {
        await addNeighbour(host)
        const container = await attach(host, publish('0.0.0.0', 8080))
        await serve(host, container.pid)
        expect(ask(host.pid, '127.0.0.1', 8080)).toBe('you are 10.213.0.1')
        expect(ask(host.pid, '127.0.0.5', 8080)).toBe('you are 10.213.0.1')
        expect(ask(host.pid, '198.51.100.1', 8080)).toMatch(/^you are /)
      }))

    it('leads from containers, the published one among them, through the host (hairpin)', () =>
      onHost(async host => {
        await addNeighbour(host)
        const container = await attach(host, publish('0.0.0.0', 8080))
        const other = await attach(host)
        await serve(host, container.pid)
        expect(ask(other.pid, '198.51.100.1', 8080)).toBe('you are 10.213.0.1')
        expect(ask(container.pid, '198.51.100.1', 8080)).toBe('you are 10.213.0.1')
        expect(ask(other.pid, '10.213.0.1', 8080)).toBe('you are 10.213.0.1')
      }))

    it('on 127.0.0.1 is for this machine alone', () =>
      onHost(async host => {
        const outside = await addNeighbour(host)
        const container = await attach(host, publish('127.0.0.1', 8080))
        await serve(host, container.pid)
        expect(ask(host.pid, '127.0.0.1', 8080)).toBe('you are 10.213.0.1')
        expect(ask(outside, '198.51.100.1', 8080)).toMatch(/^failed/)
      }))

    it('CVE-2020-8558: containers do not reach what listens on 127.0.0.1 of the host', () =>
      onHost(async host => {
        await attach(host, publish('127.0.0.1', 8080))
        const other = await attach(host)
        await serve(host, host.pid, { address: '127.0.0.1', port: 7000 })
        // The way through the gateway instead of the container's own loopback device.
        inside(other.pid, 'ip', 'link', 'set', 'lo', 'down')
        inside(other.pid, 'ip', 'route', 'flush', 'table', 'local', 'dev', 'lo')
        inside(other.pid, 'ip', 'route', 'add', '127.0.0.1', 'via', '10.213.0.1', 'dev', 'eth0')
        inside(other.pid, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet')
        expect(ask(other.pid, '127.0.0.1', 7000)).toMatch(/^failed/)
        expect(ask(other.pid, '127.0.0.1', 8080)).toMatch(/^failed/)
      }))

    it('carries UDP', () =>
      onHost(async host => {
        const container = await attach(host, publish('0.0.0.0', 8080, 'udp'))
        const echo = `const socket = require('node:dgram').createSocket('udp4')
          socket.on('message', (text, from) => socket.send(text + '!', from.port, from.address))
          socket.bind(7000, () => console.log('bound'))`
        const server = spawn(
          'nsenter',
          [`--net=/proc/${container.pid}/ns/net`, '--', process.execPath, '-e', echo],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        )
        host.started.push(server)
        await once(server.stdout, 'data')
        const client = `const socket = require('node:dgram').createSocket('udp4')
          socket.on('message', text => { console.log(String(text)); process.exit() })
          setTimeout(() => process.exit(1), 2000)
          socket.send('ping', 8080, '127.0.0.1')`
        expect(inside(host.pid, process.execPath, '-e', client)).toBe('ping!\n')
      }))

    describe('on an IPv6 address', () => {
      it('leads from this machine and from others, and ends with the monitor', () =>
        onHost(async host => {
          const outside = await addNeighbour(host)
          const add = ['ip', '-6', 'address', 'add']
          inside(host.pid, ...add, '2001:db8::1/64', 'dev', 'up0', 'nodad')
          inside(outside, ...add, '2001:db8::2/64', 'dev', 'up1', 'nodad')
          const container = await attach(host, publish('::', 8080))
          await serve(host, container.pid)
          expect(ask(host.pid, '::1', 8080)).toBe('you are 10.213.0.1')
          expect(ask(outside, '2001:db8::1', 8080)).toBe('you are 10.213.0.1')
          // IPv4 is not meant.
          expect(ask(host.pid, '127.0.0.1', 8080)).toMatch(/^failed/)
          expect(await attach(host, publish('::1', 8080))).toMatchObject({ error: 'EADDRINUSE' })
          container.monitor.kill('SIGKILL')
          await once(container.monitor, 'exit')
          expect(ask(host.pid, '::1', 8080)).toMatch(/ECONNREFUSED/)
        }))

      it('carries what is large both ways, and the end of each way by itself', () =>
        onHost(async host => {
          const container = await attach(host, publish('::1', 8080))
          const echo = `require('node:net').createServer({ allowHalfOpen: true }, s => s.pipe(s))
            .listen(7000, '0.0.0.0', () => console.log('listening'))`
          const server = spawn(
            'nsenter',
            [`--net=/proc/${container.pid}/ns/net`, '--', process.execPath, '-e', echo],
            { stdio: ['ignore', 'pipe', 'inherit'] },
          )
          host.started.push(server)
          await once(server.stdout, 'data')
          const client = `const { createHash, randomBytes } = require('node:crypto')
            const sent = randomBytes(5_000_000), hash = createHash('sha256')
            const socket = require('node:net').connect({ port: 8080, host: '::1', allowHalfOpen: true })
            socket.on('data', data => hash.update(data))
            socket.on('end', () => console.log(hash.digest('hex') ===
              createHash('sha256').update(sent).digest('hex') ? 'same' : 'different'))
            socket.end(sent)`
          expect(inside(host.pid, process.execPath, '-e', client)).toBe('same\n')
          server.kill('SIGKILL')
          await once(server, 'exit')
          expect(ask(host.pid, '::1', 8080)).not.toMatch(/^you are/)
        }))

      it('carries UDP, to each sender its answers', () =>
        onHost(async host => {
          const container = await attach(host, publish('::1', 8080, 'udp'))
          const echo = `const socket = require('node:dgram').createSocket('udp4')
            socket.on('message', (text, from) => socket.send(text + '!', from.port, from.address))
            socket.bind(7000, () => console.log('bound'))`
          const server = spawn(
            'nsenter',
            [`--net=/proc/${container.pid}/ns/net`, '--', process.execPath, '-e', echo],
            { stdio: ['ignore', 'pipe', 'inherit'] },
          )
          host.started.push(server)
          await once(server.stdout, 'data')
          const client = `const heard = []
            for (const word of ['a', 'b', 'c']) {
              const socket = require('node:dgram').createSocket('udp6')
              socket.on('message', text => {
                heard.push(word + '=' + text)
                if (heard.length === 3) { console.log(heard.sort().join(' ')); process.exit() }
              })
              socket.send(word, 8080, '::1')
            }
            setTimeout(() => process.exit(1), 2000)`
          expect(inside(host.pid, process.execPath, '-e', client)).toBe('a=a! b=b! c=c!\n')
        }))

      it('is carried by a process without rights, files or descriptors of ours', () =>
        onHost(async host => {
          const { monitor } = await attach(host, publish('::1', 8080))
          const children = `/proc/${monitor.pid}/task/${monitor.pid}/children`
          const relay = readFileSync(children, 'utf8')
            .trim()
            .split(' ')
            .find(pid => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'tsrun-relay\n')
          const status = readFileSync(`/proc/${relay}/status`, 'utf8')
          expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m)
          expect(status).toMatch(/^CapPrm:\t0{16}$/m)
          expect(status).toMatch(/^NoNewPrivs:\t1$/m)
          const open = readdirSync(`/proc/${relay}/fd`).map(fd =>
            readlinkSync(`/proc/${relay}/fd/${fd}`),
          )
          expect(open.map(name => name.replace(/\d+/, 'N')).sort()).toEqual([
            'anon_inode:[eventpoll]',
            'socket:[N]',
          ])
        }))
    })

    it('finds a free port where none is named', () =>
      onHost(async host => {
        const container = await attach(host, publish('0.0.0.0', 0))
        await serve(host, container.pid)
        expect(container.port).toBeGreaterThan(1023)
        expect(ask(host.pid, '127.0.0.1', container.port)).toBe('you are 10.213.0.1')
      }))

    it('refuses a port that another container has, or that somebody listens on', () =>
      onHost(async host => {
        const taken = { failedStep: 'hold a port', error: 'EADDRINUSE' }
        await attach(host, publish('0.0.0.0', 8080))
        expect(await attach(host, publish('0.0.0.0', 8080))).toMatchObject(taken)
        expect(await attach(host, publish('127.0.0.1', 8080))).toMatchObject(taken)
        await serve(host, host.pid, { address: '127.0.0.1', port: 9000 })
        expect(await attach(host, publish('0.0.0.0', 9000))).toMatchObject(taken)
        expect(await attach(host, publish('192.0.2.1', 9000))).toMatchObject({
          error: 'EADDRNOTAVAIL',
        })
        expect(tables(host.pid)).toHaveLength(1)
      }))

    it('ends with the monitor, however that ends, and the port is free at once', () =>
      onHost(async host => {
        for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
          const container = await attach(host, publish('0.0.0.0', 8080))
          expect(tables(host.pid)).toHaveLength(1)
          container.monitor.kill(signal)
          await once(container.monitor, 'exit')
          expect(tables(host.pid)).toEqual([])
        }
        expect(await attach(host, publish('0.0.0.0', 8080))).toMatchObject({ port: 8080 })
      }))

    it('lets nobody else change its table', () =>
      onHost(async host => {
        await attach(host, publish('0.0.0.0', 8080))
        inside(host.pid, 'nft', 'flush', 'ruleset')
        expect(tables(host.pid)).toHaveLength(1)
      }))
  },
)
