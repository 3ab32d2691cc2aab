/** Keeps a build for `why`, `logs` and `history` while it runs. */
import { BuildError } from '../../../builder/build-error.ts'
import type { BuildEvent } from '../../../builder/build-event.ts'
import type { BuildWorld } from '../../../builder/build-request.ts'
import {
  type BuildRecorder,
  type BuildTitle,
  openRecorder,
} from '../../../builder/history/recorder.ts'

/** Throws what `work` throws; of a failed step it also says where all of its output is. */
export async function recorded<T>(
  title: BuildTitle,
  world: BuildWorld,
  work: (world: BuildWorld) => Promise<T>,
): Promise<T> {
  using recorder = await openRecorder(world.store, title, world.now)
  const emit = (event: BuildEvent) => {
    recorder.emit(event)
    world.emit(event)
  }
  try {
    const result = await work({ ...world, emit })
    recorder.end({ kind: 'end', state: 'done' })
    return result
  } catch (error) {
    if (world.signal.aborted) recorder.end({ kind: 'end', state: 'canceled' })
    else {
      const message = error instanceof Error ? error.message : String(error)
      recorder.end({ kind: 'end', state: 'failed', message })
    }
    throw advised(error, recorder)
  }
}

function advised(error: unknown, recorder: BuildRecorder): unknown {
  const step = recorder.failedStep()
  if (!(error instanceof BuildError) || step === undefined) return error
  return error.advised(`"tsbuild logs ${step}" prints all that the step wrote`)
}
