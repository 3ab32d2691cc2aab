/** Real clients, each as a row: how it logs in, copies from one name to another, and logs out. */
import { cpSync, existsSync, readFileSync } from 'node:fs'
import type { Need } from '../support/requires.ts'
import { type DockerDaemon, startDocker } from './docker-daemon.ts'
import { attempt, type Finished } from './process.ts'
import type { Workspace } from './workspace.ts'

export interface Client {
  readonly name: string
  readonly needs: readonly Need[]
  login(address: string, user: string, password: string): Promise<Finished>
  logout(address: string): Promise<Finished>
  /** From one name to another, both of one registry that speaks plain HTTP. */
  copy(from: string, to: string): Promise<Finished>
  /**
   * The same over TLS, with the certificate that a folder has: `ca.crt`, `client.cert`, `client.key`.
   * Absent where the client cannot have one.
   */
  copyCertified?(from: string, to: string, folder: string): Promise<Finished>
}

export interface Clients {
  readonly all: readonly Client[]
  /** Runs one with the login of its own that it has here. */
  call(program: string, args: readonly string[], stdin?: string): Promise<Finished>
  /** To be called before the workspace is closed. */
  stop(): Promise<void>
}

export function openClients(work: Workspace): Clients {
  const call: Clients['call'] = (program, args, stdin) =>
    attempt(program, args, {
      env: { ...homeOf(work, program), COSIGN_PASSWORD: '' },
      ...(stdin === undefined ? {} : { stdin }),
    })
  const docker = dockerClient(work)
  const all = [
    docker.client,
    podmanClient(work),
    skopeoClient(call),
    craneClient(call),
    regctlClient(call),
    orasClient(call),
    cosignClient(call),
  ]
  return { all, call, stop: docker.stop }
}

type Call = Clients['call']

/** Credentials of one client are not another's. */
function homeOf(work: Workspace, name: string): Readonly<Record<string, string | undefined>> {
  const home = work.path(`home-${name}`)
  if (!existsSync(home)) work.write(`home-${name}`, { 'auth.json': '{}' })
  return { ...work.env, HOME: home, DOCKER_CONFIG: home, REGISTRY_AUTH_FILE: `${home}/auth.json` }
}

/** The first that fails, or the last. */
async function inTurn(...steps: readonly (() => Promise<Finished>)[]): Promise<Finished> {
  let last: Finished = { code: 0, stdout: '', stderr: '' }
  for (const step of steps) {
    last = await step()
    if (last.code !== 0) return last
  }
  return last
}

const registryOf = (name: string) => name.slice(0, name.indexOf('/'))

function dockerClient(work: Workspace): { client: Client; stop(): Promise<void> } {
  const settings = work.path('docker-settings')
  let daemon: Promise<DockerDaemon> | undefined
  const docker = async (...args: string[]): Promise<Finished> => {
    daemon ??= startDocker(work, [], settings)
    const config = ['--config', work.path('home-docker')]
    return (await daemon)
      .docker([...config, ...args])
      .catch(error => ({ code: 1, stdout: '', stderr: String(error) }))
  }
  const copy = (from: string, to: string) =>
    inTurn(
      () => docker('pull', '-q', from),
      () => docker('tag', from, to),
      () => docker('push', '-q', to),
    )
  const client: Client = {
    name: 'docker',
    needs: ['docker'],
    login: (address, user, password) => docker('login', '-u', user, '-p', password, address),
    logout: address => docker('logout', address),
    copy,
    copyCertified: (from, to, folder) => {
      // Of 127.0.0.0/8 it verifies nothing, and shows no certificate; this is the same machine.
      const [source, target] = [from, to].map(name => name.replace('127.0.0.1', '0.0.0.0'))
      cpSync(folder, `${settings}/certs.d/${registryOf(`${target}`)}`, { recursive: true })
      return copy(`${source}`, `${target}`)
    },
  }
  return { client, stop: async () => void (await (await daemon)?.stop()) }
}

function podmanClient(work: Workspace): Client {
  const podman = (...args: string[]) => {
    const settings = work.write('podman-settings', {
      'containers.conf': '[containers]\ndefault_ulimits = []\n',
    })
    const state = [
      ...['--root', work.path('podman'), '--runroot', work.path('podman-run')],
      ...['--tmpdir', work.path('podman-tmp'), '--storage-driver', 'vfs'],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
    ]
    const env = { ...homeOf(work, 'podman'), CONTAINERS_CONF: `${settings}/containers.conf` }
    return attempt('podman', [...state, ...args], { env })
  }
  const copyWith = (flag: string) => (from: string, to: string) =>
    inTurn(
      () => podman('pull', '-q', flag, from),
      () => podman('push', '-q', flag, from, `docker://${to}`),
    )
  return {
    name: 'podman',
    needs: ['podman'],
    login: (address, user, password) =>
      podman('login', '--tls-verify=false', '-u', user, '-p', password, address),
    logout: address => podman('logout', address),
    copy: copyWith('--tls-verify=false'),
    copyCertified: (from, to, folder) => copyWith(`--cert-dir=${folder}`)(from, to),
  }
}

