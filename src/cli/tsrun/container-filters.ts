/** What `ps --filter` asks of containers, by docker's keys. */
import { healthOf, healthStatuses } from '../../layerfs/runtime/container-health.ts'
import { type Container, findContainer } from '../../layerfs/runtime/container-list.ts'
import { statusOf } from '../../layerfs/runtime/container-status.ts'
import { printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'
import { type FilterTable, labelFilters } from '../lists/filters.ts'

/** `all`: of which some filters name one to compare with. */
export function containerFilters(all: readonly Container[]): FilterTable<Container> {
  const madeAt = ({ record }: Container) => record?.createdAt ?? ''
  return {
    id:
      value =>
      ({ id }) =>
        value !== '' && id.startsWith(value),
    name: value => {
      const part = value.replace(/^\//, '')
      return ({ record }) => record?.name?.includes(part) ?? false
    },
    label: labelFilters<Container>(({ record }) => record?.labels).label,
    status: value => {
      const state = stateFrom(value)
      return container => statusOf(container) === state
    },
    exited: value => {
      const code = codeFrom(value)
      return ({ isRunning, record }) => !isRunning && record?.end?.code === code
    },
    health: value => {
      const state = healthFrom(value)
      return container => (healthOf(container)?.status ?? 'none') === state
    },
    ancestor:
      value =>
      ({ record }) =>
        record !== undefined && isOf(record, value),
    before: value => {
      const time = madeAt(findContainer(all, value))
      return container => madeAt(container) < time
    },
    since: value => {
      const time = madeAt(findContainer(all, value))
      return container => madeAt(container) > time
    },
    volume:
      value =>
      ({ record }) =>
        (record?.volumes ?? []).some(({ name, target }) => name === value || target === value),
    publish: value => {
      const wanted = portFrom(value)
      return ({ isRunning, record }) =>
        isRunning &&
        (record?.ports ?? []).some(
          ({ hostPort, protocol }) => hostPort === wanted.port && protocol === wanted.protocol,
        )
    },
  }
}

const states = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead']

function stateFrom(value: string): string {
  if (states.includes(value)) return value
  throw usageError(`Cannot filter by status "${printable(value)}": expected ${states.join(', ')}`)
}

const healths: readonly string[] = [...healthStatuses, 'none']

function healthFrom(value: string): string {
  if (healths.includes(value)) return value
  throw usageError(`Cannot filter by health "${printable(value)}": expected ${healths.join(', ')}`)
}

function codeFrom(value: string): number {
  if (/^\d{1,3}$/.test(value)) return Number(value)
  throw usageError(`Cannot filter by exit code "${printable(value)}": expected a number`)
}

/** By the name it was run by, with or without its tag, or by the image's id. */
function isOf({ image, imageId }: NonNullable<Container['record']>, value: string): boolean {
  const hex = imageId.replace(/^sha256:/, '')
  const wanted = value.replace(/^sha256:/, '')
  const names = [image, image.replace(/:[^:/]+$/, ''), `${image}:latest`]
  return names.includes(value) || (/^[0-9a-f]{4,}$/.test(wanted) && hex.startsWith(wanted))
}

/** `80`, `80/udp`: of this machine. */
function portFrom(value: string): { readonly port: number; readonly protocol: string } {
  const [, port = '', protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(value) ?? []
  if (port === '') throw usageError(`Cannot filter by port "${printable(value)}": expected 80/tcp`)
  return { port: Number(port), protocol }
}
