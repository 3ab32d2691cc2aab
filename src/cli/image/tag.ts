import { findImage } from '../../layerfs/runtime/local-image.ts'
import { openStore } from '../../layerfs/store.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { parseReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import { wantedPlatform } from '../wanted-platform.ts'

export const tagCommand: Command = defineCommand({
  name: 'tag',
  usage: 'IMAGE NAME[:TAG]',
  summary: 'Give an image another name',
  examples: ['tag app registry.example.com/team/app:1.2'],
  flags: {},
  arity: { min: 2, max: 2 },
  run: async ({ args: [source = '', name = ''], environment }) => {
    const reference = parseReference(name)
    if (reference.digest !== undefined) {
      throw new OciError(
        'invalid',
        `Cannot tag as "${printable(name)}": a name with a digest is fixed`,
      )
    }
    await using store = await openStore(environment.root)
    const { target } = await findImage(store, source, wantedPlatform(undefined))
    await store.images.set({ reference, target })
    return 0
  },
})
