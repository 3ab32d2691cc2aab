/** What a container has of volumes: as a user asks for it, and as its record keeps it. */

/** What a user asks for: `-v data:/var/lib/data:ro`. */
export interface VolumeWish {
  /** Absent: one of the container's own. */
  readonly name?: string
  readonly target: string
  readonly readOnly: boolean
  /** Whether it gets what the image has there, when it is empty. */
  readonly copies: boolean
}

/** As a container's record has it. */
export interface UsedVolume extends VolumeWish {
  readonly name: string
  readonly isAnonymous: boolean
}
