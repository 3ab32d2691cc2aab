/** Several who want the same at the same time share one attempt, its failure included. */
export class SingleFlight<T> {
  readonly #underWay = new Map<string, Promise<T>>()

  run(key: string, attempt: () => Promise<T>): Promise<T> {
    const known = this.#underWay.get(key)
    if (known !== undefined) return known
    const made = attempt().finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, made)
    return made
  }
}
