/**
 * The namespaces of a process as operations name them, and as the kernel does in /proc/PID/ns, in the
 * order in which one is joined: that of users gives the right to the others.
 */
export const namespaceNames = [
  ['user', 'user'],
  ['pid', 'pid'],
  ['network', 'net'],
  ['ipc', 'ipc'],
  ['uts', 'uts'],
  ['time', 'time'],
  ['mount', 'mnt'],
  ['cgroup', 'cgroup'],
] as const
