import { messageOf } from '../../core/errors.ts'
import { keep, probe, unsafe } from './probe.ts'
import type { S3Store } from './store.ts'

/** A step of the check of a store: what it tries, and what that is needed for. */
interface Step {
  readonly name: string
  readonly run: (store: S3Store, folder: string) => Promise<string | undefined>
  /** Without it no other step makes sense. */
  readonly needed?: boolean
}

/** The result of a step; `detail`: what was found, or what is wrong and what to do. */
export interface StepResult {
  readonly name: string
  readonly outcome: 'ok' | 'failed' | 'skipped'
  readonly detail: string | undefined
}

const PART_BYTES = 5 << 20
/** Columns and partition values give such names. */
const ODD_NAME = 'city=Zürich & co + 100% (a=b)/x y.txt'

const STEPS: readonly Step[] = [
  {
    name: 'list objects',
    needed: true,
    run: async (store, folder) => {
      await store.list(folder)
      const { endpoint, region } = await store.requests.connected()
      return `${endpoint}, region ${region}, credentials from ${await (await store.requests.connected()).source()}`
    },
  },
  {
    name: 'put an object',
    needed: true,
    run: async (store, folder) => {
      await store.put(`${folder}/text`, bytesOf('0123456789'), false)
      return undefined
    },
  },
  {
    name: 'read it, whole and in part',
    run: async (store, folder) => {
      expectSame(await store.read(`${folder}/text`), bytesOf('0123456789'), 'the object')
      expectSame(await store.read(`${folder}/text`, 3, 6), bytesOf('345'), 'bytes 3 to 5 of the object')
      expectSame(await store.read(`${folder}/text`, 8, 99), bytesOf('89'), 'the last two bytes of the object')
      const size = (await store.stat(`${folder}/text`))?.sizeBytes
      if (size !== 10) throw new Error(`HEAD says that an object of 10 bytes has ${size}`)
      return undefined
    },
  },
  {
    name: 'names as partitions have them',
    run: async (store, folder) => {
      await store.put(`${folder}/${ODD_NAME}`, bytesOf('odd'), false)
      expectSame(await store.read(`${folder}/${ODD_NAME}`), bytesOf('odd'), `the object ${ODD_NAME}`)
      const names = (await store.list(folder)).map(({ path }) => path.slice(folder.length + 1))
      if (!names.includes(ODD_NAME)) throw new Error(`a listing spells ${ODD_NAME} otherwise: ${names.join(', ')}`)
      return undefined
    },
  },
  {
    name: 'list from a name on',
    run: async (store, folder) => {
      const names = ['00000000000000000001.json', '00000000000000000002.json', '00000000000000000003.json']
      for (const name of names) await store.put(`${folder}/log/${name}`, bytesOf(name), false)
      const found = await store.list(`${folder}/log`, `${folder}/log/${names[0]}`)
      const listed = found.map(({ path }) => path.slice(`${folder}/log/`.length)).join(', ')
      if (listed !== names.slice(1).join(', '))
        throw new Error(`the listing behind ${names[0]} is ${listed === '' ? 'empty' : listed}`)
      return undefined
    },
  },
  {
    name: 'upload in parts',
    run: async (store, folder) => {
      const piece = new Uint8Array(PART_BYTES).fill(7)
      const writer = await store.create(`${folder}/large`, { partBytes: PART_BYTES })
      try {
        await writer.write(piece)
        await writer.write(bytesOf('the end'))
        await writer.close()
      } catch (error) {
        await writer.abort()
        throw error
      }
      const end = await store.read(`${folder}/large`, PART_BYTES - 1)
      expectSame(end.subarray(1), bytesOf('the end'), 'the end of the object')
      return undefined
    },
  },
  {
    name: 'one winner among many writers',
    run: async store => {
      const verdict = await probe(store)
      const { endpoint } = await store.requests.connected()
      if (!verdict.isSafe) throw unsafe(store, endpoint, verdict.why)
      keep(endpoint, store.bucket)
      return 'conditional writes (If-None-Match) are exact: many machines can write one table'
    },
  },
  {
    name: 'delete objects',
    run: async (store, folder) => {
      await store.delete(`${folder}/text`)
      await store.deleteMany((await store.list(folder)).map(({ path }) => path))
      const left = await store.list(folder)
      if (left.length > 0) throw new Error(`${left[0]!.path} is still there after it was deleted`)
      return undefined
    },
  },
]

/** Tries step by step all that a table needs of a store, in a folder of its own, and takes that away. Never rejects. */
export async function* checkStore(store: S3Store): AsyncGenerator<StepResult> {
  const folder = `_posixlake_check/${crypto.randomUUID()}`
  let isOver = false
  for (const { name, run, needed = false } of STEPS) {
    if (isOver) {
      yield { name, outcome: 'skipped', detail: undefined }
      continue
    }
    try {
      yield { name, outcome: 'ok', detail: await run(store, folder) }
    } catch (error) {
      isOver = needed
      yield { name, outcome: 'failed', detail: messageOf(error) }
    }
  }
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function expectSame(found: Uint8Array, wanted: Uint8Array, what: string): void {
  if (Buffer.compare(found, wanted) === 0) return
  const shown = (bytes: Uint8Array): string => JSON.stringify(new TextDecoder().decode(bytes.subarray(0, 50)))
  throw new Error(`${what} should be ${shown(wanted)}, and came back as ${shown(found)}`)
}
