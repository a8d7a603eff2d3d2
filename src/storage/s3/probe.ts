import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '../../core/hash.ts'
import { stateHome } from '../../core/xdg.ts'
import { StorageError } from '../object-store.ts'
import { LateHandler } from './late.ts'
import type { S3Store } from './store.ts'

/** Writers that race for a key, and rounds: stores that are wrong now and then are wrong within few rounds. */
const WRITERS = 16
const ROUNDS = 4
const LATE_ROUNDS = 8
/** Rounds of which nothing was heard, as where a proxy stands between. */
const INCONCLUSIVE_MAX = 4
/** Another program may listen at the same address tomorrow. */
const VERDICT_MS = 24 * 3600 * 1000

/** The verdict on a store's `If-None-Match: *`. */
export type Verdict = { readonly isSafe: true } | { readonly isSafe: false; readonly why: string }

/** The result of one writer. */
type PutResult = 'written' | 'exists' | 'unknown'

type Race = (store: S3Store, path: string, bodies: readonly Uint8Array[]) => Promise<PutResult[]>

/**
 * Lets several writers race for the same name, again and again: each time one may win, and what is there then is what it
 * wrote. The objects are taken away again. Rejects with StorageError if the store cannot be written to at all.
 */
export async function probe(store: S3Store): Promise<Verdict> {
  const paths: string[] = []
  const path = (): string => {
    paths.push(`_posixlake_probe/${crypto.randomUUID()}`)
    return paths.at(-1)!
  }
  try {
    const first = await putTwice(store, path())
    if (!first.isSafe) return first
    for (const [rounds, race, how] of [
      [ROUNDS, raceAtOnce, 'at the same time'],
      [LATE_ROUNDS, raceLate, 'at the same time, with their last bytes late'],
    ] as const) {
      let inconclusive = 0
      for (let round = 0; round < rounds + inconclusive; round++) {
        const verdict = await judged(store, path(), race, how)
        if (verdict !== 'inconclusive' && !verdict.isSafe) return verdict
        if (verdict === 'inconclusive' && ++inconclusive === INCONCLUSIVE_MAX)
          return {
            isSafe: false,
            why: `it cannot be found out from here: of writers who came ${how}, all were cut off`,
          }
      }
    }
    return { isSafe: true }
  } finally {
    await store.deleteMany(paths).catch(() => undefined)
  }
}

/** One writer behind the other: a store that does not know the condition is found out at once. */
async function putTwice(store: S3Store, path: string): Promise<Verdict> {
  const [one, two] = [bodyOf(1), bodyOf(2)]
  const first = await store.put(path, one, true)
  const second = await store.put(path, two, true)
  const found = await store.read(path)
  if (second === 'exists' && Buffer.compare(found, one) === 0) return { isSafe: true }
  // A lost reply makes the first one find its own object.
  if (first === 'exists' && second === 'exists' && Buffer.compare(found, one) === 0) return { isSafe: true }
  return {
    isSafe: false,
    why: 'it puts an object in the place of another although it was told not to (If-None-Match: *)',
  }
}

async function judged(store: S3Store, path: string, race: Race, how: string): Promise<Verdict | 'inconclusive'> {
  const bodies = Array.from({ length: WRITERS }, (_, writer) => bodyOf(writer))
  const outcomes = await race(store, path, bodies)
  // Losers may be cut off by the store; that all are says nothing about it.
  if (outcomes.every(outcome => outcome === 'unknown')) return 'inconclusive'
  const winners = outcomes.flatMap((outcome, writer) => (outcome === 'written' ? [writer] : []))
  if (winners.length > 1)
    return { isSafe: false, why: `it told ${winners.length} of ${WRITERS} writers, who came ${how}, that they had won` }
  const found = await store.read(path)
  const kept = bodies.findIndex(body => Buffer.compare(body, found) === 0)
  if (winners.length === 1 && kept !== winners[0])
    return { isSafe: false, why: `of ${WRITERS} writers, who came ${how}, one had won, and the object is another's` }
  return { isSafe: true }
}

const raceAtOnce: Race = (store, path, bodies) => Promise.all(bodies.map(body => store.put(path, body, true)))

const raceLate: Race = async (store, path, bodies) => {
  const { withHandler, commands } = await store.requests.connected()
  const handler = new LateHandler(bodies.length)
  const client = withHandler(handler as unknown as Parameters<typeof withHandler>[0])
  const input = { Bucket: store.bucket, Key: store.keyOf(path), IfNoneMatch: '*' }
  const put = async (Body: Uint8Array): Promise<PutResult> => {
    try {
      await client.send(new commands.PutObjectCommand({ ...input, Body }))
      return 'written'
    } catch (error) {
      const { $metadata } = error as { $metadata?: { httpStatusCode?: number } }
      // Losers may be cut off before they have sent all: what is in the store tells.
      return $metadata?.httpStatusCode === 412 ? 'exists' : 'unknown'
    }
  }
  return Promise.all(bodies.map(put))
}

/** A body that is another for each writer. */
function bodyOf(writer: number): Uint8Array {
  return new TextEncoder().encode(`writer ${writer} ${'.'.repeat(1000)}\n`)
}

/** Refuses a store that lets several win: StorageError `unsafe_store`. What is found out is kept for a day. */
export async function checkSafe(store: S3Store): Promise<void> {
  const { endpoint, isAws } = await store.requests.connected()
  // AWS says what its conditional writes do, and does it.
  if (isAws || isKnownSafe(endpoint, store.bucket)) return
  const verdict = await probe(store)
  if (!verdict.isSafe) throw unsafe(store, endpoint, verdict.why)
  keep(endpoint, store.bucket)
}

export function unsafe({ location }: S3Store, endpoint: string, why: string): StorageError {
  return new StorageError(
    'unsafe_store',
    `${location}: the store at ${endpoint} is not safe to write a table to: ${why}; two writers could overwrite each other's rows. Use a store with conditional writes, such as AWS S3 or MinIO; tables there can be read`,
  )
}

/** Names the file of a verdict: by the endpoint and the bucket. */
function verdictPath(endpoint: string, bucket: string): string {
  const name = sha256Hex(`${endpoint}\0${bucket}`).slice(0, 16)
  return join(stateHome(), 'stores', `${name}.json`)
}

function isKnownSafe(endpoint: string, bucket: string): boolean {
  try {
    const kept = JSON.parse(readFileSync(verdictPath(endpoint, bucket), 'utf8')) as Record<string, unknown>
    const ageMs = Date.now() - Number(kept['checkedMs'])
    return kept['endpoint'] === endpoint && kept['bucket'] === bucket && ageMs >= 0 && ageMs < VERDICT_MS
  } catch {
    return false
  }
}

/** Only that a store is right is kept: one that is not is asked again, for it may have been put right. */
export function keep(endpoint: string, bucket: string): void {
  try {
    const path = verdictPath(endpoint, bucket)
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 })
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, `${JSON.stringify({ endpoint, bucket, checkedMs: Date.now() })}\n`, { mode: 0o600 })
    renameSync(temporary, path)
  } catch {
    // Then it is found out again next time.
  }
}
