/**
 * Platforms: `os/arch[/variant]`, their normal forms and which image runs where.
 *
 * Spec: image-spec image-index.md, `platform`; the normal forms are those of Go's GOOS and GOARCH.
 */
import { OciError, printable } from './errors.ts'
import { asArray, asString, field, type JsonNode, member, optional } from './json.ts'

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
}

const architectureAliases = new Map<string, readonly [string, string?]>([
  ['x86_64', ['amd64']],
  ['x86-64', ['amd64']],
  ['i386', ['386']],
  ['i686', ['386']],
  ['aarch64', ['arm64']],
  ['armhf', ['arm', 'v7']],
  ['armel', ['arm', 'v6']],
])

/** What Node calls an architecture, in Go's words. */
const nodeArchitectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  loong64: 'loong64',
}

export function platformFrom(node: JsonNode): Platform {
  return {
    os: asString(member(node, 'os')),
    architecture: asString(member(node, 'architecture')),
    ...field('variant', nonEmpty(optional(member(node, 'variant'), asString))),
    ...field('os.version', nonEmpty(optional(member(node, 'os.version'), asString))),
    ...field(
      'os.features',
      optional(member(node, 'os.features'), features => asArray(features).map(asString)),
    ),
  }
}

/** `linux/arm64/v8` as a value; `invalid` on anything else. A lone architecture means linux. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/')
  const valid =
    parts.length >= 1 && parts.length <= 3 && parts.every(part => /^[a-z0-9_.-]+$/.test(part))
  if (!valid) {
    throw new OciError(
      'invalid',
      `Cannot parse platform "${printable(text)}": expected "os/arch[/variant]"`,
    )
  }
  const [first = '', second, third] = parts
  const [os, arch] = second === undefined ? ['linux', first] : [first, second]
  return normalize(os, arch, third)
}

function normalize(os: string, arch: string, variant: string | undefined): Platform {
  const [architecture, aliasVariant] = architectureAliases.get(arch) ?? [arch]
  const given = variant ?? aliasVariant
  if (architecture === 'arm64' && (given === undefined || given === 'v8' || given === '8')) {
    return { os, architecture }
  }
  if (architecture === 'arm') {
    const version = given ?? 'v7'
    return { os, architecture, variant: version.startsWith('v') ? version : `v${version}` }
  }
  return { os, architecture, ...field('variant', given) }
}

/** Without what goes without saying: `linux/arm64/v8` is `linux/arm64`. */
export function normalPlatform({ os, architecture, variant }: Platform): Platform {
  return normalize(os, architecture, variant)
}

export function formatPlatform(platform: Platform): string {
  const variant = platform.variant === undefined ? '' : `/${platform.variant}`
  return `${platform.os}/${platform.architecture}${variant}`
}

/** The platform of a machine whose `process.arch` is `nodeArch`. */
export function hostPlatform(nodeArch: string): Platform {
  return normalize('linux', nodeArchitectures[nodeArch] ?? nodeArch, undefined)
}

/**
 * How well an image for `have` runs where `want` is asked for: 0 is exact, higher is a worse
 * fallback (arm/v7 runs arm/v6 and v5), `undefined` does not run.
 */
export function platformDistance(want: Platform, have: Platform): number | undefined {
  const wanted = normalPlatform(want)
  const offered = normalPlatform(have)
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return undefined
  if (wanted.variant === offered.variant) return 0
  if (wanted.architecture === 'arm') {
    const gap = variantNumber(wanted.variant) - variantNumber(offered.variant)
    return gap > 0 ? gap : undefined
  }
  return offered.variant === undefined ? 1 : undefined
}

function variantNumber(variant: string | undefined): number {
  return Number(variant?.slice(1) ?? 0)
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
