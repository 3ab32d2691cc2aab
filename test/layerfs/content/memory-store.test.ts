import { describe } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { contentStoreContract, downloadContract } from './content-store.contract.ts'

describe('memoryStore', () => {
  contentStoreContract(async () => memoryStore())
  downloadContract(async () => memoryStore())
})
