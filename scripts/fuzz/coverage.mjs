// Which blocks of which functions ran, by V8's own count.
import { Session } from 'node:inspector'

export class Coverage {
  #session = new Session()
  #watched
  #seen = new Set()

  constructor(watched) {
    this.#watched = watched
    this.#session.connect()
    this.#post('Profiler.enable')
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  get size() {
    return this.#seen.size
  }

  // What ran since the last call that never ran before, as names.
  takeNew() {
    const fresh = new Set([...this.take()].filter(place => !this.#seen.has(place)))
    for (const place of fresh) this.#seen.add(place)
    return fresh
  }

  // What ran since the last call.
  take() {
    const places = new Set()
    for (const { url, functions } of this.#post('Profiler.takePreciseCoverage').result) {
      if (!this.#watched.test(url)) continue
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0) places.add(`${url}:${startOffset}-${endOffset}`)
        }
      }
    }
    return places
  }

  #post(method, parameters) {
    let answer
    this.#session.post(method, parameters, (error, result) => {
      if (error) throw new Error(`${method}: ${error.message}`)
      answer = result
    })
    return answer
  }
}
