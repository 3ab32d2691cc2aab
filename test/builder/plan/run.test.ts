// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { arm64, type Given, lastStep, planFailure, planTarget } from './planning.ts'

const run = (text: string, given?: Given) => lastStep('run', `FROM a\n${text}`, given)
const mounts = (text: string) => run(`RUN ${text} x`).mounts

describe('RUN', () => {
  test('R01: the shell form goes to the shell as one argument, unexpanded (V10)', () => {
    expect(run('ENV A=1\nRUN echo "$A"  b').argv).toEqual(['/bin/sh', '-c', 'echo "$A"  b'])
  })

  test('R01: the exec form is run as it is', () => {
    expect(run('RUN ["a", "$B"]').argv).toEqual(['a', '$B'])
  })

  test('I04: SHELL replaces the shell, also a base’s', () => {
    expect(run('SHELL ["bash", "-ec"]\nRUN a').argv).toEqual(['bash', '-ec', 'a'])
    const bases = { a: { Shell: ['zsh', '-c'] } }
    expect(run('RUN a', { bases }).argv).toEqual(['zsh', '-c', 'a'])
  })

  test('R02: runs in WORKDIR as USER with ENV and ARG', () => {
    const step = run('ARG B=2\nENV A=1\nUSER u:g\nWORKDIR /w\nWORKDIR x\nRUN a')
    expect(step).toMatchObject({ cwd: '/w/x', user: 'u:g', env: ['PATH=/bin', 'B=2', 'A=1'] })
  })

  test('R02: inherits WORKDIR and USER from the base', () => {
    const bases = { a: { WorkingDir: '/w/', User: '5' } }
    expect(run('RUN a', { bases })).toMatchObject({ cwd: '/w', user: '5' })
    expect(run('RUN a')).toMatchObject({ cwd: '/', user: '' })
  })

  test('R04, R05, R06: network, security and devices', () => {
    expect(run('RUN --network=host --security=insecure --device=d a')).toMatchObject({
      network: 'host',
      security: 'insecure',
      devices: [{ name: 'd', required: false }],
    })
  })

  test('H05: a heredoc alone is the script', () => {
    const step = run('RUN <<E\necho $A\nE')
    expect(step.argv).toEqual(['/bin/sh', '-c', 'echo $A\n'])
    expect(step.scripts).toEqual([])
    expect(step.displayName).toBe('[2/2] RUN <<E (echo $A)')
  })

  test('H05: one that begins with #! is a file', () => {
    const step = run('RUN <<E\n#!/usr/bin/python3\nprint()\nE')
    expect(step.argv).toEqual(['/bin/sh', '-c', '/dev/pipes/E'])
    expect(step.scripts).toEqual([
      { path: '/dev/pipes/E', content: '#!/usr/bin/python3\nprint()\n' },
    ])
  })

  test('H05: <<- loses its tabs', () => {
    expect(run('RUN <<-E\n\ta\n\tE').argv.at(-1)).toBe('a\n')
  })

  test('H06: with a command the shell gets everything', () => {
    expect(run('RUN cat <<A <<B >f\n1\nA\n2\nB').argv.at(-1)).toBe('cat <<A <<B >f\n1\nA\n2\nB')
  })

  test('O03: history tells the ARGs and the command', () => {
    expect(run('ARG A=1 B\nRUN ["x", "y"]').historyText).toBe('RUN |2 A=1 B= x y # buildkit')
  })

  test('R18: adds a history entry with a layer', () => {
    const { image } = planTarget('FROM scratch\nRUN true')
    expect(image.history).toEqual([
      { created_by: 'RUN /bin/sh -c true # buildkit', comment: 'buildkit.dockerfile.v0' },
    ])
  })
})

describe('the name of a step', () => {
  test('shows what variables hold, and leaves the rest alone', () => {
    expect(run('ENV A=1\nrun echo "$A" \\$A \'$A\' $B').displayName).toBe(
      `[2/2] RUN echo "1" \\$A '$A' $B`,
    )
  })

  test('A10: a variable that a secret fills is stars', () => {
    const step = run('ENV T=old\nRUN --mount=type=secret,id=t,env=T login $T')
    expect(step.displayName).toBe('[stage-0 2/2] RUN --mount=type=secret,id=t,env=T login ****')
  })

  test('tells stage, number and platform', () => {
    const text = `FROM a\nFROM a AS b\n${'RUN c\n'.repeat(9)}`
    const given = { isMultiPlatform: true, targetPlatform: arm64 }
    const names = planTarget(text, given).steps.map(step => step.displayName)
    expect(names[0]).toBe('[linux/arm64 b  2/10] RUN c')
    expect(names.at(-1)).toBe('[linux/arm64 b 10/10] RUN c')
  })

  test('tells what is built for another platform', () => {
    const text = 'FROM a\nFROM --platform=$BUILDPLATFORM a AS b\nARG TARGETARCH\nRUN c'
    const given = { isMultiPlatform: true, targetPlatform: arm64 }
    expect(lastStep('run', text, given).displayName).toBe('[linux/amd64->arm64 b 2/2] RUN c')
  })

  test('does not count what changes no files, nor scratch', () => {
    const names = planTarget(
      'FROM scratch\nENV A=1\nWORKDIR /x\nCOPY a b\nFROM scratch\nRUN d\nCOPY --from=0 x y',
    )
    expect(names.steps.map(step => step.displayName)).toEqual([
      '[stage-1 1/2] RUN d',
      '[stage-1 2/2] COPY --from=0 x y',
    ])
  })
})

