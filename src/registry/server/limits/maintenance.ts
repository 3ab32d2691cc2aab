/** A registry that the operator closed for a while: 503 for everything, with their words. */
import { ResourceError } from '../../storage/resource-error.ts'

export interface Maintenance {
  readonly message: string
  readonly retryAfterS: number
}

export class UnderMaintenance extends ResourceError {
  readonly retryAfterS: number

  constructor({ message, retryAfterS }: Maintenance) {
    super('unavailable registry', message)
    this.retryAfterS = retryAfterS
  }
}
