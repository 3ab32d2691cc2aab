/** scripts/busybox-rootfs.mjs with a type: JavaScript has none, and is no part of the compilation. */
interface BusyboxScript {
  /** Writes `<directory>/busybox.tar` and returns its path. Throws when there is no busybox. */
  busyboxRootfs(directory: string): string
}

const script = new URL('../../scripts/busybox-rootfs.mjs', import.meta.url).href
export const { busyboxRootfs } = (await import(/* @vite-ignore */ script)) as BusyboxScript
