/** The specification's features document: https://github.com/opencontainers/runtime-spec, features.md. */
import { hookStages } from '../../layerfs/oci-runtime/hooks-config.ts'
import { namespaceTypes } from '../../layerfs/oci-runtime/linux-config.ts'
import { mountOptionNames } from '../../layerfs/oci-runtime/mount-options.ts'
import {
  filterFlags,
  memoryFlags,
  memoryModes,
} from '../../layerfs/oci-runtime/scheduling-config.ts'
import { specVersion } from '../../layerfs/oci-runtime/spec-version.ts'
import { allCapabilities } from '../../layerfs/sandbox/defaults.ts'
import { actionNames, operatorNames } from '../../layerfs/sandbox/seccomp/profile.ts'
import { defineRuntimeCommand, type RuntimeCommand } from './runtime-command.ts'

export const featuresCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {},
  arity: { min: 0, max: 0 },
  run: async ({ print }) => {
    print(`${JSON.stringify(features(), null, 2)}\n`)
    return 0
  },
})

function features(): Record<string, unknown> {
  const disabled = { enabled: false }
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: specVersion,
    hooks: hookStages,
    mountOptions: mountOptionNames(),
    linux: {
      namespaces: namespaceTypes,
      capabilities: allCapabilities,
      cgroup: { v1: true, v2: true, systemd: false, systemdUser: false, rdma: true },
      seccomp: {
        enabled: true,
        actions: actionNames,
        operators: operatorNames,
        knownFlags: Object.keys(filterFlags),
        supportedFlags: Object.keys(filterFlags),
        archs:
          process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
      },
      apparmor: disabled,
      selinux: disabled,
      intelRdt: disabled,
      mountExtensions: { idmap: { enabled: true } },
      memoryPolicy: { modes: Object.keys(memoryModes), flags: Object.keys(memoryFlags) },
      netDevices: { enabled: true },
    },
  }
}
