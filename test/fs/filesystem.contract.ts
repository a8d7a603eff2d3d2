import { describe, expect, test } from 'bun:test'
import type { CreateHow, DirectoryEntry, Export, FileSystem, Node } from '../../src/fs/filesystem.ts'
import { codeOf, rootOf, textOf, walk } from './tree/lake.ts'

/** A file system, and a folder of it in which all is the users' own. */
export interface ContractSubject extends AsyncDisposable {
  readonly fs: FileSystem
  readonly folder: Node
}

const UNCHECKED: CreateHow = { kind: 'unchecked', attributes: {} }
const GUARDED: CreateHow = { kind: 'guarded', attributes: {} }
const exclusive = (verifier: bigint): CreateHow => ({ kind: 'exclusive', verifier })
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** What every FileSystem does, as its interface and RFC 1813 say. */
export function fileSystemContract(name: string, make: () => Promise<ContractSubject>): void {
  describe(`${name} as a FileSystem`, () => {
    const it = (behaviour: string, run: (subject: Tools) => Promise<void>): void =>
      test(behaviour, async () => {
        await using subject = await make()
        await run(new Tools(subject))
      })
    bytesContract(it)
    attributesContract(it)
    createContract(it)
    removeContract(it)
    renameContract(it)
    listingContract(it)
    handlesContract(it)
  })
}

type It = (behaviour: string, run: (subject: Tools) => Promise<void>) => void

class Tools {
  readonly fs: FileSystem
  readonly folder: Node

  constructor({ fs, folder }: ContractSubject) {
    this.fs = fs
    this.folder = folder
  }

  async file(name: string, content = '', folder = this.folder): Promise<Node> {
    const { node } = await this.fs.create(folder, name, UNCHECKED)
    const file = { ...this.folder, ...node }
    if (content !== '') await this.fs.write(file, 0n, bytesOf(content), 'file_sync')
    return file
  }

  async directory(name: string, folder = this.folder): Promise<Node> {
    return { ...this.folder, ...(await this.fs.mkdir(folder, name, {})).node }
  }

  walk(path: string): Promise<Node> {
    return walk(this.fs, this.folder, path)
  }

  text(node: Node): Promise<string> {
    return textOf(this.fs, node)
  }

  async entries(folder = this.folder, limit = 100): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = []
    for (;;) {
      const page = await this.fs.readdir(folder, entries.at(-1)?.cookie ?? 0n, limit)
      expect(page.entries.length).toBeLessThanOrEqual(limit)
      expect(page.entries.length > 0 || page.endOfDirectory).toBe(true)
      entries.push(...page.entries)
      if (page.endOfDirectory) return entries
    }
  }

  async names(folder = this.folder, limit = 100): Promise<string[]> {
    return (await this.entries(folder, limit)).map(entry => entry.name).filter(name => !/^\.\.?$/.test(name))
  }
}

function bytesContract(it: It): void {
  it('gives back what was written, and says where the file ends', async s => {
    const file = await s.file('f', 'abcdef')
    for (const [offset, count, text, eof] of [
      [0n, 3, 'abc', false],
      [3n, 3, 'def', true],
      [4n, 100, 'ef', true],
      [6n, 10, '', true],
      [1n << 40n, 10, '', true],
    ] as const) {
      const read = await s.fs.read(file, offset, count)
      expect([offset, new TextDecoder().decode(Buffer.concat(read.data)), read.eof]).toEqual([offset, text, eof])
      expect(read.attributes).toEqual(await s.fs.getattr(file))
    }
  })

  it('fills with zeros what nobody has written, and keeps what is beside a WRITE', async s => {
    const file = await s.file('f', 'abcdef')
    await s.fs.write(file, 2n, bytesOf('XY'), 'unstable')
    await s.fs.write(file, 8n, bytesOf('z'), 'unstable')
    expect(await s.text(file)).toBe('abXYef\0\0z')
    await s.fs.setattr(file, { size: 3n })
    await s.fs.setattr(file, { size: 5n })
    expect(await s.text(file)).toBe('abX\0\0')
  })

  it('lets calls on a file take effect in the order in which they are made', async s => {
    const file = await s.file('f')
    const calls = Array.from({ length: 20 }, (_, i) => s.fs.write(file, 0n, bytesOf(`${i}`.padStart(4)), 'unstable'))
    await Promise.all([...calls, s.fs.setattr(file, { size: 3n }), s.fs.write(file, 3n, bytesOf('!'), 'unstable')])
    await s.fs.commit(file, 0n, 0)
    expect(await s.text(file)).toBe('  1!')
  })

  it('answers WRITE and COMMIT with how much is there, how stable it is, and what the file was and is', async s => {
    const file = await s.file('f', 'ab')
    for (const stability of ['unstable', 'data_sync', 'file_sync'] as const) {
      const before = await s.fs.getattr(file)
      const { count, committed, change } = await s.fs.write(file, 1n, bytesOf('xyz'), stability)
      expect([count, change.before?.size, change.after]).toEqual([3, before.size, await s.fs.getattr(file)])
      expect(change.after!.mtime).toBeGreaterThan(before.mtime)
      const order = ['unstable', 'data_sync', 'file_sync']
      expect(order.indexOf(committed)).toBeGreaterThanOrEqual(order.indexOf(stability))
    }
    expect((await s.fs.commit(file, 0n, 0)).after).toEqual(await s.fs.getattr(file))
  })
}

