import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('steps of a build (need root)', () => {
  let shop: Workshop

  beforeAll(async () => {
    shop = await openWorkshop()
    shop.write({ 'f.txt': 'content' })
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  describe('RUN', () => {
    it('R01 R02 runs the shell form by SHELL and the exec form without one, in WORKDIR', async () => {
      using built = await shop.build(
        'FROM busybox\nWORKDIR /w\nRUN pwd; echo "$0"\nRUN ["/bin/echo", "$HOME"]\nSHELL ["/bin/sh", "-xc"]\nRUN true traced',
      )
      expect(built.log).toContain('/w\n')
      expect(built.log).toContain('$HOME\n')
      expect(built.log).toContain('+ true traced')
    })

    it('A05 R02 sees ENV and ARG, which reach neither each other’s image config', async () => {
      using built = await shop.build(
        'FROM busybox\nARG A=1\nENV E=2\nRUN echo "A=$A E=$E PATH=$PATH HOME=$HOME"',
        { buildArgs: { A: 'given' } },
      )
      expect(built.log).toContain('A=given E=2 PATH=/usr/local/sbin:')
      expect(built.log).toContain('HOME=/root')
      expect(built.result.config.config.Env).toEqual([
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'E=2',
      ])
      expect(built.result.config.history.at(-1)?.created_by).toContain('RUN |1 A=given /bin/sh -c')
    })

    it('R03 fails with the exit code in BuildKit’s words and the lines of the Dockerfile', async () => {
      await expect(shop.build('FROM busybox\nRUN echo no; exit 7')).rejects.toMatchObject({
        message:
          'failed to solve: process "/bin/sh -c echo no; exit 7" did not complete successfully: exit code: 7',
        excerpt: expect.stringContaining('   2 | >>> RUN echo no; exit 7'),
      })
      await expect(shop.build('FROM busybox\nRUN <<E\necho "\nexit 3\nE')).rejects.toThrow(
        'process "/bin/sh -c echo \\"\\nexit 3\\n" did not complete successfully: exit code: 2',
      )
    })

    it('R03 says which program an image lacks', async () => {
      await expect(shop.build('FROM scratch\nRUN x')).rejects.toThrow(/\/bin\/sh/)
      await expect(shop.build('FROM busybox\nRUN ["nope"]')).rejects.toThrow(/nope/)
    })

    it('I07 runs as USER, and refuses a name that the image does not know', async () => {
      using built = await shop.build('FROM busybox\nUSER nobody\nRUN id -u; id -g')
      expect(built.log).toBe('65534\n65534\n')
      await expect(shop.build('FROM busybox\nUSER ghost\nRUN true')).rejects.toThrow(
        'process "/bin/sh -c true" did not complete successfully: unable to find user ghost: no matching entries in passwd file',
      )
    })

    it('K02 has the limits it was given; they are in no cache key', async () => {
      const dockerfile = 'FROM busybox\nRUN ulimit -n; ulimit -Hn'
      const resourceLimits = [{ name: 'nofile', soft: 77, hard: 99 }]
      using built = await shop.build(dockerfile, { resourceLimits })
      expect(built.log).toBe('77\n99\n')
      using again = await shop.build(dockerfile)
      expect(again.worked).toEqual([])
    })

    it('R17 leaves nothing of the sandbox in the layer', async () => {
      using built = await shop.build('FROM busybox\nRUN cat /etc/hosts > /dev/null; touch /only')
      const names = readdirSync(`/proc/self/fd/${built.root.fd}`)
      expect(names).toContain('only')
      for (const name of ['proc', 'sys', 'dev', '.dockerenv']) expect(names).not.toContain(name)
      expect(built.root.exists('/etc/resolv.conf')).toBe(false)
      expect(built.root.exists('/etc/hosts')).toBe(false)
    })

    it('R18 keeps layers and history in step when a command changes nothing', async () => {
      using built = await shop.build('FROM busybox\nRUN true\nRUN true')
      const entries = built.result.config.history.filter(entry => entry.empty_layer !== true)
      expect(built.result.layers).toHaveLength(entries.length)
    })

    it('O09 O10 records removals, replacements and new times', async () => {
      using built = await shop.build(
        'FROM busybox\nRUN mkdir -p /d/sub && echo 1 > /d/f && echo 2 > /g\nRUN rm -r /d/sub && rm /g && mkdir /g && rm /d/f && ln -s x /d/f',
      )
      expect(built.root.exists('/d/sub')).toBe(false)
      expect(built.describe('/g')).toBe('40755 0:0')
      expect(built.describe('/d/f')).toBe('120777 0:0 1')
    })

    it('H05 H06 runs heredocs as scripts of the shell and of an interpreter', async () => {
      using built = await shop.build(
        'FROM busybox\nRUN <<EOF\necho one\necho two\nEOF\nRUN <<EOF\n#!/bin/busybox sh\necho "by $0"\nEOF\nRUN cat <<A > /from\ntext $HOME\nA\n',
      )
      expect(built.log).toContain('one\ntwo\n')
      expect(built.log).toMatch(/by .*EOF/)
      expect(built.read('/from')).toBe('text /root\n')
    })

    it('R11 R12 mounts tmpfs and secrets that reach neither the layer nor the cache key', async () => {
      const dockerfile =
        'FROM busybox\nRUN --mount=type=tmpfs,target=/t --mount=type=secret,id=s --mount=type=secret,id=e,env=TOKEN touch /t/x; cat /run/secrets/s; stat -c %a /run/secrets/s; echo "token $TOKEN"'
      using built = await shop.build(dockerfile, { secrets: { s: 'hush', e: 'abc' } })
      expect(built.log).toBe('hush400\ntoken abc\n')
      expect(built.root.exists('/t')).toBe(false)
      expect(built.root.exists('/run')).toBe(false)
      using again = await shop.build(dockerfile, { secrets: { s: 'changed', e: 'too' } })
      expect(again.worked).toEqual([])
    })

    it('R12 refuses a required secret that was not given, and skips one that is not', async () => {
      const mount = (more: string) =>
        `FROM busybox\nRUN --mount=type=secret,id=nope${more} ls /run/secrets 2>&1 || true`
      await expect(shop.build(mount(',required=true'))).rejects.toThrow('secret nope: not found')
      using built = await shop.build(mount(''))
      expect(built.log).toContain('No such file')
    })

    it('R10 keeps cache mounts between builds and out of the image', async () => {
      const step = (text: string) =>
        `FROM busybox\nRUN --mount=type=cache,target=/cache,mode=0700,uid=5 cat /cache/* 2>/dev/null; stat -c '%a %u' /cache; echo ${text} >> /cache/log`
      using first = await shop.build(step('one'))
      expect(first.log).toBe('700 5\n')
      using second = await shop.build(step('two'))
      expect(second.log).toBe('one\n700 5\n')
      expect(second.root.exists('/cache')).toBe(false)
    })

    it('R04 gives a step no network when it asks for none', async () => {
      using built = await shop.build('FROM busybox\nRUN --network=none ip link | grep -c :')
      expect(built.log.trim()).toMatch(/^[12]$/)
    })
  })

  describe('WORKDIR', () => {
    it('I12 makes directories for the current user, relative to the one before', async () => {
      using built = await shop.build(
        'FROM busybox\nUSER 12:34\nWORKDIR /a/b\nWORKDIR c\nWORKDIR /tmp',
      )
      expect(built.describe('/a/b/c')).toBe('40755 12:34')
      expect(built.describe('/tmp')).toMatch(/^4\d+ 0:0$/)
      expect(built.result.config.config.WorkingDir).toBe('/tmp')
    })

    it('does not make directories of the host through a link of the image', async () => {
      const marker = `/tsbuild-escape-${process.pid}`
      using built = await shop.build(
        `FROM busybox\nRUN ln -s /../../../.. /out\nWORKDIR /out${marker}`,
      )
      expect(built.root.exists(marker)).toBe(true)
      expect(() => readdirSync(marker)).toThrow('ENOENT')
    })
  })

  describe('stages', () => {
    it('F09 runs only what the target needs', async () => {
      using built = await shop.build(
        'FROM busybox AS unused\nRUN exit 1\nFROM nowhere.invalid/none AS worse\nFROM busybox AS a\nRUN echo a > /a\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=2 /a /again',
      )
      expect(built.read('/a')).toBe('a\n')
      expect(built.read('/again')).toBe('a\n')
    })

    it('F04 builds a stage on a stage with its files, config, ARGs and history', async () => {
      using built = await shop.build(
        'FROM busybox AS base\nARG X=1\nENV Y=2\nWORKDIR /w\nRUN echo base > f\nFROM base\nRUN cat f; echo "$X $Y"',
      )
      expect(built.log).toContain('base\n1 2\n')
      const created = built.result.config.history.map(entry => entry.created_by ?? '')
      expect(created.some(text => text.includes('echo base > f'))).toBe(true)
      expect(built.result.config.history.every(entry => entry.created !== undefined)).toBe(true)
    })

    it('F08 stops at --target, by name or number', async () => {
      const dockerfile = 'FROM busybox AS one\nRUN echo 1 > /1\nFROM one AS two\nRUN exit 9'
      for (const target of ['one', '0']) {
        using built = await shop.build(dockerfile, { target })
        expect(built.read('/1')).toBe('1\n')
      }
      await expect(shop.build(dockerfile, { target: 'tow' })).rejects.toThrow('did you mean two')
    })

    it('F14 K14 runs stages that do not need each other side by side', async () => {
      const wait =
        'RUN touch /meet/$ME; for i in $(seq 100); do [ -e /meet/$OTHER ] && exit 0; sleep 0.1; done; exit 1'
      const mount = '--mount=type=cache,id=meet,target=/meet'
      const stage = (me: string, other: string) =>
        `FROM busybox AS ${me}\nENV ME=${me} OTHER=${other}\n${wait.replace('RUN', `RUN ${mount}`)}\n`
      using built = await shop.build(
        `${stage('a', 'b')}${stage('b', 'a')}FROM scratch\nCOPY --from=a /bin/true /a\nCOPY --from=b /bin/true /b`,
      )
      expect(built.worked).toHaveLength(4)
    })

    it('I14 fires ONBUILD triggers of a stage right after FROM', async () => {
      using built = await shop.build(
        'FROM busybox AS b\nONBUILD COPY f.txt /t/\nONBUILD RUN cat /t/f.txt\nFROM b\nRUN echo after',
      )
      expect(built.log).toBe('contentafter\n')
      expect(built.result.config.config.OnBuild).toBeUndefined()
    })
  })

  describe('the cache', () => {
    it('K07 is not disturbed by metadata below a step', async () => {
      using first = await shop.build('FROM busybox\nLABEL a=1\nRUN echo kept > /k')
      using again = await shop.build('FROM busybox\nLABEL a=2\nEXPOSE 80\nRUN echo kept > /k')
      expect(first.worked).toHaveLength(1)
      expect(again.worked).toEqual([])
    })

    it('says which argument changed', async () => {
      const dockerfile = 'FROM busybox\nARG VERSION\nRUN echo $VERSION > /v'
      using _first = await shop.build(dockerfile, { buildArgs: { VERSION: '1' } })
      using again = await shop.build(dockerfile, { buildArgs: { VERSION: '2' } })
      expect(again.misses).toEqual(['ARG VERSION changed: 1 → 2'])
    })

    it('K10 is left aside for all stages, or for those that are named', async () => {
      const dockerfile =
        'FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS b\nCOPY --from=a /a /\nRUN echo b'
      using _first = await shop.build(dockerfile)
      using some = await shop.build(dockerfile, { rerun: ['a'] })
      expect(some.worked.filter(name => name.includes('RUN'))).toEqual([
        expect.stringContaining('RUN echo a > /a'),
      ])
      using all = await shop.build(dockerfile, { rerun: 'all' })
      expect(all.worked.filter(name => name.includes('RUN'))).toHaveLength(2)
    })

    it('gives the same config, to the byte, when everything is cached', async () => {
      const dockerfile = 'FROM busybox\nENV A=1\nRUN echo same > /s\nCMD ["x"]'
      using first = await shop.build(dockerfile)
      using again = await shop.build(dockerfile)
      expect(again.result.config).toEqual(first.result.config)
    })

    it('never runs the same step twice at once', async () => {
      const dockerfile =
        'FROM busybox\nRUN sleep 0.4; echo ran-$(cat /proc/sys/kernel/random/uuid) > /id'
      const builds = await Promise.all([1, 2, 3].map(() => shop.build(dockerfile)))
      const ids = builds.map(built => built.read('/id'))
      for (const built of builds) built[Symbol.dispose]()
      expect(new Set(ids).size).toBe(1)
    })
  })

  describe('an interrupted build', () => {
    it('ends the step’s processes, leaves nothing active, and the next one works', async () => {
      const stop = new AbortController()
      const running = shop.build(`FROM busybox\nRUN sleep 98.7${process.pid}`, {
        signal: stop.signal,
      })
      await pause(700)
      stop.abort(new Error('interrupted'))
      await expect(running).rejects.toThrow('interrupted')
      expect(processesWith(`98.7${process.pid}`)).toEqual([])
      expect(readdirSync(join(shop.store.root, 'active'))).toEqual([])
      using built = await shop.build('FROM busybox\nRUN echo fine')
      expect(built.log).toBe('fine\n')
    })

    it('cancels a step when another one fails', async () => {
      const begun = Date.now()
      await expect(
        shop.build(
          `FROM busybox AS slow\nRUN sleep 97.6${process.pid}\nFROM busybox AS bad\nRUN sleep 0.2; exit 4\nFROM scratch\nCOPY --from=slow / /\nCOPY --from=bad / /`,
        ),
      ).rejects.toThrow('exit code: 4')
      expect(Date.now() - begun).toBeLessThan(30_000)
      expect(processesWith(`97.6${process.pid}`)).toEqual([])
    })
  })
})

function processesWith(argument: string): string[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        return line.includes(argument) ? [line.join(' ')] : []
      } catch {
        return []
      }
    })
}
