/**
 * Every advisory of our reference on extraction and its neighbours, and the test of its class. A
 * test is named by its file and a part of its title; who renames one is told here.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

/** The table that layer/hostile goes through. */
const attacks = '../../fixtures/hostile/attacks.ts'

/** By class of attack; each line is for the advisories before it. */
const classes: Readonly<Record<string, readonly (readonly [string, string, string])[]>> = {
  'names that climb or are absolute': [
    ['CVE-2014-9356 CVE-2026-29064', attacks, 'names that climb'],
    ['CVE-2014-9358', 'image/archives', 'never uses a name of the archive as a path'],
    ['CVE-2018-20835', attacks, 'absolute names (CVE-2018-20835)'],
    ['CVE-2021-32804', attacks, 'under more slashes and dots'],
    ['CVE-2021-37713', attacks, 'as another system climbs'],
  ],
  'a link, then writing through it': [
    ['CVE-2014-6407 CVE-2015-8860', attacks, 'writing through an absolute link'],
    ['CVE-2015-3627 CVE-2015-3629', attacks, 'a link into /proc (magic links)'],
    ['CVE-2025-59343 CVE-2024-12905', attacks, 'writing through a climbing link'],
    ['CVE-2026-23745', attacks, 'a hard link to outside by an absolute name'],
    ['CVE-2021-29136', attacks, 'the root as a link'],
  ],
  'a hard link to outside': [
    ['CVE-2025-48387', attacks, 'a hard link to outside by climbing'],
    ['CVE-2026-24842', attacks, 'a hard link through a link (CVE-2026-24842)'],
    ['CVE-2026-26960', attacks, 'a hard link through a chain of links'],
  ],
  'caches of paths': [
    ['CVE-2021-32803', attacks, 'a directory entry over a link, then a file in it'],
    ['CVE-2021-37701', attacks, 'a directory that becomes a link in mid-stream'],
    ['CVE-2021-37712 CVE-2026-23950', attacks, 'whose names differ in letters alone'],
    ['CVE-2025-47290', 'image/unpack', 'layers side by side write into none but their own'],
  ],
  'readers that disagree': [
    ['CVE-2025-62518', 'tar/reader', 'decides where the next header is'],
    ['CVE-2021-41190', '../oci/manifest', 'refuses what could be read as both'],
    ['CVE-2024-3727', '../oci/digest', 'sha256:../../../../etc/passwd'],
  ],
  'bombs and huge headers': [
    ['CVE-2017-14992', 'layer/hostile', 'a bomb: 64 MiB of zeros'],
    ['CVE-2022-2879', 'tar/reader', 'stops at each budget'],
    ['CVE-2025-58183', 'tar/reader', 'refuses a map in the content that'],
  ],
  'programs and libraries of the image': [
    ['CVE-2026-41567 CVE-2014-9357', 'compression/programs', 'is started to decompress'],
    ['CVE-2019-14271', 'layer/rootfs', 'stays inside when a link climbs out'],
  ],
  'copies and mounts beside a running container': [
    ['CVE-2018-15664 CVE-2023-0778', 'layer/hostile', 'a link that takes a directory’s place'],
    ['CVE-2019-10152 CVE-2026-42306', 'layer/copy', 'C10 follows links of the destination'],
    ['CVE-2024-1753', '../sandbox/build/run-mounts', 'R09 never leads out of what it shows'],
    ['CVE-2024-9407', '../builder/dockerfile/mount', 'bind-propagation=shared'],
    ['CVE-2024-9675', '../sandbox/build/run-mounts', 'R09 never leads out of what it shows'],
    ['CVE-2024-11218', '../sandbox/security', 'links that change under a mount reach nothing'],
    ['CVE-2026-55686', '../sandbox/build/steps', 'does not make directories of the host'],
  ],
  'passwd and group files': [
    ['CVE-2024-9676', 'layer/rootfs', 'refuses a FIFO without waiting for a writer'],
    ['CVE-2022-2989 CVE-2022-2990 CVE-2023-25173', '../sandbox/user', 'groups: [1000, 10, 29]'],
    ['CVE-2024-40635 CVE-2026-46680', '../sandbox/user', 'which does not fit'],
    ['CVE-2026-30892', '../sandbox/escapes', 'numbers that are no user'],
  ],
  'files of layers within reach': [
    ['CVE-2021-41091 CVE-2021-41103', 'store', 'that only its owner can enter'],
  ],
  building: [
    ['CVE-2024-23651', '../sandbox/security', 'links that change under a mount reach nothing'],
    ['CVE-2024-23652', '../sandbox/mounts', 'removing them follows no link that the program left'],
    ['CVE-2024-23653', '../sandbox/build/run-rights', 'R05 runs without filter'],
    ['CVE-2026-33747', '../sandbox/build/context-files', 'X09 keeps links inside the context'],
    ['CVE-2026-33748', '../sandbox/build/add-git', 'keeps a subdirectory inside the repository'],
    ['CVE-2024-21626', '../sandbox/escapes', 'a working directory among our descriptors'],
  ],
}

describe.each(Object.entries(classes))('%s', (_, tests) => {
  test.each(tests)('%s: %s has "%s"', (_advisories, path, title) => {
    const file = new URL(path === attacks ? path : `./${path}.test.ts`, import.meta.url)
    expect(readFileSync(file, 'utf8')).toContain(title)
  })
})