function attributesContract(it: It): void {
  it('tells of files and folders what they are', async s => {
    const file = await s.file('f', 'abc')
    const folder = await s.directory('d')
    expect(await s.fs.getattr(file)).toMatchObject({ type: 'file', size: 3n, links: 1 })
    expect(await s.fs.getattr(folder)).toMatchObject({ type: 'directory' })
    expect((await s.fs.access(file)).attributes).toEqual(await s.fs.getattr(file))
    expect((await s.fs.access(file)).access).toMatchObject({ read: true, modify: true, extend: true, lookup: false })
    expect((await s.fs.access(folder)).access).toMatchObject({ read: true, modify: true, lookup: true, delete: true })
  })

  it('changes modes, sizes and times, but for who looked at another state', async s => {
    const file = await s.file('f', 'abc')
    const time = 1_234_567_890_123_456_789n
    const { after } = await s.fs.setattr(file, { mode: 0o640, size: 1n, mtime: { kind: 'client', time } })
    expect(after).toMatchObject({ mode: 0o640, size: 1n, mtime: time })
    expect(await s.fs.getattr(file)).toEqual(after!)
    expect(await codeOf(s.fs.setattr(file, { size: 0n }, after!.ctime - 1n))).toBe('ENOTSYNC')
    expect((await s.fs.getattr(file)).size).toBe(1n)
    await s.fs.setattr(file, { size: 0n, mtime: { kind: 'server' } }, after!.ctime)
    expect((await s.fs.getattr(file)).mtime).toBeGreaterThan(time)
  })

  it('refuses what is for files in folders, and the other way round', async s => {
    const file = await s.file('f')
    const folder = await s.directory('d')
    for (const call of [
      s.fs.read(folder, 0n, 1),
      s.fs.write(folder, 0n, bytesOf('x'), 'unstable'),
      s.fs.setattr(folder, { size: 0n }),
      s.fs.commit(folder, 0n, 0),
    ])
      expect(await codeOf(call)).toBe('EISDIR')
    for (const call of [
      s.fs.lookup(file, 'x'),
      s.fs.readdir(file, 0n, 10),
      s.fs.create(file, 'x', UNCHECKED),
      s.fs.mkdir(file, 'x', {}),
      s.fs.remove(file, 'x'),
      s.fs.rmdir(file, 'x'),
      s.fs.rename(file, 'x', s.folder, 'y'),
      s.fs.rename(s.folder, 'f', file, 'y'),
    ])
      expect(await codeOf(call)).toBe('ENOTDIR')
  })

  it('has room, and a write verifier that stays', async s => {
    const verifier = s.fs.writeVerifier
    const space = await s.fs.space(s.folder)
    expect(space.totalBytes).toBeGreaterThan(0n)
    expect(space.freeBytes).toBeLessThanOrEqual(space.totalBytes)
    expect(space.freeFiles).toBeLessThanOrEqual(space.totalFiles)
    expect(s.fs.writeVerifier).toBe(verifier)
  })
}

