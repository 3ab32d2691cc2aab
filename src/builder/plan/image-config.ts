/**
 * The config an image ends up with, instruction by instruction (I01–I14, O02–O07). Every function
 * gives a new config; a base's is never changed.
 */
import type { Healthcheck, ImageConfig, RunConfig } from '../../oci/image-config.ts'
import { cleanPath } from '../dockerfile/clean-path.ts'

export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const historyComment = 'buildkit.dockerfile.v0'

/** A base as a stage starts from it: triggers consumed, a PATH there, its own date gone. */
export function inheritedImage(base: ImageConfig): ImageConfig {
  const { created: _, ...image } = base
  const config = {
    ...withoutMembers(base.config, ['OnBuild']),
    ...ensuredPath(base),
    ...cleanWorkdir(base.config),
  }
  return { ...image, config }
}

function cleanWorkdir({ WorkingDir = '' }: RunConfig): Pick<RunConfig, 'WorkingDir'> {
  return WorkingDir === '' ? {} : { WorkingDir: cleanPath(`/${WorkingDir}`) }
}

function ensuredPath({ config, os }: ImageConfig): Pick<RunConfig, 'Env'> {
  const env = config.Env ?? []
  const hasPath = env.some(entry => entry === 'PATH' || entry.startsWith('PATH='))
  if (hasPath || os === 'windows') return config.Env === undefined ? {} : { Env: env }
  return { Env: [...env, `PATH=${defaultPath}`] }
}

export function withConfig(image: ImageConfig, change: Partial<RunConfig>): ImageConfig {
  return { ...image, config: { ...image.config, ...change } }
}

/** Without those members; a list that is empty means the same as one that is not there. */
export function withoutMembers(
  config: RunConfig,
  members: readonly (keyof RunConfig)[],
): RunConfig {
  return Object.fromEntries(
    Object.entries(config).filter(([name]) => !members.some(member => member === name)),
  )
}

/** A later value takes the place of an earlier one (I13). */
export function withEnv(image: ImageConfig, key: string, value: string): ImageConfig {
  const env = image.config.Env ?? []
  const entry = `${key}=${value}`
  const index = env.findIndex(known => envName(known) === key)
  return withConfig(image, { Env: index === -1 ? [...env, entry] : env.with(index, entry) })
}

/** The name in `NAME=value`. */
export function envName(entry: string): string {
  const equals = entry.indexOf('=')
  return equals === -1 ? entry : entry.slice(0, equals)
}

/** The value in `NAME=value`. */
export function envValue(entry: string): string {
  const equals = entry.indexOf('=')
  return equals === -1 ? '' : entry.slice(equals + 1)
}

export function withLabel(image: ImageConfig, key: string, value: string): ImageConfig {
  return withConfig(image, { Labels: { ...image.config.Labels, [key]: value } })
}

/** Exec form as it is, shell form with the shell in front (I01, I04). */
export function withCmd(image: ImageConfig, argv: readonly string[]): ImageConfig {
  const config = withoutMembers(image.config, ['Cmd'])
  return {
    ...image,
    config: { ...config, ...(argv.length === 0 ? {} : { Cmd: argv }), ArgsEscaped: true },
  }
}

/** The base's CMD was written for the base's ENTRYPOINT: it goes unless the stage set its own (I02). */
export function withEntrypoint(
  image: ImageConfig,
  argv: readonly string[],
  cmd: 'inherited' | 'own',
): ImageConfig {
  const config = withoutMembers(
    image.config,
    cmd === 'own' ? ['Entrypoint'] : ['Entrypoint', 'Cmd'],
  )
  return { ...image, config: { ...config, ...(argv.length === 0 ? {} : { Entrypoint: argv }) } }
}

export function withHealthcheck(image: ImageConfig, check: Required<Healthcheck>): ImageConfig {
  const { Test, ...times } = check
  const given = Object.entries(times).filter(([, value]) => value !== 0)
  return withConfig(image, { Healthcheck: { Test, ...Object.fromEntries(given) } })
}

export function withMember(
  image: ImageConfig,
  member: 'ExposedPorts' | 'Volumes',
  keys: readonly string[],
): ImageConfig {
  const added = Object.fromEntries(keys.map(key => [key, {}]))
  return withConfig(image, { [member]: { ...image.config[member], ...added } })
}

export function withTrigger(image: ImageConfig, trigger: string): ImageConfig {
  return withConfig(image, { OnBuild: [...(image.config.OnBuild ?? []), trigger] })
}

/** One entry per instruction (O02); `created` is set when the image is written. */
export function withHistory(
  image: ImageConfig,
  text: string,
  layer: 'layer' | 'no layer',
): ImageConfig {
  const entry = {
    created_by: text,
    comment: historyComment,
    ...(layer === 'layer' ? {} : { empty_layer: true }),
  }
  return { ...image, history: [...image.history, entry] }
}

/** The command line that a shell form stands for. */
export function shellCommand(image: ImageConfig, script: string): string[] {
  const shell = image.config.Shell ?? []
  return [...(shell.length > 0 ? shell : defaultShell(image.os)), script]
}

function defaultShell(os: string): readonly string[] {
  return os === 'windows' ? ['cmd', '/S', '/C'] : ['/bin/sh', '-c']
}
