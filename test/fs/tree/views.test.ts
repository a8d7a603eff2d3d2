import { describe, expect, test } from 'bun:test'
import { MODE, viewAttributes } from '../../../src/fs/attributes.ts'
import { type FileSystem, FsError, type Node } from '../../../src/fs/filesystem.ts'
import { csv, openText } from '../../../src/fs/text/layout.ts'
import type { FileNode, TreeNode } from '../../../src/fs/tree/node.ts'
import type { ViewContext, ViewDefinition } from '../../../src/fs/views/context.ts'
import { generated } from '../../../src/fs/views/generated.ts'
import { views } from '../../../src/fs/views/index.ts'
import { named, readText } from '../../../src/fs/views/view.ts'
import { codeOf, LakeInMemory, rootOf, textOf, walk } from './lake.ts'
import { StaticFolder } from './static-folder.ts'

const HEADER = 'id,name\n'
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

async function append(fs: FileSystem, rows: string): Promise<void> {
  const csv = await walk(fs, rootOf(fs), 'data/data.csv')
  await fs.write(csv, (await fs.getattr(csv)).size, bytesOf(rows), 'file_sync')
}

async function names(fs: FileSystem, path?: string): Promise<string[]> {
  const folder = path === undefined ? rootOf(fs) : await walk(fs, rootOf(fs), path)
  return (await fs.readdir(folder, 0n, 100)).entries.map(({ name }) => name)
}

describe('the list of views', () => {
  test('says in which order they are listed, and what may be written', async () => {
    await using lake = await LakeInMemory.make()
    const fs = lake.fileSystem
    expect(await names(fs)).toEqual(['.', '..', 'data', '.query', 'schema.sql', '.stats', '.errors', 'queries'])
    expect(await names(fs, 'data')).toEqual(['.', '..', 'data.csv', 'data.json', 'data.jsonl'])
    for (const { folder, name, writable } of views.filter(view => !view.name.includes('*'))) {
      const node = await walk(fs, rootOf(fs), folder === 'root' ? name : `${folder}/${name}`)
      expect([name, (await fs.access(node)).access.modify]).toEqual([name, writable])
    }
  })

  test('has cookies that tell its lines apart', () => {
    for (const folder of new Set(views.map(view => view.folder))) {
      const cookies = views.filter(view => view.folder === folder).map(({ cookie }) => cookie)
      expect(new Set(cookies).size).toBe(cookies.length)
    }
  })
})

// What is in a file of its own in src/fs/views.
const versionView = generated(({ refresh }) => ({
  produce: async () => bytesOf(`${(await refresh()).version}\n`),
}))

describe('a new view', () => {
  const line: ViewDefinition = {
    folder: 'root',
    name: '.version',
    node: versionView,
    cookie: 20n,
    listed: true,
    writable: false,
  }
  const withView = (view: ViewDefinition): Promise<LakeInMemory> => LakeInMemory.make({ views: [...views, view] })

  test('is a file and a line: it is looked up, listed, read, and refuses changes', async () => {
    await using lake = await withView(line)
    const fs = lake.fileSystem
    const root = rootOf(fs)
    expect(await names(fs)).toEqual([
      '.',
      '..',
      'data',
      '.query',
      'schema.sql',
      '.stats',
      '.errors',
      '.version',
      'queries',
    ])
    const node = await walk(fs, root, '.version')
    expect(await textOf(fs, node)).toBe('0\n')
    await append(fs, '1,Alice\n')
    expect(await textOf(fs, node)).toBe('1\n')
    expect(await codeOf(fs.write(node, 0n, bytesOf('x'), 'file_sync'))).toBe('EACCES')
    expect(await codeOf(fs.remove(root, '.version'))).toBe('EACCES')
    expect(await codeOf(fs.rename(root, '.version', root, 'other'))).toBe('EACCES')
    expect(await codeOf(fs.mkdir(root, '.version', {}))).toBe('EEXIST')
    expect(await codeOf(fs.lookup(node, 'x'))).toBe('ENOTDIR')
    const errors = await textOf(fs, await walk(fs, root, '.errors'))
    expect(errors.split('\n').filter(sentence => sentence.includes(' .version: '))).toHaveLength(4)
  })

  test('that is hidden is found by who knows its name', async () => {
    await using lake = await withView({ ...line, listed: false })
    const fs = lake.fileSystem
    expect(await names(fs)).not.toContain('.version')
    expect(await textOf(fs, await walk(fs, rootOf(fs), '.version'))).toBe('0\n')
    expect(await codeOf(fs.mkdir(rootOf(fs), '.version', {}))).toBe('EEXIST')
  })

  test('takes the place of what a user had under its name, which stays on disk and comes back without it', async () => {
    await using lake = await LakeInMemory.make()
    const root = rootOf(lake.fileSystem)
    const { node } = await lake.fileSystem.create(root, '.version', { kind: 'unchecked', attributes: {} })
    await lake.fileSystem.write({ ...root, ...node }, 0n, bytesOf('mine'), 'file_sync')
    await lake.restart({ views: [...views, line] })
    expect(await textOf(lake.fileSystem, await walk(lake.fileSystem, root, '.version'))).toBe('0\n')
    expect((await names(lake.fileSystem)).filter(name => name === '.version')).toHaveLength(1)
    await lake.restart({ views })
    expect(await textOf(lake.fileSystem, await walk(lake.fileSystem, root, '.version'))).toBe('mine')
  })
})

