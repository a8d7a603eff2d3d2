import { describe, expect, test } from 'bun:test'
import type { DirectoryEntry, FileSystem, Node } from '../../../src/fs/filesystem.ts'
import { MountedFileSystem } from '../../../src/fs/tree/mounts.ts'
import { Handles } from '../../../src/nfs/nfs3/handles.ts'
import { MemoryFileSystem } from '../../nfs/memory-filesystem.ts'
import { codeOf, LakeInMemory, rootOf, textOf, walk } from './lake.ts'
import { sideBySide } from './static-folder.ts'

const HEADER = 'id,name\n'
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Two tables under one root. */
class Two implements AsyncDisposable {
  readonly trips: LakeInMemory
  readonly taxis: LakeInMemory
  fs: FileSystem

  private constructor(trips: LakeInMemory, taxis: LakeInMemory) {
    this.trips = trips
    this.taxis = taxis
    this.fs = this.#mounted()
  }

  static async make(): Promise<Two> {
    const two = new Two(await LakeInMemory.make(), await LakeInMemory.make())
    await two.append('trips/data/data.csv', '1,Alice\n')
    await two.append('taxis/data/data.csv', '2,Bob\n')
    return two
  }

  get root(): Node {
    return rootOf(this.fs)
  }

  walk(path: string): Promise<Node> {
    return walk(this.fs, this.root, path)
  }

  async read(path: string): Promise<string> {
    return textOf(this.fs, await this.walk(path))
  }

  async append(path: string, rows: string): Promise<void> {
    const node = await this.walk(path)
    const { size } = await this.fs.getattr(node)
    await this.fs.write(node, size, bytesOf(rows), 'file_sync')
  }

  async entries(path: string | undefined): Promise<readonly DirectoryEntry[]> {
    const node = path === undefined ? this.root : await this.walk(path)
    return (await this.fs.readdir(node, 0n, 100)).entries
  }

  /** All files and folders below the root, by their paths. */
  async everything(): Promise<Map<string, Node>> {
    const found = new Map<string, Node>()
    for (const path of ['trips', 'taxis', 'trips/data', 'taxis/data', 'trips/queries', 'taxis/queries']) {
      found.set(path, await this.walk(path))
      for (const { name } of await this.entries(path)) {
        if (name === '.' || name === '..') continue
        found.set(`${path}/${name}`, await this.walk(`${path}/${name}`))
      }
    }
    return found
  }

  async restart(): Promise<void> {
    await this.trips.restart()
    await this.taxis.restart()
    this.fs = this.#mounted()
  }

  #mounted(): FileSystem {
    return sideBySide([
      { name: 'trips', number: 1, fileSystem: this.trips.fileSystem },
      { name: 'taxis', number: 2, fileSystem: this.taxis.fileSystem },
    ])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.trips[Symbol.asyncDispose]()
    await this.taxis[Symbol.asyncDispose]()
  }
}

