/** The flags of `tsrun run`, as `docker run` spells them, and those that are refused by name. */
import type { FlagTable, FlagValues, UnsupportedFlag } from '../../flags/flags.ts'
import { isolationFlag } from '../../isolation.ts'
import { healthFlags } from './health-options.ts'

const resources = 'Resources'
const network = 'Network'
const security = 'Security'

/** What a container is told however it is started. */
export const containerFlags = {
  rm: { kind: 'boolean', help: 'Remove the container when it ends' },
  label: { kind: 'strings', short: 'l', value: 'KEY=VALUE', help: 'Label of the container' },
  'label-file': { kind: 'strings', value: 'FILE', help: 'Read labels from a file' },
  cidfile: { kind: 'string', value: 'FILE', help: 'Write the id of the container to a new file' },
  'log-opt': {
    kind: 'strings',
    value: 'max-size=BYTES',
    help: 'How much output of a detached container is kept: max-size=10m, max-file=3',
  },
  interactive: { kind: 'boolean', short: 'i', help: 'Keep standard input open' },
  tty: { kind: 'boolean', short: 't', help: 'Give the container a terminal' },
  env: { kind: 'strings', short: 'e', value: 'NAME[=VALUE]', help: 'Set an environment variable' },
  'env-file': { kind: 'strings', value: 'FILE', help: 'Read environment variables from a file' },
  volume: {
    kind: 'strings',
    short: 'v',
    value: '[SOURCE:]TARGET[:ro]',
    help: 'Show a directory or file of this machine inside, or a volume of that name',
  },
  'volumes-from': {
    kind: 'strings',
    value: 'CONTAINER[:ro]',
    help: 'Show what another container has by --volume',
  },
  tmpfs: {
    kind: 'strings',
    value: 'TARGET[:size=64m]',
    help: 'Mount an empty directory in memory',
  },
  mount: {
    kind: 'strings',
    value: 'type=bind|tmpfs|volume,…',
    help: 'The same in words: type=bind,source=/srv,target=/srv,readonly',
  },
  workdir: { kind: 'string', short: 'w', value: 'DIR', help: 'Directory the command starts in' },
  user: { kind: 'string', short: 'u', value: 'USER[:GROUP]', help: 'Name or id to run as' },
  'group-add': {
    kind: 'strings',
    value: 'GROUP',
    help: 'Name or id of a further group of the user',
  },
  init: { kind: 'boolean', help: 'Run an init that reaps processes and hands signals on' },
  entrypoint: {
    kind: 'string',
    value: 'PROGRAM',
    help: 'Program instead of the ENTRYPOINT of the image',
  },
  name: { kind: 'string', value: 'NAME', help: 'Name of the container' },
  'stop-signal': {
    kind: 'string',
    value: 'SIGNAL',
    help: 'What the container gets when tsrun gets SIGTERM, and from "tsrun stop"',
  },
  'stop-timeout': {
    kind: 'integer',
    value: 'SECONDS',
    help: 'Kill the container that long after that',
  },
  'read-only': { kind: 'boolean', help: 'Mount the root read-only' },
  pull: {
    kind: 'choice',
    choices: ['always', 'missing', 'never'],
    default: 'missing',
    help: 'When to pull the image',
  },
  platform: {
    kind: 'string',
    value: 'OS/ARCH',
    env: 'DOCKER_DEFAULT_PLATFORM',
    help: 'Platform of the image',
  },
  quiet: { kind: 'boolean', short: 'q', help: 'Do not show the progress of a pull' },

  network: {
    kind: 'string',
    value: 'MODE',
    default: 'bridge',
    aliases: ['net'],
    group: network,
    help: 'Network the container sees: bridge, host, none or container:NAME',
  },
  publish: {
    kind: 'strings',
    short: 'p',
    value: '[IP:]HOST:PORT[/udp]',
    group: network,
    help: 'Let a port of this machine lead to one of the container',
  },
  expose: {
    kind: 'strings',
    value: 'PORT[/udp]',
    group: network,
    help: 'A port that --publish-all publishes, beside those of the image',
  },
  'publish-all': {
    kind: 'boolean',
    short: 'P',
    group: network,
    help: 'Publish all ports that the image exposes, at any that are free',
  },
  hostname: { kind: 'string', short: 'h', value: 'NAME', group: network, help: 'Host name inside' },
  'add-host': {
    kind: 'strings',
    value: 'NAME:ADDRESS',
    group: network,
    help: 'Add a line to /etc/hosts',
  },
  dns: {
    kind: 'strings',
    value: 'ADDRESS',
    group: network,
    help: 'Name server instead of the host’s',
  },
  'dns-search': {
    kind: 'strings',
    value: 'DOMAIN',
    group: network,
    help: 'Search domain instead of the host’s; "." for none',
  },
  'dns-option': {
    kind: 'strings',
    value: 'OPTION',
    aliases: ['dns-opt'],
    group: network,
    help: 'Option of the resolver instead of the host’s',
  },
  domainname: { kind: 'string', value: 'NAME', group: network, help: 'Domain name inside' },
  uts: {
    kind: 'choice',
    choices: ['private', 'host'],
    default: 'private',
    group: network,
    help: 'Whose host name the container has',
  },

  memory: {
    kind: 'size',
    short: 'm',
    value: 'BYTES',
    group: resources,
    help: 'Memory limit: 512m, 2g',
  },
  'memory-swap': {
    kind: 'string',
    value: 'BYTES',
    group: resources,
    help: 'Limit of memory and swap together; -1 for no limit of swap',
  },
  'memory-reservation': {
    kind: 'size',
    value: 'BYTES',
    group: resources,
    help: 'Memory that is left to it when the machine has little',
  },
  cpus: { kind: 'number', value: 'N', group: resources, help: 'CPU limit: 0.5, 2' },
  'cpu-quota': {
    kind: 'integer',
    value: 'N',
    group: resources,
    help: 'Microseconds of CPU time in a period, instead of --cpus',
  },
  'cpu-period': {
    kind: 'integer',
    value: 'N',
    default: 100_000,
    group: resources,
    help: 'Length of the period of --cpu-quota',
  },
  'cpu-shares': {
    kind: 'integer',
    short: 'c',
    value: 'N',
    group: resources,
    help: 'Weight when the CPUs are busy; others have 1024',
  },
  'cpuset-cpus': {
    kind: 'string',
    value: 'LIST',
    group: resources,
    help: 'CPUs it may run on: 0-2,4',
  },
  'pids-limit': {
    kind: 'integer',
    value: 'N',
    group: resources,
    help: 'Limit of processes; -1 for none',
  },
  'blkio-weight': {
    kind: 'integer',
    value: 'N',
    group: resources,
    help: 'Weight when a disk is busy, 10 to 1000; 0 for the usual',
  },
  'device-read-bps': {
    kind: 'strings',
    value: 'DISK:BYTES',
    group: resources,
    help: 'Limit of bytes read from a disk in a second: /dev/sda:10m',
  },
  'device-write-bps': {
    kind: 'strings',
    value: 'DISK:BYTES',
    group: resources,
    help: 'Limit of bytes written to a disk in a second',
  },
  'device-read-iops': {
    kind: 'strings',
    value: 'DISK:N',
    group: resources,
    help: 'Limit of reads from a disk in a second',
  },
  'device-write-iops': {
    kind: 'strings',
    value: 'DISK:N',
    group: resources,
    help: 'Limit of writes to a disk in a second',
  },
  ulimit: {
    kind: 'strings',
    value: 'NAME=SOFT[:HARD]',
    group: resources,
    help: 'Limit of each process: nofile=1024:4096',
  },
  'oom-score-adj': {
    kind: 'integer',
    value: 'N',
    group: resources,
    help: 'Killed first (1000) or last (-1000) when memory runs out',
  },
  device: {
    kind: 'strings',
    value: 'SOURCE[:TARGET[:rwm]]',
    group: resources,
    help: 'Show a device of this machine inside',
  },
  sysctl: {
    kind: 'strings',
    value: 'NAME=VALUE',
    group: resources,
    help: 'Set a kernel parameter of the container alone',
  },
  ipc: {
    kind: 'string',
    value: 'MODE',
    default: 'private',
    group: resources,
    help: 'Whose shared memory and queues it has: private, shareable, host, container:NAME',
  },
  pid: {
    kind: 'string',
    value: 'MODE',
    default: 'private',
    group: resources,
    help: 'Whose processes it sees: private, host or container:NAME',
  },
  userns: {
    kind: 'choice',
    choices: ['host'],
    group: resources,
    help: 'Whose users it has: always those of tsrun',
  },
  'shm-size': {
    kind: 'size',
    value: 'BYTES',
    default: 64 * 1024 * 1024,
    group: resources,
    help: 'Size of /dev/shm',
  },

  ...healthFlags,

  'cap-add': { kind: 'strings', value: 'NAME', group: security, help: 'Add a capability, or ALL' },
  'cap-drop': {
    kind: 'strings',
    value: 'NAME',
    group: security,
    help: 'Take a capability away, or ALL',
  },
  privileged: {
    kind: 'boolean',
    group: security,
    help: 'All capabilities and devices, no system call filter, nothing hidden',
  },
  isolation: { ...isolationFlag, group: security },
  'security-opt': {
    kind: 'strings',
    value: 'OPTION',
    group: security,
    help: 'seccomp=FILE, seccomp=unconfined or no-new-privileges',
  },
} as const satisfies FlagTable

