export function busyboxRootfs(directory: string): string
