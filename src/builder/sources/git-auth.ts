/** Credentials for repositories over HTTP, from secrets (C28). */
import type { SecretSource } from '../steps/step-world.ts'
import type { GitSetting } from './git-command.ts'
import { headerText } from './url-request.ts'

/**
 * Settings that send the secret GIT_AUTH_HEADER or GIT_AUTH_TOKEN, that of the host first, to the
 * remote's origin. Redirects are not followed then: git would send it along.
 */
export async function authSettings(remote: string, secrets: SecretSource): Promise<GitSetting[]> {
  if (!/^https?:/i.test(remote) || !URL.canParse(remote)) return []
  const { origin, host } = new URL(remote)
  const authorization = await authorizationFor(host, secrets)
  if (authorization === undefined) return []
  return [
    [`http.${origin}/.extraHeader`, `Authorization: ${authorization}`],
    [`http.${origin}/.followRedirects`, 'false'],
  ]
}

async function authorizationFor(host: string, secrets: SecretSource): Promise<string | undefined> {
  for (const suffix of [`.${host}`, '']) {
    const header = await secrets(`GIT_AUTH_HEADER${suffix}`)
    if (header !== undefined) return headerText(header)
    const token = await secrets(`GIT_AUTH_TOKEN${suffix}`)
    if (token !== undefined) {
      const user = Buffer.from(`x-access-token:${headerText(token)}`)
      return `basic ${user.toString('base64')}`
    }
  }
  return undefined
}
