import { expect, test } from 'bun:test'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, DATA, Fixture, ROOT } from './fixture.ts'

interface ModelNode {
  readonly id: bigint
  /** Undefined for a folder. */
  content: Buffer | undefined
  readonly entries: Map<string, ModelNode>
}

/** mulberry32: a failing seed can be run again. */
function seeded(seed: number): (limit: number) => number {
  let state = seed >>> 0
  return limit => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % limit
  }
}

/** What POSIX says, in memory; each method returns the error code, or 'none'. */
class Model {
  readonly root: ModelNode = { id: ROOT, content: undefined, entries: new Map() }
  readonly data: ModelNode = { id: DATA, content: undefined, entries: new Map() }

  folders(): ModelNode[] {
    return [...below(this.root), ...below(this.data)].filter(node => node.content === undefined)
  }

  files(): ModelNode[] {
    return [...below(this.root), ...below(this.data)].filter(node => node.content !== undefined)
  }

  remove(folder: ModelNode, name: string, directory: boolean): string {
    const node = folder.entries.get(name)
    if (node === undefined) return 'ENOENT'
    if (directory && node.content !== undefined) return 'ENOTDIR'
    if (!directory && node.content === undefined) return 'EISDIR'
    if (node.entries.size > 0) return 'ENOTEMPTY'
    folder.entries.delete(name)
    return 'none'
  }

  rename(from: ModelNode, fromName: string, to: ModelNode, toName: string): string {
    const source = from.entries.get(fromName)
    const target = to.entries.get(toName)
    if (source === undefined) return 'ENOENT'
    if (source === target) return 'none'
    if ([...below(source)].includes(to)) return 'EINVAL'
    if (target !== undefined && source.content === undefined && target.content !== undefined) return 'ENOTDIR'
    if (target !== undefined && source.content !== undefined && target.content === undefined) return 'EISDIR'
    if (target !== undefined && target.entries.size > 0) return 'ENOTEMPTY'
    from.entries.delete(fromName)
    to.entries.set(toName, source)
    return 'none'
  }
}

function* below(node: ModelNode): Generator<ModelNode> {
  yield node
  for (const child of node.entries.values()) yield* below(child)
}

async function expectSame(fixture: Fixture, node: ModelNode, path: string): Promise<void> {
  if (node.content !== undefined) {
    expect(readFileSync(path).equals(node.content)).toBe(true)
    expect(await fixture.text(node.id)).toBe(node.content.toString())
    return
  }
  const names = [...node.entries.keys()].toSorted()
  expect((await fixture.names(node.id, 3)).toSorted()).toEqual(names)
  expect(
    readdirSync(path)
      .filter(name => node.id !== ROOT || name !== 'data')
      .toSorted(),
  ).toEqual(names)
  for (const [name, child] of node.entries) {
    expect((await fixture.scratch.lookup(node.id, name)).id).toBe(child.id)
    expect(fixture.scratch.entryOf(child.id)).toEqual({ dirId: node.id, name })
    await expectSame(fixture, child, join(path, name))
  }
}

