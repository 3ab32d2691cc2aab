import { hostPlatform, type Platform, parsePlatform } from '../oci/platform.ts'

/** `--platform`, or this machine's. Throws `invalid`. */
export function wantedPlatform(text: string | undefined): Platform {
  return text === undefined ? hostPlatform(process.arch) : parsePlatform(text)
}