/** `.versions/<n>/data.csv`: the table as it was. Ids tell the version and the node. */
const FIRST_ID = 1n << 59n
const versionsView: ViewDefinition['node'] = (context, line) => {
  const { owner } = context
  const root = new StaticFolder(FIRST_ID, 1n, '.versions', [])
  const folderOf = (version: bigint): StaticFolder => {
    const id = FIRST_ID | ((version + 1n) << 4n)
    return new StaticFolder(id, FIRST_ID, `.versions/${version}`, [versionFile(context, id | 1n, version)])
  }
  const folders = Object.assign(root, {
    lookup: async (name: string): Promise<TreeNode> => {
      const { version } = await context.refresh()
      if (!/^\d+$/.test(name) || BigInt(name) > version) throw new FsError('ENOENT', `there is no version ${name}`)
      return folderOf(BigInt(name))
    },
    list: async (after: bigint, limit: number) => {
      const { version } = await context.refresh()
      const all = Array.from({ length: Number(version) + 1 }, (_, i) => folderOf(BigInt(i)))
      const behind = all.filter(({ id }) => id > after)
      const entries = behind
        .slice(0, limit)
        .map(({ id }) => ({ id, name: String(((id ^ FIRST_ID) >> 4n) - 1n), cookie: id }))
      return { entries, endOfDirectory: behind.length <= limit }
    },
  })
  return named(line, {
    kind: 'directory',
    open: () => folders,
    find: ({ id }) => {
      if (id === root.id) return folders
      if (id < FIRST_ID || id >= FIRST_ID << 1n) return undefined
      const folder = folderOf(((id ^ FIRST_ID) >> 4n) - 1n)
      return folder.id === id ? folder : folder.nodes.find(node => node.id === id)
    },
    entry: async () => ({ id: root.id, attributes: { ...(await root.attributes()), ...owner } }),
  })
}

function versionFile({ table, segments, owner }: ViewContext, id: bigint, version: bigint): FileNode {
  const open = async () => openText(table, await table.at(version), segments, csv)
  const attributesOf = (size: number) => viewAttributes(owner, { id, size, mtime: 1n, mode: MODE.readOnly })
  return {
    kind: 'file',
    id,
    name: 'data.csv',
    writable: false,
    attributes: async () => attributesOf((await open()).size),
    read: async (offset, count) => {
      const text = await open()
      return { ...(await readText(text, offset, count)), attributes: attributesOf(text.size) }
    },
  }
}

describe('a view that is a folder', () => {
  const line: ViewDefinition = {
    folder: 'root',
    name: '.versions',
    node: versionsView,
    cookie: 21n,
    listed: false,
    writable: false,
  }

  test('shows earlier versions below it, by ids that a restart leaves as they are', async () => {
    await using lake = await LakeInMemory.make({ views: [...views, line] })
    await append(lake.fileSystem, '1,Alice\n')
    await append(lake.fileSystem, '2,Bob\n')
    const root = rootOf(lake.fileSystem)
    expect(await names(lake.fileSystem, '.versions')).toEqual(['.', '..', '0', '1', '2'])
    expect(await names(lake.fileSystem, '.versions/1')).toEqual(['.', '..', 'data.csv'])
    const file = await walk(lake.fileSystem, root, '.versions/1/data.csv')
    expect(await textOf(lake.fileSystem, file)).toBe(`${HEADER}1,Alice\n`)
    await lake.restart({})
    expect(await textOf(lake.fileSystem, file)).toBe(`${HEADER}1,Alice\n`)
    expect(await codeOf(walk(lake.fileSystem, root, '.versions/3'))).toBe('ENOENT')
  })

  test('takes nothing and gives nothing away', async () => {
    await using lake = await LakeInMemory.make({ views: [...views, line] })
    const fs = lake.fileSystem
    const root = rootOf(fs)
    const folder = await walk(fs, root, '.versions/0')
    const file = await walk(fs, folder, 'data.csv')
    await fs.create(root, 'own', { kind: 'unchecked', attributes: {} })
    const changes: readonly (readonly [string, (on: Node) => Promise<unknown>])[] = [
      ['EACCES', on => fs.create(on, 'x', { kind: 'unchecked', attributes: {} })],
      ['EACCES', on => fs.mkdir(on, 'x', {})],
      ['EACCES', on => fs.remove(on, 'data.csv')],
      ['EACCES', on => fs.rename(root, 'own', on, 'own')],
      ['EACCES', on => fs.rename(on, 'data.csv', root, 'data.csv')],
      ['EACCES', () => fs.rmdir(root, '.versions')],
      ['EISDIR', () => fs.remove(root, '.versions')],
      ['EACCES', () => fs.write(file, 0n, bytesOf('x'), 'file_sync')],
    ]
    for (const [code, change] of changes) expect(await codeOf(change(folder))).toBe(code)
    expect((await fs.access(folder)).access).toMatchObject({
      lookup: true,
      modify: false,
      extend: false,
      delete: false,
    })
  })
})