function createContract(it: It): void {
  it('creates unchecked, guarded and exclusively (RFC 1813, 3.3.8)', async s => {
    const first = await s.fs.create(s.folder, 'f', exclusive(42n))
    expect((await s.fs.create(s.folder, 'f', exclusive(42n))).node).toEqual(first.node)
    expect(await codeOf(s.fs.create(s.folder, 'f', exclusive(43n)))).toBe('EEXIST')
    expect(await codeOf(s.fs.create(s.folder, 'f', GUARDED))).toBe('EEXIST')
    const file = await s.file('f', 'abc')
    expect(file.id).toBe(first.node.id)
    await s.fs.create(s.folder, 'f', UNCHECKED)
    expect(await s.text(file)).toBe('abc')
    await s.fs.create(s.folder, 'f', { kind: 'unchecked', attributes: { size: 0n } })
    expect(await s.text(file)).toBe('')
    const made = await s.fs.create(s.folder, 'g', { kind: 'guarded', attributes: { mode: 0o640, size: 2n } })
    expect(made.attributes).toMatchObject({ type: 'file', mode: 0o640, size: 2n })
  })

  it('answers with what it made, and what its folder was and is', async s => {
    for (const [name, make] of [
      ['f', () => s.fs.create(s.folder, 'f', GUARDED)],
      ['d', () => s.fs.mkdir(s.folder, 'd', { mode: 0o750 })],
    ] as const) {
      const before = await s.fs.getattr(s.folder)
      const { node, attributes, directory } = await make()
      const found = await s.fs.lookup(s.folder, name)
      expect([node.id, attributes.fileId]).toEqual([found.node.id, found.attributes.fileId])
      expect(directory.before?.mtime).toBe(before.mtime)
      expect(directory.after!.mtime).toBeGreaterThan(before.mtime)
    }
    expect((await s.fs.getattr(await s.walk('d'))).mode).toBe(0o750)
  })

  it('makes nothing over a folder, and no folder over anything', async s => {
    await s.file('f')
    await s.directory('d')
    expect(await codeOf(s.fs.create(s.folder, 'd', UNCHECKED))).toBe('EISDIR')
    expect(await codeOf(s.fs.create(s.folder, 'd', GUARDED))).toBe('EEXIST')
    for (const name of ['f', 'd']) expect(await codeOf(s.fs.mkdir(s.folder, name, {}))).toBe('EEXIST')
  })

  it('checks names: no slash, NUL, . or .., at most 255 bytes of UTF-8', async s => {
    await s.file('f')
    const all = (name: string) => [
      s.fs.create(s.folder, name, UNCHECKED),
      s.fs.mkdir(s.folder, name, {}),
      s.fs.remove(s.folder, name),
      s.fs.rmdir(s.folder, name),
      s.fs.rename(s.folder, name, s.folder, 'g'),
      s.fs.rename(s.folder, 'f', s.folder, name),
    ]
    for (const name of ['', '.', '..', 'a/b', 'nul\0'])
      for (const call of all(name)) expect([name, await codeOf(call)]).toEqual([name, 'EINVAL'])
    for (const call of all('ü'.repeat(128))) expect(await codeOf(call)).toBe('ENAMETOOLONG')
    for (const name of [`${'ü'.repeat(127)}x`, ' ', '-rf', '日本', '…\n"', 'Ünïcödé']) await s.file(name, name)
    expect((await s.names()).length).toBe(7)
    expect(await s.text(await s.walk('日本'))).toBe('日本')
  })
}

function removeContract(it: It): void {
  it('removes files and empty folders, each by its own call', async s => {
    await s.file('f')
    const folder = await s.directory('d')
    await s.file('in', 'x', folder)
    expect(await codeOf(s.fs.remove(s.folder, 'd'))).toBe('EISDIR')
    expect(await codeOf(s.fs.rmdir(s.folder, 'f'))).toBe('ENOTDIR')
    expect(await codeOf(s.fs.rmdir(s.folder, 'd'))).toBe('ENOTEMPTY')
    for (const call of [s.fs.remove(s.folder, 'x'), s.fs.rmdir(s.folder, 'x'), s.fs.lookup(s.folder, 'x')])
      expect(await codeOf(call)).toBe('ENOENT')
    const before = await s.fs.getattr(folder)
    const { after } = await s.fs.remove(folder, 'in')
    expect(after!.mtime).toBeGreaterThan(before.mtime)
    await s.fs.rmdir(s.folder, 'd')
    await s.fs.remove(s.folder, 'f')
    expect(await s.names()).toEqual([])
  })
}

function renameContract(it: It): void {
  it('renames, and the file keeps its id and what is in it', async s => {
    const file = await s.file('a', 'abc')
    const folder = await s.directory('d')
    const { from, to } = await s.fs.rename(s.folder, 'a', folder, 'b')
    expect([from.after?.fileId, to.after?.fileId]).toEqual([
      (await s.fs.getattr(s.folder)).fileId,
      (await s.fs.getattr(folder)).fileId,
    ])
    expect((await s.walk('d/b')).id).toBe(file.id)
    expect(await s.text(file)).toBe('abc')
    expect(await codeOf(s.walk('a'))).toBe('ENOENT')
    await s.fs.rename(folder, 'b', folder, 'b')
    expect(await s.text(file)).toBe('abc')
    await s.fs.rename(s.folder, 'd', s.folder, 'e')
    expect((await s.walk('e/b')).id).toBe(file.id)
  })

  it('replaces what is of its own kind, and no folder with something in it', async s => {
    const [file, folder, full] = [await s.file('f', 'new'), await s.directory('d'), await s.directory('full')]
    const replaced = await s.file('old', 'old')
    await s.file('x', '', full)
    const rename = (from: string, to: string) => codeOf(s.fs.rename(s.folder, from, s.folder, to))
    expect(await rename('f', 'old')).toBe('OK')
    expect([await s.text(await s.walk('old')), (await s.walk('old')).id]).toEqual(['new', file.id])
    expect(await codeOf(s.fs.getattr(replaced))).toBe('ESTALE')
    expect(await rename('old', 'd')).toBe('EISDIR')
    expect(await rename('d', 'old')).toBe('ENOTDIR')
    expect(await rename('d', 'full')).toBe('ENOTEMPTY')
    expect(await rename('none', 'd')).toBe('ENOENT')
    const other = await s.directory('other')
    expect(await rename('d', 'other')).toBe('OK')
    expect([(await s.walk('other')).id, await codeOf(s.fs.getattr(other))]).toEqual([folder.id, 'ESTALE'])
  })

  it('moves no folder into itself', async s => {
    const folder = await s.directory('d')
    const below = await s.directory('below', folder)
    expect(await codeOf(s.fs.rename(s.folder, 'd', folder, 'x'))).toBe('EINVAL')
    expect(await codeOf(s.fs.rename(s.folder, 'd', below, 'x'))).toBe('EINVAL')
    expect(await codeOf(s.fs.rename(folder, 'below', s.folder, 'x'))).toBe('OK')
  })
}

