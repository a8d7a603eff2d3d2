import { describe, expect, test } from 'bun:test'
import type { Fattr, NfsClient } from '../nfs/client.ts'
import { Kernel, type WccData } from './kernel.ts'

const ROWS = '1,a\n'
const NO_WCC: WccData = { before: undefined, after: undefined }

/** A server that tells what a test wants it to tell, and keeps where WRITEs went. */
class Told {
  readonly offsets: number[] = []
  size = ROWS.length
  #ctime = 1

  /** A row was appended. */
  grow(by: number): void {
    this.size += by
    this.#ctime++
  }

  get attributes(): Fattr {
    return { size: BigInt(this.size), ctime: { seconds: this.#ctime, nseconds: 0 } } as Fattr
  }
}

/** The calls of a kernel, each of which is answered in its time. */
function kernelOf(told: Told, answers: { lookup: () => Promise<Fattr>; write: () => Promise<WccData> }): Kernel {
  const client = {
    lookup: async () => ({ handle: new Uint8Array([1]), attributes: await answers.lookup() }),
    getattr: async () => told.attributes,
    write: async (_: unknown, offset: bigint, bytes: Uint8Array) => {
      told.offsets.push(Number(offset))
      const file_wcc = await answers.write()
      return { count: bytes.length, file_wcc }
    },
  }
  return new Kernel('k', { client: client as unknown as NfsClient }, new Uint8Array([0]), call => call())
}

describe('the model of the Linux client', () => {
  test.each([
    { name: 'a reply without attributes', tellsSize: false },
    { name: 'a reply with the new size', tellsSize: true },
  ])('appends behind its own row when it hears of an older size after $name to its WRITE', async ({ tellsSize }) => {
    const told = new Told()
    const { promise: written, resolve: answerWrite } = Promise.withResolvers<void>()
    const { promise: sent, resolve: send } = Promise.withResolvers<void>()
    const { promise: looked, resolve: answerLookup } = Promise.withResolvers<void>()
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
    let lookups = 0
    let writes = 0
    const kernel = kernelOf(told, {
      lookup: async () => {
        const { attributes } = told
        if (++lookups === 2) {
          ask()
          await looked
        }
        return attributes
      },
      write: async () => {
        if (++writes > 1) return NO_WCC
        send()
        await written
        return tellsSize ? { before: undefined, after: told.attributes } : NO_WCC
      },
    })
    const first = kernel.append('2,b\n')
    await sent
    const second = kernel.append('3,c\n')
    await asked
    told.grow(4)
    answerWrite()
    await first
    answerLookup()
    await second
    expect(told.offsets).toEqual([4, 8])
  })
})