describe('two tables under one root', () => {
  test('are read each under its own name, and an append is seen in one of them', async () => {
    await using two = await Two.make()
    expect(await two.read('trips/data/data.csv')).toBe(`${HEADER}1,Alice\n`)
    expect(await two.read('taxis/data/data.csv')).toBe(`${HEADER}2,Bob\n`)
    const before = (await two.taxis.table.refresh()).version
    await two.append('trips/data/data.csv', '3,Carol\n')
    expect(await two.read('trips/data/data.csv')).toBe(`${HEADER}1,Alice\n3,Carol\n`)
    expect(await two.read('trips/data/data.jsonl')).toContain('"Carol"')
    expect(await two.read('taxis/data/data.csv')).toBe(`${HEADER}2,Bob\n`)
    expect((await two.taxis.table.refresh()).version).toBe(before)
  })

  test('take no file of each other by RENAME: EXDEV, so that mv copies it', async () => {
    await using two = await Two.make()
    const [trips, taxis] = [await two.walk('trips'), await two.walk('taxis')]
    await two.fs.create(trips, 'notes', { kind: 'unchecked', attributes: {} })
    const data = [await two.walk('trips/data'), await two.walk('taxis/data')] as const
    expect(await codeOf(two.fs.rename(trips, 'notes', taxis, 'notes'))).toBe('EXDEV')
    expect(await codeOf(two.fs.rename(trips, 'notes', two.root, 'notes'))).toBe('EXDEV')
    expect(await codeOf(two.fs.rename(data[0], 'data.csv', data[1], 'data.csv'))).toBe('EXDEV')
    expect(await codeOf(two.fs.rename(trips, 'notes', trips, 'renamed'))).toBe('OK')
    expect(await two.read('trips/renamed')).toBe('')
    expect(await two.read('taxis/data/data.csv')).toBe(`${HEADER}2,Bob\n`)
  })

  test('keep their places in the root', async () => {
    await using two = await Two.make()
    expect(await codeOf(two.fs.rmdir(two.root, 'trips'))).toBe('EACCES')
    expect(await codeOf(two.fs.remove(two.root, 'trips'))).toBe('EACCES')
    expect(await codeOf(two.fs.rename(two.root, 'trips', two.root, 'other'))).toBe('EACCES')
    expect(await codeOf(two.fs.mkdir(two.root, 'other', {}))).toBe('EACCES')
    expect((await two.entries(undefined)).map(({ name }) => name)).toEqual(['.', '..', 'trips', 'taxis'])
  })

  test('are listed with . and .., which lead out of a table to the root', async () => {
    await using two = await Two.make()
    const idOf = async (path: string | undefined): Promise<bigint> => {
      const node = path === undefined ? two.root : await two.walk(path)
      return (await two.fs.getattr(node)).fileId
    }
    for (const [path, parent] of [
      [undefined, undefined],
      ['trips', undefined],
      ['taxis', undefined],
      ['taxis/data', 'taxis'],
      ['trips/queries', 'trips'],
    ] as const) {
      const entries = await two.entries(path)
      expect(entries.slice(0, 2)).toMatchObject([
        { name: '.', fileId: await idOf(path) },
        { name: '..', fileId: await idOf(parent) },
      ])
      for (const { name, node, fileId, attributes } of entries) {
        const found = await two.fs.lookup(path === undefined ? two.root : await two.walk(path), name)
        expect([name, node.id, fileId]).toEqual([name, found.node.id, found.attributes.fileId])
        if (attributes !== undefined) expect(attributes.fileId).toBe(fileId)
      }
    }
  })

  test('have ids and handles that nothing else has, and that a restart leaves as they are', async () => {
    await using two = await Two.make()
    const handles = new Handles(new Uint8Array(32).fill(1))
    const before = await two.everything()
    expect([...before.keys()].filter(path => path.endsWith('.parquet'))).toHaveLength(2)
    const ids = await Promise.all([...before.values()].map(async node => (await two.fs.getattr(node)).fileId))
    const made = [...before.values()].map(node => Buffer.from(handles.make(node)).toString('hex'))
    expect(new Set(ids).size).toBe(before.size)
    expect(new Set(made).size).toBe(before.size)
    for (const id of ids) expect(BigInt.asUintN(64, id)).toBe(id)
    await two.restart()
    for (const [i, [path, node]] of [...before].entries()) {
      const opened = handles.open(Buffer.from(made[i]!, 'hex'))
      if (opened.kind !== 'node') throw new Error(`${path}: ${opened.kind}`)
      const attributes = await codeOrId(two.fs, { ...opened.node, caller: node.caller })
      // What was asked of `.query` ended with the server.
      expect([path, attributes]).toEqual([path, path.endsWith('.query') ? 'ESTALE' : ids[i]!])
    }
    const csv = before.get('taxis/data/data.csv')!
    expect(await textOf(two.fs, csv)).toBe(`${HEADER}2,Bob\n`)
  })

  test('are stale once their number is mounted no more', async () => {
    await using two = await Two.make()
    const csv = await two.walk('taxis/data/data.csv')
    const one = sideBySide([{ name: 'trips', number: 1, fileSystem: two.trips.fileSystem }])
    expect(await codeOf(one.getattr(csv))).toBe('ESTALE')
  })
})

async function codeOrId(fs: FileSystem, node: Node): Promise<string | bigint> {
  return fs.getattr(node).then(
    ({ fileId }) => fileId,
    (error: { code: string }) => error.code,
  )
}

describe('a file system on a folder of another', () => {
  test('covers the folder, which stays where it is', async () => {
    const below = new MemoryFileSystem()
    const above = new MemoryFileSystem()
    const root = rootOf(below)
    const { node } = await below.mkdir(root, 'folder', {})
    await below.create({ ...root, ...node }, 'covered', { kind: 'unchecked', attributes: {} })
    await above.create(rootOf(above), 'file', { kind: 'unchecked', attributes: {} })
    const fs = new MountedFileSystem(below, [{ number: 7, folder: node.id, fileSystem: above }])
    const folder = await walk(fs, root, 'folder')
    expect((await fs.readdir(folder, 0n, 10)).entries.map(({ name }) => name)).toEqual(['.', '..', 'file'])
    expect((await walk(fs, folder, '..')).id).toBe(root.id)
    for (const change of [fs.rmdir(root, 'folder'), fs.rename(root, 'folder', root, 'other')])
      expect(await codeOf(change)).toBe('EACCES')
    await fs.mkdir(root, 'other', {})
    expect(await codeOf(fs.rename(root, 'other', root, 'folder'))).toBe('EACCES')
    expect(await codeOf(fs.rename(root, 'other', root, 'another'))).toBe('OK')
  })

  test('has a number of its own', () => {
    const memory = (number: number, folder: bigint) => ({ number, folder, fileSystem: new MemoryFileSystem() })
    const mounted = (...mounts: ReturnType<typeof memory>[]) => new MountedFileSystem(new MemoryFileSystem(), mounts)
    expect(() => mounted(memory(1, 2n), memory(1, 3n))).toThrow('same number')
    expect(() => mounted(memory(0, 2n))).toThrow('same number')
    expect(() => mounted(memory(65_536, 2n))).toThrow('from 1 to 65535')
  })

  test('has a say in the write verifier: bytes that it lost are sent again', () => {
    const [below, above] = [new MemoryFileSystem(), new MemoryFileSystem()]
    const fs = new MountedFileSystem(below, [{ number: 1, folder: 2n, fileSystem: above }])
    const first = fs.writeVerifier
    expect(fs.writeVerifier).toBe(first)
    above.writeVerifier = 2n
    expect(fs.writeVerifier).not.toBe(first)
  })
})
