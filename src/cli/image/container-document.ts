import { type Health, healthOf } from '../../layerfs/runtime/container-health.ts'
import type { Container } from '../../layerfs/runtime/container-list.ts'
import type { ContainerRecord } from '../../layerfs/runtime/container-record.ts'
import { statusOf } from '../../layerfs/runtime/container-status.ts'
import type { PublishedPort } from '../../layerfs/sandbox/spec.ts'

/** All about a container, in docker's shape, without what only a daemon has. */
export function containerDocument(container: Container): Record<string, unknown> {
  const { id, record } = container
  if (record === undefined) return { Id: id, State: { Status: 'damaged', Running: false } }
  const [path = '', ...args] = record.argv
  return {
    Id: id,
    Created: record.createdAt,
    Path: path,
    Args: args,
    State: stateOf(container, record),
    Image: record.imageId,
    Name: record.name === undefined ? '' : `/${record.name}`,
    Config: {
      ...{ Image: record.image, Cmd: record.argv, Labels: record.labels ?? {} },
      ...(record.healthcheck === undefined ? {} : { Healthcheck: record.healthcheck }),
    },
    Mounts: (record.volumes ?? []).map(({ name, target, readOnly }) => ({
      ...{ Type: 'volume', Name: name, Destination: target, Driver: 'local', RW: !readOnly },
    })),
    NetworkSettings: container.isRunning
      ? { IPAddress: record.address ?? '', Ports: portMap(record.ports ?? []) }
      : { IPAddress: '', Ports: {} },
  }
}

function stateOf(container: Container, { end, startedAt, process }: ContainerRecord) {
  const { isRunning } = container
  const health = healthOf(container)
  return {
    Status: statusOf(container),
    Running: isRunning,
    Paused: statusOf(container) === 'paused',
    Pid: isRunning ? (process?.pid ?? 0) : 0,
    OOMKilled: end?.outOfMemory ?? false,
    // Killed before it could tell: as if by SIGKILL.
    ExitCode: isRunning ? 0 : (end?.code ?? 137),
    StartedAt: startedAt ?? '',
    FinishedAt: end?.at ?? '',
    ...(health === undefined ? {} : { Health: healthDocument(health) }),
  }
}

function healthDocument({ status, failingStreak, log }: Health): Record<string, unknown> {
  return {
    Status: status,
    FailingStreak: failingStreak,
    Log: log.map(({ start, end, exitCode, output }) => {
      return { Start: start, End: end, ExitCode: exitCode, Output: output }
    }),
  }
}

function portMap(ports: readonly PublishedPort[]): Record<string, unknown> {
  const keyOf = ({ port, protocol }: PublishedPort) => `${port}/${protocol}`
  return Object.fromEntries(
    ports.map(port => [
      keyOf(port),
      ports
        .filter(other => keyOf(other) === keyOf(port))
        .map(({ hostAddress, hostPort }) => ({ HostIp: hostAddress, HostPort: `${hostPort}` })),
    ]),
  )
}