function skopeoClient(call: Call): Client {
  const copy = (from: string, to: string, flags: readonly string[]) =>
    call('skopeo', ['copy', ...flags, `docker://${from}`, `docker://${to}`])
  return {
    name: 'skopeo',
    needs: ['skopeo'],
    login: (address, user, password) => {
      const flags = ['--tls-verify=false', '-u', user, '--password-stdin']
      return call('skopeo', ['login', ...flags, address], password)
    },
    logout: address => call('skopeo', ['logout', address]),
    copy: (from, to) => copy(from, to, ['--src-tls-verify=false', '--dest-tls-verify=false']),
    copyCertified: (from, to, folder) =>
      copy(from, to, [`--src-cert-dir=${folder}`, `--dest-cert-dir=${folder}`]),
  }
}

function craneClient(call: Call): Client {
  return {
    name: 'crane',
    needs: ['crane'],
    // It stores what it is given, and does not ask whether it is right.
    login: (address, user, password) =>
      inTurn(
        () => call('crane', ['auth', 'login', address, '-u', user, '-p', password]),
        () => call('crane', ['catalog', '--insecure', address]),
      ),
    logout: address => call('crane', ['auth', 'logout', address]),
    copy: (from, to) => call('crane', ['copy', '--insecure', from, to]),
  }
}

function regctlClient(call: Call): Client {
  const set = (address: string, ...flags: string[]) =>
    call('regctl', ['registry', 'set', '--skip-check', ...flags, address])
  const copy = (from: string, to: string) => call('regctl', ['image', 'copy', from, to])
  const file = (path: string) => readFileSync(path, 'utf8')
  return {
    name: 'regctl',
    needs: ['regctl'],
    login: (address, user, password) =>
      inTurn(
        () => set(address, '--tls', 'disabled'),
        () => call('regctl', ['registry', 'login', '-u', user, '-p', password, address]),
      ),
    logout: address => call('regctl', ['registry', 'logout', address]),
    copy: (from, to) =>
      inTurn(
        () => set(registryOf(to), '--tls', 'disabled'),
        () => copy(from, to),
      ),
    copyCertified: (from, to, folder) =>
      inTurn(
        () =>
          set(
            registryOf(to),
            ...['--tls', 'enabled', '--cacert', file(`${folder}/ca.crt`)],
            ...['--client-cert', file(`${folder}/client.cert`)],
            ...['--client-key', file(`${folder}/client.key`)],
          ),
        () => copy(from, to),
      ),
  }
}

function orasClient(call: Call): Client {
  const certificates = (side: 'from' | 'to', folder: string) => [
    ...[`--${side}-ca-file`, `${folder}/ca.crt`],
    ...[`--${side}-cert-file`, `${folder}/client.cert`],
    ...[`--${side}-key-file`, `${folder}/client.key`],
  ]
  return {
    name: 'oras',
    needs: ['oras'],
    login: (address, user, password) =>
      call('oras', ['login', '--plain-http', '-u', user, '--password-stdin', address], password),
    logout: address => call('oras', ['logout', address]),
    copy: (from, to) => call('oras', ['cp', '--from-plain-http', '--to-plain-http', from, to]),
    copyCertified: (from, to, folder) =>
      call('oras', [
        'cp',
        ...certificates('from', folder),
        ...certificates('to', folder),
        from,
        to,
      ]),
  }
}

/** What cosign takes to reach a registry with the certificate of a folder. */
export const cosignCertificates = (folder: string): readonly string[] => [
  ...['--registry-cacert', `${folder}/ca.crt`],
  ...['--registry-client-cert', `${folder}/client.cert`],
  ...['--registry-client-key', `${folder}/client.key`],
]

function cosignClient(call: Call): Client {
  const copy = (from: string, to: string, flags: readonly string[]) =>
    call('cosign', ['copy', ...flags, from, to])
  return {
    name: 'cosign',
    needs: ['cosign'],
    // As crane; what is asked for then is there in every registry of these tests.
    login: (address, user, password) =>
      inTurn(
        () => call('cosign', ['login', address, '-u', user, '--password-stdin'], password),
        () => call('cosign', ['tree', '--allow-http-registry', `${address}/public/app:1`]),
      ),
    // It has no such command.
    logout: async address => {
      const args = ['login', address, '-u', 'nobody', '--password-stdin']
      return call('cosign', args, 'logged out')
    },
    copy: (from, to) => copy(from, to, ['--allow-http-registry']),
    copyCertified: (from, to, folder) => copy(from, to, cosignCertificates(folder)),
  }
}
