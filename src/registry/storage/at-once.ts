/** Two steps of which neither needs the other. */
import type { RegistryStorage } from './registry-storage.ts'

/**
 * Both at once where each takes trips over a network, else one after the other, which takes no longer.
 * When this throws both have come to their end, or the second was not begun.
 */
export async function atOnce<First, Second>(
  { objects }: RegistryStorage,
  first: () => Promise<First>,
  second: () => Promise<Second> | Second,
): Promise<readonly [First, Second]> {
  if (objects.isFar !== true) return [await first(), await second()]
  const [one, other] = await Promise.allSettled([first(), second()])
  if (one.status === 'rejected') throw one.reason
  if (other.status === 'rejected') throw other.reason
  return [one.value, other.value]
}
