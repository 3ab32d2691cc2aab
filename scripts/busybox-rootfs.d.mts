/** For the tests, which are TypeScript. */
export function busyboxRootfs(directory: string): string
