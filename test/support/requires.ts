/**
 * What tests need of a machine. Where it is missing they are skipped, and their title says what for.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe } from 'vitest'
import { findBuildingClient } from './reference-docker.ts'

const anyUser = ['--reuid', '4000', '--regid', '4000', '--clear-groups']

/** Each tells what is missing, or nothing. */
const checks = {
  root: () => (process.getuid?.() === 0 ? undefined : 'root'),
  build: () =>
    existsSync(new URL('../../dist/cli/tsbuild.js', import.meta.url)) ? undefined : 'npm run build',
  busybox: () => (existsSync('/bin/busybox') ? undefined : '/bin/busybox (busybox-static)'),
  containerd: () => program('containerd', 'containerd') ?? program('ctr', 'containerd'),
  cosign: () => program('cosign', 'go install'),
  crane: () => program('crane', 'go install'),
  docker: () => program('dockerd', 'docker.io') ?? program('docker', 'docker-cli'),
  buildkit: () =>
    findBuildingClient() === undefined
      ? 'docker with BuildKit (docker.io)'
      : program('dockerd', 'docker.io'),
  git: () => program('git', 'git'),
  gitLfs: () => command('git', ['lfs', 'version'], 'git-lfs'),
  helm: () => command('helm', ['version'], 'helm (go install)'),
  pasta: () => program('pasta', 'passt'),
  slirp4netns: () => program('slirp4netns', 'slirp4netns'),
  users: () =>
    command('setpriv', [...anyUser, 'unshare', '-U', 'true'], 'user namespaces for users'),
  nginx: () => program('nginx', 'nginx'),
  podman: () => program('podman', 'podman'),
  oras: () => program('oras', 'go install'),
  regctl: () => program('regctl', 'go install'),
  openssl: () => command('openssl', ['version'], 'openssl'),
  runc: () => program('runc', 'runc'),
  skopeo: () => program('skopeo', 'skopeo'),
  umoci: () => program('umoci', 'umoci'),
  systemdAnalyze: () => program('systemd-analyze', 'systemd'),
  strace: () => program('strace', 'strace'),
  tmux: () => program('tmux', 'tmux'),
  script: () => program('script', 'bsdutils'),
  mmdebstrap: () => program('mmdebstrap', 'mmdebstrap'),
  debian: () => debianMirror(),
  npm: () => command('npm', ['view', 'koa', 'version'], 'the npm registry'),
} as const

export type Need = keyof typeof checks

/** What this machine lacks of them, in words; `undefined` when it has all. */
export function missing(needs: readonly Need[]): string | undefined {
  const lacks = needs.map(need => checks[need]()).filter(lack => lack !== undefined)
  return lacks.length === 0 ? undefined : lacks.join(', ')
}

/** `describe` where the machine has all of `needs`; else skipped, under a title that says why. */
export function describeWith(needs: readonly Need[], title: string, tests: () => void): void {
  const lacks = missing(needs)
  if (lacks === undefined) describe(title, tests)
  else describe.skip(`${title} [skipped: needs ${lacks}]`, tests)
}

function program(name: string, debianPackage: string): string | undefined {
  const { error } = spawnSync(name, ['--version'], { stdio: 'ignore' })
  return error === undefined ? undefined : `${name} (${debianPackage})`
}

/** The mirror that this machine is set up with answers for a package. */
function debianMirror(): string | undefined {
  const wanted = 'Debian’s packages'
  const asked = spawnSync('apt-get', ['--print-uris', '-qq', 'download', 'base-files'])
  const uri = /'([^']+)'/.exec(String(asked.stdout))?.[1]
  if (uri === undefined) return wanted
  const script = `fetch(${JSON.stringify(uri)}, { method: 'HEAD', signal: AbortSignal.timeout(10000) })
    .then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))`
  return command(process.execPath, ['-e', script], wanted)
}

/** By a process of its own: what is asked while tests are collected has to answer at once. */
function command(name: string, args: readonly string[], wanted: string): string | undefined {
  return spawnSync(name, args, { stdio: 'ignore' }).status === 0 ? undefined : wanted
}
