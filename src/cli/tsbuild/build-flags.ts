/** The flags of `tsbuild build`, as `docker buildx build` spells them, and those refused by name. */
import type { FlagTable, FlagValues, UnsupportedFlag } from '../flags/flags.ts'
import { isolationFlag } from '../isolation.ts'
import { progressModes } from '../progress/progress.ts'
import { registryFlags } from '../world.ts'

const checks = 'Instead of building'
const output = 'Output'
const steps = 'Steps'
const cache = 'Cache'

const noAttestations = {
  kind: 'choice',
  choices: ['false'],
  default: 'false',
  group: output,
  hidden: true,
  help: 'No attestations are made: false is all there is',
} as const

export const buildFlags = {
  file: {
    kind: 'string',
    short: 'f',
    value: 'FILE',
    help: 'Dockerfile: a file, a URL, or - for standard input (default: PATH/Dockerfile)',
  },
  tag: { kind: 'strings', short: 't', value: 'NAME[:TAG]', help: 'Name of the image' },
  'build-arg': { kind: 'strings', value: 'NAME[=VALUE]', help: 'Set an ARG of the Dockerfile' },
  'build-context': {
    kind: 'strings',
    value: 'NAME=VALUE',
    help: 'What FROM NAME and --from=NAME mean: a directory, docker-image://NAME, oci-layout://DIR, a git repository or the URL of an archive',
  },
  target: { kind: 'string', value: 'STAGE', help: 'Build this stage instead of the last one' },
  platform: {
    kind: 'string',
    value: 'OS/ARCH[,…]',
    env: 'DOCKER_DEFAULT_PLATFORM',
    help: 'Platforms of the image; local is this machine’s',
  },
  label: { kind: 'strings', value: 'KEY=VALUE', help: 'Set a label of the image' },

  call: {
    kind: 'string',
    value: 'METHOD',
    default: 'build',
    group: checks,
    help: 'build|check|outline|targets|subrequests.describe[,format=json]; check also format=sarif',
  },
  check: {
    kind: 'boolean',
    group: checks,
    help: 'Check the Dockerfile, build nothing: --call=check',
  },

  push: { kind: 'boolean', group: output, help: 'Push the image: --output type=registry' },
  load: {
    kind: 'boolean',
    group: output,
    help: 'Load the image into Docker (DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH)',
  },
  output: {
    kind: 'strings',
    short: 'o',
    value: 'TYPE',
    group: output,
    help: 'type=image|registry|oci|docker|local|tar[,dest=PATH]; a bare path is type=local',
  },
  annotation: {
    kind: 'strings',
    value: '[TYPE:]KEY=VALUE',
    group: output,
    help: 'Annotate the manifest, or TYPE: index, manifest-descriptor, index-descriptor',
  },
  reproducible: {
    kind: 'boolean',
    group: output,
    help: 'The same image wherever it is built: SOURCE_DATE_EPOCH of the context’s commit or newest file, times rewritten',
  },
  'verify-reproducible': {
    kind: 'boolean',
    group: output,
    help: 'Build twice without the cache, and name what differs; implies --reproducible',
  },
  quiet: { kind: 'boolean', short: 'q', group: output, help: 'Print only the image ID' },
  progress: {
    kind: 'choice',
    choices: progressModes,
    default: 'auto',
    env: 'BUILDKIT_PROGRESS',
    group: output,
    help: 'How progress is shown',
  },
  iidfile: { kind: 'string', value: 'FILE', group: output, help: 'Write the image ID to a file' },
  'metadata-file': {
    kind: 'string',
    value: 'FILE',
    group: output,
    help: 'Write digests and names of the result as JSON',
  },

  secret: {
    kind: 'strings',
    value: 'id=NAME[,src=FILE|,env=VAR]',
    group: steps,
    help: 'A secret for RUN --mount=type=secret',
  },
  network: {
    kind: 'choice',
    choices: ['default', 'none', 'host'],
    default: 'default',
    group: steps,
    help: 'Network of RUN steps',
  },
  isolation: { ...isolationFlag, group: steps },
  allow: {
    kind: 'strings',
    value: 'ENTITLEMENT',
    group: steps,
    help: 'Allow a right to the Dockerfile: network.host, security.insecure',
  },
  ssh: {
    kind: 'strings',
    value: 'default|ID[=SOCKET]',
    group: steps,
    help: 'An SSH agent for RUN --mount=type=ssh',
  },
  'add-host': {
    kind: 'strings',
    value: 'NAME:ADDRESS',
    group: steps,
    help: 'A line of /etc/hosts for RUN steps',
  },
  'shm-size': {
    kind: 'size',
    value: 'BYTES',
    default: 64 * 1024 * 1024,
    group: steps,
    help: 'Size of /dev/shm in RUN steps',
  },
  ulimit: {
    kind: 'strings',
    value: 'NAME=SOFT[:HARD]',
    group: steps,
    help: 'A resource limit of RUN steps: nofile=1024',
  },

  'cache-from': {
    kind: 'strings',
    value: 'NAME|type=TYPE[,…]',
    group: cache,
    help: 'Also use the cache of another build: type=registry,ref=NAME, type=local,src=DIR or type=s3,bucket=NAME',
  },
  'cache-to': {
    kind: 'strings',
    value: 'NAME|type=TYPE[,…]',
    group: cache,
    help: 'Give the cache to other builds: type=inline, type=registry,ref=NAME, type=local,dest=DIR or type=s3,bucket=NAME; mode=min|max',
  },
  memory: {
    kind: 'size',
    short: 'm',
    value: 'BYTES',
    group: steps,
    help: 'Memory limit of each RUN step: 512m, 2g',
  },
  'memory-swap': {
    kind: 'string',
    value: 'BYTES',
    group: steps,
    help: 'Limit of its memory and swap together; -1 for no limit of swap',
  },
  'cpu-shares': {
    kind: 'integer',
    short: 'c',
    value: 'N',
    group: steps,
    help: 'Its weight when the CPUs are busy; others have 1024',
  },
  'cpu-quota': {
    kind: 'integer',
    value: 'MICROSECONDS',
    group: steps,
    help: 'CPU time that it has in each period',
  },
  'cpu-period': {
    kind: 'integer',
    value: 'MICROSECONDS',
    default: 100_000,
    group: steps,
    help: 'Length of the period of --cpu-quota',
  },
  'cpuset-cpus': {
    kind: 'string',
    value: 'LIST',
    group: steps,
    help: 'CPUs that it may run on: 0-2,4',
  },

  'on-error': {
    kind: 'choice',
    choices: ['fail', 'shell'],
    default: 'fail',
    group: steps,
    help: 'When a RUN step fails: fail, or open a shell in its sandbox first',
  },

  'no-cache': { kind: 'boolean', group: cache, help: 'Run every step' },
  'no-cache-filter': {
    kind: 'strings',
    value: 'STAGE|[STAGE]:LINE',
    group: cache,
    help: 'Run every step of these stages, or the step at this line of the Dockerfile',
  },
  'run-args': {
    kind: 'choice',
    choices: ['declared', 'named'],
    default: 'declared',
    group: cache,
    help: 'ARGs that a RUN has in its environment, and runs again for: all that are declared, or only those that it names',
  },
  pull: {
    kind: 'choice',
    choices: ['always', 'missing', 'never', 'newer'],
    default: 'missing',
    alone: 'always',
    group: cache,
    help: 'When to ask the registry for base images; newer uses what is here if it does not answer',
  },
  'max-used-space': {
    kind: 'size',
    value: 'SIZE',
    env: 'TSBUILD_MAX_USED_SPACE',
    group: cache,
    help: 'What the build cache may take of the disk; what was not used for longest goes (default 80 % of the disk, 100g at most)',
  },
  offline: {
    kind: 'boolean',
    group: cache,
    help: 'Use no network but for RUN steps: what is not in the store is an error',
  },
  provenance: noAttestations,
  sbom: noAttestations,
  ...registryFlags,
} as const satisfies FlagTable

export type BuildFlags = FlagValues<typeof buildFlags>

export const unsupportedBuildFlags: Readonly<Record<string, UnsupportedFlag>> = {
  attest: { reason: 'No attestations are made' },
  builder: { reason: 'There is one builder: this program' },
  'cgroup-parent': {},
  debug: { short: 'D', reason: 'TSBUILD_DEBUG=1 shows the stack of a bug' },
  compress: { reason: 'A context is read where it is, nothing is sent' },
  'cpuset-mems': {},
  'disable-content-trust': {},
  'force-rm': { reason: 'A step leaves no container' },
  policy: {},
  rm: { reason: 'A step leaves no container' },
  'security-opt': {
    reason: 'RUN --security=insecure and --allow security.insecure lift the sandbox',
  },
  squash: {},
}