export type RunFlags = FlagValues<typeof containerFlags>

export const runFlags = {
  detach: { kind: 'boolean', short: 'd', help: 'Let it live on; print its id' },
  ...containerFlags,
} as const satisfies FlagTable

const limits: UnsupportedFlag = { reason: 'Limits are those under "Resources" in the help' }
const namespaces: UnsupportedFlag = { reason: 'Namespaces are always those of the container' }
const networks: UnsupportedFlag = { reason: 'Networks are bridge, host, none and container:NAME' }
const ofWindows: UnsupportedFlag = { reason: 'It is a limit of Windows' }
const logging: UnsupportedFlag = {
  reason: 'The output goes where that of tsrun goes, or with --detach to a file for "tsrun logs"',
}

export const unsupportedRunFlags: Readonly<Record<string, UnsupportedFlag>> = {
  restart: {
    reason: 'No process of ours is left that could: use a service of systemd with Restart=',
  },
  attach: { short: 'a', reason: 'Use --interactive' },
  gpus: {},
  link: networks,
  'network-alias': networks,
  ip: networks,
  ip6: networks,
  'mac-address': networks,
  cgroupns: namespaces,
  'cgroup-parent': limits,
  'memory-swappiness': limits,
  'kernel-memory': limits,
  'cpu-rt-period': limits,
  'cpu-rt-runtime': limits,
  'cpu-count': ofWindows,
  'cpu-percent': ofWindows,
  'io-maxbandwidth': ofWindows,
  'io-maxiops': ofWindows,
  'cpuset-mems': limits,
  'blkio-weight-device': limits,
  'oom-kill-disable': limits,
  'device-cgroup-rule': { reason: 'Use --device SOURCE:TARGET:rwm' },
  annotation: { reason: 'Use --label' },
  'use-api-socket': { reason: 'There is no daemon whose socket it could be' },
  'link-local-ip': networks,
  'log-driver': logging,
  'detach-keys': { reason: 'A container that is to live on is started with --detach' },
  runtime: { reason: 'Use --isolation oci, and TSBUILD_OCI_RUNTIME' },
  'sig-proxy': { reason: 'Signals always reach the container' },
  'storage-opt': {},
  'volume-driver': { reason: 'Volumes are directories of this machine' },
  'disable-content-trust': {},
}
