import { ExportedFileSystem } from '../../src/fs/export.ts'
import type { FileSystem } from '../../src/fs/filesystem.ts'
import { MemoryFileSystem } from '../nfs/memory-filesystem.ts'
import { type ContractSubject, fileSystemContract } from './filesystem.contract.ts'
import { LakeInMemory, rootOf, walk } from './tree/lake.ts'
import { sideBySide } from './tree/static-folder.ts'

/** A folder of its own, so that nothing else is in it. */
async function subject(
  fs: FileSystem,
  path: string | undefined,
  dispose: () => Promise<void>,
): Promise<ContractSubject> {
  const parent = path === undefined ? rootOf(fs) : await walk(fs, rootOf(fs), path)
  const { node } = await fs.mkdir(parent, 'own', {})
  return { fs, folder: { ...parent, ...node }, [Symbol.asyncDispose]: dispose }
}

async function ofLake(path: string | undefined): Promise<ContractSubject> {
  const lake = await LakeInMemory.make()
  return subject(lake.fileSystem, path, () => lake[Symbol.asyncDispose]())
}

fileSystemContract('the file system in memory', () => subject(new MemoryFileSystem(), undefined, async () => undefined))

fileSystemContract('an export', () =>
  subject(new ExportedFileSystem(new MemoryFileSystem()), undefined, async () => undefined),
)

fileSystemContract('the root of a table', () => ofLake(undefined))

fileSystemContract('the folder of the views', () => ofLake('data'))

fileSystemContract('a table among others', async () => {
  const lake = await LakeInMemory.make()
  const fs = sideBySide([
    { name: 'other', number: 1, fileSystem: new MemoryFileSystem() },
    { name: 'lake', number: 0xffff, fileSystem: lake.fileSystem },
  ])
  return subject(fs, 'lake', () => lake[Symbol.asyncDispose]())
})