async function step(fixture: Fixture, model: Model, below: (limit: number) => number): Promise<void> {
  const { scratch } = fixture
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  const name = (): string => pick(['a', 'b', '.c', 'dé', 'e e'])
  const folder = pick(model.folders())
  const kind = pick([
    'create',
    'create',
    'mkdir',
    'write',
    'write',
    'truncate',
    'remove',
    'rmdir',
    'rename',
    'rename',
    'restart',
  ])
  const files = model.files()
  if (kind === 'create') {
    const [of, known] = [name(), below(2) === 0 ? 'unchecked' : 'guarded'] as const
    const existing = folder.entries.get(of)
    const created = scratch.create(folder.id, of, { kind: known, attributes: { mode: 0o644 } })
    if (existing === undefined)
      folder.entries.set(of, { id: (await created).node.id, content: Buffer.alloc(0), entries: new Map() })
    else if (known === 'guarded') expect(await codeOf(created)).toBe('EEXIST')
    else if (existing.content === undefined) expect(await codeOf(created)).toBe('EISDIR')
    else expect((await created).node.id).toBe(existing.id)
  } else if (kind === 'mkdir') {
    const of = name()
    const made = scratch.mkdir(folder.id, of, {})
    if (folder.entries.has(of)) expect(await codeOf(made)).toBe('EEXIST')
    else folder.entries.set(of, { id: (await made).node.id, content: undefined, entries: new Map() })
  } else if (kind === 'write' && files.length > 0) {
    const file = pick(files)
    const [offset, bytes] = [below(30), Buffer.from(String.fromCharCode(97 + below(26)).repeat(below(20)))]
    const end = bytes.length === 0 ? 0 : offset + bytes.length
    await scratch.write(file.id, BigInt(offset), bytes, pick(['unstable', 'data_sync', 'file_sync']))
    file.content = Buffer.concat([file.content!], Math.max(file.content!.length, end))
    bytes.copy(file.content, offset)
  } else if (kind === 'truncate' && files.length > 0) {
    const [file, size] = [pick(files), below(40)]
    await scratch.setattr(file.id, { size: BigInt(size) })
    file.content = Buffer.concat([file.content!], size)
  } else if (kind === 'remove' || kind === 'rmdir') {
    const of = name()
    const code = model.remove(folder, of, kind === 'rmdir')
    expect(await codeOf(kind === 'rmdir' ? scratch.rmdir(folder.id, of) : scratch.remove(folder.id, of))).toBe(code)
  } else if (kind === 'rename') {
    const [of, to, toName] = [name(), pick(model.folders()), name()]
    const code = model.rename(folder, of, to, toName)
    expect(await codeOf(scratch.rename(folder.id, of, to.id, toName))).toBe(code)
  } else if (kind === 'restart') {
    fixture.restart({ killed: below(2) === 0 })
  }
}

test.each([1, 2, 3, 4])('random calls do what POSIX says, and ids stay (seed %d)', async seed => {
  using fixture = new Fixture()
  const model = new Model()
  const below = seeded(seed)
  for (let i = 0; i < 300; i++) {
    await step(fixture, model, below)
    if (i % 50 === 49) {
      await expectSame(fixture, model.root, fixture.path())
      await expectSame(fixture, model.data, fixture.path('data'))
    }
  }
})

test.each([5, 6])(
  'calls that go on side by side never end in an unexpected error or a wrong tree (seed %d)',
  async seed => {
    using fixture = new Fixture()
    const { scratch } = fixture
    const below = seeded(seed)
    const folders = [ROOT, DATA, await fixture.folder(ROOT, 'x'), await fixture.folder(DATA, 'y')]
    const expected = ['none', 'ENOENT', 'EEXIST', 'ESTALE', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY', 'EINVAL']
    const known: bigint[] = []
    const calls: Promise<string>[] = []
    for (let i = 0; i < 600; i++) {
      const [folder, to] = [folders[below(4)]!, folders[below(4)]!]
      const [name, other] = [`n${below(8)}`, `n${below(8)}`]
      const id = known[below(known.length || 1)] ?? DATA
      const run = [
        () =>
          scratch.create(folder, name, { kind: 'unchecked', attributes: {} }).then(({ node }) => known.push(node.id)),
        () => scratch.rename(folder, name, to, other),
        () => scratch.remove(folder, name),
        () =>
          scratch.write(id, BigInt(below(100)), Buffer.alloc(below(5000)), below(2) === 0 ? 'unstable' : 'file_sync'),
        () => scratch.read(id, 0n, 10_000),
        () => scratch.readdir(folder, 0n, 5),
        () => scratch.setattr(id, { size: BigInt(below(100)), mtime: { kind: 'server' } }),
        () => scratch.commit(id),
      ][below(8)]!
      calls.push(codeOf(run()))
      if (i % 20 === 19) await Promise.all(calls)
    }
    for (const code of await Promise.all(calls)) expect(expected).toContain(code)
    for (const folder of folders) {
      for (const name of await fixture.names(folder)) {
        const { id, attributes } = await scratch.lookup(folder, name)
        expect(lstatSync(scratch.realPath(id)).size).toBe(Number(attributes.size))
      }
    }
  },
)
