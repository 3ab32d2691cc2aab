import { describe, expect, test } from 'vitest'
import {
  type ContainerOptions,
  containerCommand,
  containerSpec,
} from '../../../src/layerfs/runtime/container-spec.ts'
import { defaultPath, dockerCapabilities } from '../../../src/layerfs/sandbox/defaults.ts'
import type { RunConfig } from '../../../src/oci/image-config.ts'

const options: ContainerOptions = {
  command: [],
  env: [],
  network: 'bridge',
  mounts: [],
  volumes: [],
  terminal: false,
  readOnly: false,
  security: {
    capAdd: [],
    capDrop: [],
    privileged: false,
    seccomp: 'default',
    noNewPrivileges: false,
  },
  limits: {},
  extraHosts: [],
  dns: [],
  shmSize: 64 * 1024 * 1024,
  extras: {},
}

const base = {
  id: '0123456789abcdef'.repeat(4),
  root: { kind: 'directory', path: '/x', readOnly: true },
  user: { uid: 7, gid: 8, groups: [8, 9] },
  home: '/home/app',
  volumes: [],
} as const

function spec(config: RunConfig, changes: Partial<ContainerOptions> = {}) {
  return containerSpec({ Cmd: ['sh'], ...config }, { ...options, ...changes }, base)
}

describe('containerCommand()', () => {
  const image = { Entrypoint: ['/entry', '-x'], Cmd: ['default', 'arg'] }

  test.each<[string, RunConfig, Partial<ContainerOptions> & { argv: string[] }]>([
    ['entrypoint and cmd of the image', image, { argv: ['/entry', '-x', 'default', 'arg'] }],
    ['a command in place of cmd', image, { command: ['own'], argv: ['/entry', '-x', 'own'] }],
    ['an entrypoint in place of both', image, { entrypoint: ['/own'], argv: ['/own'] }],
    ['both', image, { entrypoint: ['/own'], command: ['a'], argv: ['/own', 'a'] }],
    ['no entrypoint', image, { entrypoint: [], command: ['a'], argv: ['a'] }],
    ['cmd alone', { Cmd: ['a'] }, { argv: ['a'] }],
  ])('takes %s', (_, config, { argv, ...changes }) => {
    expect(containerCommand(config, { ...options, ...changes })).toEqual(argv)
  })

  test('refuses an image without a command, with a hint', () => {
    expect(() => containerCommand({}, options)).toThrow(
      expect.objectContaining({
        code: 'invalid',
        hint: expect.stringContaining('after the image'),
      }),
    )
    expect(() => containerCommand(image, { ...options, entrypoint: [] })).toThrow('no command')
  })
})

describe('containerSpec()', () => {
  test('is docker’s container when nothing is asked for', () => {
    expect(spec({})).toEqual({
      root: base.root,
      readOnly: false,
      mounts: [],
      argv: ['sh'],
      env: [`PATH=${defaultPath}`, 'HOSTNAME=0123456789ab', 'HOME=/home/app'],
      cwd: '/',
      user: base.user,
      hostname: '0123456789ab',
      network: 'bridge',
      security: {
        capabilities: expect.arrayContaining([...dockerCapabilities]),
        seccomp: 'default',
        noNewPrivileges: false,
        paths: 'default',
        devices: 'default',
      },
      limits: {},
      extraHosts: [],
      dns: [],
      shmSize: 64 * 1024 * 1024,
      terminal: false,
      hostFiles: 'writable',
    })
    expect(spec({}).security.capabilities).toHaveLength(14)
  })

  test('lets the user’s variables win over the image’s, and those over the defaults', () => {
    const { env } = spec(
      { Env: ['PATH=/image', 'A=image', 'B=image', 'HOME=/image', 'EMPTY='] },
      { env: ['A=user', 'C=x=y', 'B'], terminal: true },
    )
    expect(env).toEqual([
      'PATH=/image',
      'HOSTNAME=0123456789ab',
      'TERM=xterm',
      'A=user',
      'HOME=/image',
      'EMPTY=',
      'C=x=y',
    ])
  })

  test('takes the host name from the user', () => {
    expect(spec({}, { hostname: 'box' })).toMatchObject({
      hostname: 'box',
      env: expect.arrayContaining(['HOSTNAME=box']),
    })
  })

  test.each([
    [undefined, undefined, '/'],
    ['/app', undefined, '/app'],
    ['app', undefined, '/app'],
    ['', undefined, '/'],
    ['/app', '/own', '/own'],
  ])('starts in WorkingDir %s, --workdir %s as %s', (image, own, cwd) => {
    const config = image === undefined ? {} : { WorkingDir: image }
    const changes = own === undefined ? {} : { workingDirectory: own }
    expect(spec(config, changes).cwd).toBe(cwd)
  })

  const capabilities = (changes: { capAdd?: string[]; capDrop?: string[]; privileged?: boolean }) =>
    spec({}, { security: { ...options.security, ...changes } }).security.capabilities

  test('adds and drops capabilities as docker does', () => {
    expect(capabilities({ capDrop: ['all'], capAdd: ['net_bind_service'] })).toEqual([
      'CAP_NET_BIND_SERVICE',
    ])
    expect(capabilities({ capAdd: ['SYS_ADMIN'] })).toHaveLength(15)
    expect(capabilities({ capDrop: ['CAP_CHOWN', 'Mknod'] })).toHaveLength(12)
    expect(capabilities({ capAdd: ['ALL'] })).toHaveLength(41)
    expect(capabilities({ capAdd: ['ALL'], capDrop: ['SYS_ADMIN'] })).toHaveLength(40)
    expect(capabilities({ capDrop: ['ALL'] })).toEqual([])
    expect(capabilities({ privileged: true })).toHaveLength(41)
  })

  test('refuses an unknown capability, with the one that may be meant', () => {
    expect(() => capabilities({ capAdd: ['SYS_ADMN'] })).toThrow(
      expect.objectContaining({ code: 'invalid', hint: 'Did you mean CAP_SYS_ADMIN?' }),
    )
  })

  test('opens everything for a privileged container', () => {
    const { security } = spec({}, { security: { ...options.security, privileged: true } })
    expect(security).toMatchObject({ seccomp: 'unconfined', paths: 'unmasked' })
  })
})
