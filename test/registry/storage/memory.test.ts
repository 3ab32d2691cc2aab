import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { objectStoreContract } from './object-store.contract.ts'

objectStoreContract('MemoryObjectStore', async () => ({
  objects: new MemoryObjectStore(),
  [Symbol.asyncDispose]: async () => {},
}))
