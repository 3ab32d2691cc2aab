/** The value that `start` gives for `key`, the first time alone: a failure is kept too. */
export function once<T>(
  running: Map<string, Promise<T>>,
  key: string,
  start: () => Promise<T>,
): Promise<T> {
  const value = running.get(key) ?? start()
  running.set(key, value)
  return value
}