describe('mounts', () => {
  test('R09: bind, read-only, the whole context by default', () => {
    expect(mounts('--mount=target=/t')).toEqual([
      { kind: 'bind', from: { kind: 'context' }, source: '/', target: '/t', readOnly: true },
    ])
    expect(mounts('--mount=from=img,source=../x,target=/t/,rw')).toMatchObject([
      { from: { kind: 'image' }, source: '/x', target: '/t', readOnly: false },
    ])
  })

  test('R10: a cache is named after its target, and its owner where one is asked for', () => {
    expect(mounts('--mount=type=cache,target=/a/../c/')).toEqual([
      {
        kind: 'cache',
        id: '/c',
        from: { kind: 'scratch' },
        source: '/',
        target: '/c',
        readOnly: false,
        sharing: 'shared',
      },
    ])
    expect(
      mounts('--mount=type=cache,id=i,target=/c,sharing=locked,uid=1,gid=2,mode=0700'),
    ).toMatchObject([{ id: 'i (1:2 700)', sharing: 'locked', uid: 1, gid: 2, mode: 0o700 }])
  })

  test('R11: a tmpfs of a size', () => {
    expect(mounts('--mount=type=tmpfs,target=/t,size=1k')).toEqual([
      { kind: 'tmpfs', target: '/t', readOnly: false, size: 1024 },
    ])
  })

  test('R12: a secret is a file, a variable, or both', () => {
    const [file, named, onlyEnv, both, fromTarget] = mounts(
      '--mount=type=secret,id=a/b --mount=type=secret,id=a,target=/x --mount=type=secret,id=a,env=A --mount=type=secret,id=a,env=A,target=/x --mount=type=secret,target=/x/y,required',
    )
    expect(file).toEqual({ kind: 'secret', id: 'a/b', target: '/run/secrets/b', required: false })
    expect(named).toMatchObject({ target: '/x' })
    expect(onlyEnv).toEqual({ kind: 'secret', id: 'a', env: 'A', required: false })
    expect(both).toMatchObject({ env: 'A', target: '/x' })
    expect(fromTarget).toMatchObject({ id: 'y', target: '/x/y', required: true })
  })

  test('R13: ssh', () => {
    expect(mounts('--mount=type=ssh')).toEqual([{ kind: 'ssh', id: 'default', required: false }])
    expect(planFailure('FROM a\nRUN --mount=type=ssh,src=x b').message).toBe(
      'ssh does not support source',
    )
  })

  test('R14: relative targets are resolved on WORKDIR', () => {
    const step = run('WORKDIR /w\nRUN --mount=target=x --mount=type=secret,id=a,target=y b')
    expect(step.mounts).toMatchObject([{ target: '/w/x' }, { target: '/w/y' }])
  })

  test('R10, A09: BUILDKIT_CACHE_MOUNT_NS sets caches apart', () => {
    const buildArgs = { BUILDKIT_CACHE_MOUNT_NS: 'team' }
    expect(run('RUN --mount=type=cache,target=/c x', { buildArgs }).mounts).toMatchObject([
      { id: 'team/c' },
    ])
  })

  test('V09: option values are expanded', () => {
    expect(run('ARG D=/d\nRUN --mount=type=cache,target=$D/c b').mounts).toMatchObject([
      { target: '/d/c', id: '/d/c' },
    ])
  })

  test('R08: refuses the root, at the instruction', () => {
    const error = planFailure('FROM a\nRUN --mount=target=/ b')
    expect(error.message).toBe('invalid mount target "/"')
    expect(error.span?.startLine).toBe(2)
  })

  test('R08: refuses keys that are unknown', () => {
    expect(planFailure('FROM a\nRUN --mount=typ=tmpfs,target=/x b').message).toBe(
      "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)",
    )
  })
})
