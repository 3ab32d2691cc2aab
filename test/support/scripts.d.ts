/** Scripts in plain JavaScript that tests use. */
declare module '*/scripts/busybox-rootfs.mjs' {
  export function busyboxRootfs(directory: string): string
}