function listingContract(it: It): void {
  it('lists every name once, . and .. first, whatever the size of the pages', async s => {
    const names = Array.from({ length: 20 }, (_, i) => `f${i}`)
    for (const name of names) await s.file(name)
    for (const limit of [1, 2, 3, 7, 22, 23, 100]) {
      const entries = await s.entries(s.folder, limit)
      expect(entries.map(({ name }) => name)).toEqual(['.', '..', ...names])
    }
  })

  it('lists what LOOKUP finds', async s => {
    await s.file('f', 'abc')
    await s.directory('d')
    for (const { name, node, fileId, attributes } of await s.entries()) {
      const found = await s.fs.lookup(s.folder, name)
      expect([name, node, fileId]).toEqual([name, found.node, found.attributes.fileId])
      if (attributes !== undefined) expect({ ...attributes, atime: 0n }).toEqual({ ...found.attributes, atime: 0n })
    }
  })

  it('goes on behind a cookie while names come and go', async s => {
    for (const name of ['a', 'b', 'c', 'd']) await s.file(name)
    const first = await s.fs.readdir(s.folder, 0n, 4)
    expect(first.entries.map(({ name }) => name)).toEqual(['.', '..', 'a', 'b'])
    for (const name of ['a', 'b', 'c']) await s.fs.remove(s.folder, name)
    await s.file('late')
    const rest = await s.fs.readdir(s.folder, first.entries.at(-1)!.cookie, 100)
    expect(rest.entries.map(({ name }) => name)).toEqual(['d', 'late'])
    expect([rest.endOfDirectory, rest.verifier]).toEqual([true, first.verifier])
  })

  it('leads by . to the folder and by .. to the one above, and no further than the root', async s => {
    const folder = await s.directory('d')
    expect((await walk(s.fs, folder, '.')).id).toBe(folder.id)
    expect((await walk(s.fs, folder, '..')).id).toBe(s.folder.id)
    const root = rootOf(s.fs)
    for (const name of ['.', '..']) expect((await walk(s.fs, root, name)).id).toBe(root.id)
  })
}

function handlesContract(it: It): void {
  it('gives no id twice, and knows no file that is gone', async s => {
    const ids: bigint[] = []
    for (let i = 0; i < 5; i++) {
      const file = await s.file('f')
      ids.push(file.id)
      await s.fs.remove(s.folder, 'f')
      for (const call of [s.fs.getattr(file), s.fs.read(file, 0n, 1), s.fs.write(file, 0n, bytesOf('x'), 'unstable')])
        expect(await codeOf(call)).toBe('ESTALE')
    }
    expect(new Set(ids).size).toBe(5)
    const folder = await s.directory('d')
    await s.fs.rmdir(s.folder, 'd')
    for (const call of [s.fs.lookup(folder, 'x'), s.fs.readdir(folder, 0n, 1), s.fs.create(folder, 'x', UNCHECKED)])
      expect(await codeOf(call)).toBe('ESTALE')
  })

  it('leaves a file in the export that its folder was reached through', async s => {
    await s.file('f')
    const through: Export = { frozen: false, readOnly: false, others: true }
    const folder = { ...s.folder, ...through }
    const nodes = [
      (await s.fs.lookup(folder, 'f')).node,
      (await s.fs.create(folder, 'g', UNCHECKED)).node,
      (await s.fs.mkdir(folder, 'd', {})).node,
      ...(await s.fs.readdir(folder, 0n, 100)).entries.map(entry => entry.node),
      s.fs.root(through),
    ]
    for (const { id, ...rest } of nodes) expect([id > 0n, rest]).toEqual([true, through])
  })
}
