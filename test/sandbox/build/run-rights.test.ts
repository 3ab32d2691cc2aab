/** What a RUN is given beyond its sandbox: rights by --allow, SSH agents by --ssh. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['root', 'busybox'], 'rights of a RUN', () => {
  let shop: Workshop
  let agent: Server
  let socket: string
  beforeAll(async () => {
    shop = await openWorkshop()
    shop.write({ x: '' })
    const source = join(import.meta.dirname, 'ask-socket.c')
    execFileSync('cc', ['-static', '-o', join(shop.directory, 'context/ask'), source])
    socket = join(shop.directory, 'agent.sock')
    agent = createServer(client =>
      client.on('data', chunk => {
        client.write(`agent heard ${chunk}`)
      }),
    )
    await new Promise<void>(resolve => {
      agent.listen(socket, resolve)
    })
    chmodSync(socket, 0o600)
  })
  afterAll(async () => {
    agent.close()
    await shop[Symbol.asyncDispose]()
  })

  it('R04 refuses the host’s network before anything runs, unless it is allowed', async () => {
    const dockerfile = 'FROM busybox\nRUN echo first\nRUN --network=host ls /sys/class/net | wc -l'
    await expect(shop.build(dockerfile)).rejects.toMatchObject({
      message: 'failed to solve: entitlement network.host is not allowed',
      excerpt: expect.stringContaining('>>> RUN --network=host'),
      hint: expect.stringContaining('--allow network.host'),
    })
    using built = await shop.build(dockerfile, { allowed: ['network.host'] })
    expect(built.log).toContain('first\n')
    expect(Number(built.log.trim().split('\n').at(-1))).toBe(readdirSync('/sys/class/net').length)
  })

  it('R05 runs without filter, masks and dropped capabilities only when that is allowed', async () => {
    const look =
      'grep -e CapEff -e Seccomp: /proc/self/status; cat /proc/sys/kernel/hostname > /dev/null; mount -t tmpfs none /mnt && echo mounted'
    const dockerfile = `FROM busybox\nRUN mkdir /mnt\nRUN --security=insecure ${look}`
    await expect(shop.build(dockerfile)).rejects.toThrow(
      'entitlement security.insecure is not allowed',
    )
    using built = await shop.build(dockerfile, { allowed: ['security.insecure'] })
    expect(built.log).toMatch(/Seccomp:\t0/)
    expect(built.log).toContain('mounted\n')
    using usual = await shop.build(`FROM busybox\nRUN mkdir /mnt\nRUN ${look}; true`)
    expect(usual.log).toMatch(/Seccomp:\t2/)
    expect(usual.log).not.toContain('mounted\n')
  })

  it('R06 refuses devices by name, with and without the right to them', async () => {
    const dockerfile = 'FROM busybox\nRUN --device=vendor.com/gpu=all true'
    await expect(shop.build(dockerfile)).rejects.toThrow(
      'device vendor.com/gpu=all is requested by the build but not allowed',
    )
    await expect(shop.build(dockerfile, { allowed: ['device'] })).rejects.toThrow(
      'RUN --device is not supported yet',
    )
  })

  it('R13 carries what a step says to the agent and back, also for another user', async () => {
    const ask = '--mount=source=ask,target=/ask'
    using built = await shop.build(
      `FROM busybox\nRUN ${ask} --mount=type=ssh echo $SSH_AUTH_SOCK; stat -c "%a %u" $SSH_AUTH_SOCK; /ask $SSH_AUTH_SOCK hello\nUSER nobody\nRUN ${ask} --mount=type=ssh,id=other,target=/tmp/a,uid=65534,mode=0660 /ask $SSH_AUTH_SOCK nobody\nRUN ${ask} --mount=type=ssh /ask $SSH_AUTH_SOCK x || echo refused`,
      { agents: { default: socket, other: socket } },
    )
    expect(built.log).toContain('/run/buildkit/ssh_agent.0\n600 0\nagent heard hello')
    expect(built.log).toContain('agent heard nobody')
    expect(built.log).toContain('refused')
    expect(built.root.exists('/run/buildkit')).toBe(false)
    expect(readdirSync(join(shop.directory, 'store/active'))).toEqual([])
  })

  it('R13 goes without an agent that was not given, unless it is required', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN --mount=type=ssh ls /run/buildkit 2> /dev/null; echo "[$SSH_AUTH_SOCK]"',
    )
    // As BuildKit: named, and not there.
    expect(built.log).toBe('[/run/buildkit/ssh_agent.0]\n')
    await expect(
      shop.build('FROM busybox\nRUN --mount=type=ssh,required true'),
    ).rejects.toMatchObject({
      message: expect.stringContaining('no SSH key "default" forwarded from the client'),
      hint: expect.stringContaining('--ssh default'),
    })
    const gone = join(shop.directory, 'gone')
    expect(existsSync(gone)).toBe(false)
    await expect(
      shop.build('FROM busybox\nRUN --mount=type=ssh true', { agents: { default: gone } }),
    ).rejects.toThrow('no socket')
  })
})
