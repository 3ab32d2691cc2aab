/** Our default filter in OCI's JSON, for runtimes that compile filters themselves. Pure. */
import { defaultRules } from './default-rules.ts'

/** New namespaces: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET. */
const newNamespaces = 0x7e02_0000

const personalities = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff]

/** Without AF_ALG (38) and AF_VSOCK (40). */
const families = [
  { index: 0, value: 38, op: 'SCMP_CMP_LT' },
  { index: 0, value: 39, op: 'SCMP_CMP_EQ' },
  { index: 0, value: 40, op: 'SCMP_CMP_GT' },
] as const

export function defaultProfile(capabilities: readonly string[]): Record<string, unknown> {
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    architectures:
      process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls: defaultRules.flatMap(([rule, text]) => {
      return rulesFor(rule, text.trim().split(/\s+/), capabilities)
    }),
  }
}

function rulesFor(
  rule: string,
  names: readonly string[],
  capabilities: readonly string[],
): Record<string, unknown>[] {
  const allowed = { names, action: 'SCMP_ACT_ALLOW' }
  const isAdmin = capabilities.includes('CAP_SYS_ADMIN')
  const withArgument = (argument: object) => ({ ...allowed, args: [argument] })
  switch (rule) {
    case 'allow':
      return [allowed]
    case 'clone':
      if (isAdmin) return [allowed]
      return [
        withArgument({ index: 0, value: newNamespaces, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
      ]
    case 'clone3':
      return [isAdmin ? allowed : { names, action: 'SCMP_ACT_ERRNO', errnoRet: 38 }]
    case 'socket':
      return families.map(withArgument)
    case 'personality':
      return personalities.map(value => withArgument({ index: 0, value, op: 'SCMP_CMP_EQ' }))
    default:
      return rule.split('|').some(name => capabilities.includes(name)) ? [allowed] : []
  }
}
