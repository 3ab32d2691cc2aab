/** An ObjectStore that tells how long each call took, by the names of distribution's drivers. */
import type { Append, ObjectStore } from '../../storage/object-store.ts'
import type { Metrics } from './metrics.ts'

export function measuredStore(
  store: ObjectStore,
  driver: string,
  metrics: Pick<Metrics, 'storageAction'>,
): ObjectStore {
  const timed = async <T>(action: string, run: () => Promise<T>): Promise<T> => {
    const done = metrics.storageAction(driver, action)
    try {
      return await run()
    } finally {
      done()
    }
  }
  const append = (inner: Append): Append => {
    const receive = inner.receive?.bind(inner)
    return {
      write: chunks => timed('Write', () => inner.write(chunks)),
      ...(receive && { receive: task => timed('Write', () => receive(task)) }),
      checkpoint: () => timed('Commit', () => inner.checkpoint()),
      complete: () => timed('Commit', () => inner.complete()),
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    }
  }
  const { claim, urlOf, batch } = store
  return {
    isShared: store.isShared,
    isReliable: store.isReliable,
    isFar: store.isFar === true,
    showsUnfinished: store.showsUnfinished === true,
    get: key => timed('GetContent', () => store.get(key)),
    size: key => timed('Stat', () => store.size(key)),
    open: (key, range) => timed('Reader', () => store.open(key, range)),
    list: (prefix, page) => timed('List', () => store.list(prefix, page)),
    put: (key, bytes, options) => timed('PutContent', () => store.put(key, bytes, options)),
    delete: (key, options) => timed('Delete', () => store.delete(key, options)),
    append: (key, from, expected) =>
      timed('Writer', async () => append(await store.append(key, from, expected))),
    discard: (key, from) => timed('Delete', () => store.discard(key, from)),
    unfinished: prefix => store.unfinished(prefix),
    ...(claim === undefined ? {} : { claim: claim.bind(store) }),
    ...(urlOf === undefined ? {} : { urlOf: urlOf.bind(store) }),
    ...(batch === undefined
      ? {}
      : {
          batch: () => {
            const inner = batch.call(store)
            return {
              ...measuredStore(inner, driver, metrics),
              prepare: bytes => inner.prepare(bytes),
              settle: () => timed('Commit', () => inner.settle()),
              [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
            }
          },
        }),
  }
}
