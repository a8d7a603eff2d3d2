import { withinMs } from '../core/limit.ts'
import { END_LIMIT_MS, type Joined, type JoinRequest, type Question, question } from './control.ts'
import { ServeError } from './errors.ts'

/** A server that ends, or that another command starts at the same time, may come in between this often. */
const ATTEMPTS_MAX = 10
/** Others who serve the table, and whom nobody can ask: so often it may be that they only have no socket yet. */
const UNREACHABLE_MAX = 3

export interface Attachment {
  readonly joined: Joined
  /** A server was started for it. */
  readonly started: boolean
  /** Resolves when the server ends. */
  readonly closed: Promise<void>
  /** The mount is there, or did not come about: the server need not wait for it any more. */
  release(): void
}

/**
 * Joins the server of a table, so that it can be mounted: the one that runs, or the one that `start` starts. Rejects with
 * ServeError, and with what `start` fails with.
 */
export async function attach(location: string, request: JoinRequest, start: () => Promise<void>): Promise<Attachment> {
  let started = false
  let unreachable = 0
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const asked = question(location, 'join', request)
    const joined = await answerOf(asked)
    if (typeof joined === 'object') return { joined, started, closed: asked.closed, release: asked.close }
    if (joined === 'ending') await endOf(location, asked)
    asked.close()
    if (joined === 'ending') continue
    try {
      await start()
      started = true
    } catch (error) {
      const isServed = error instanceof ServeError && error.code === 'already_served'
      if (!isServed || ++unreachable === UNREACHABLE_MAX) throw error
    }
  }
  throw new ServeError(
    'failed',
    `${location} could not be mounted: its server ended ${ATTEMPTS_MAX} times; see its log`,
  )
}

/** undefined: no server runs. */
async function answerOf(asked: Question<'join'>): Promise<Joined | 'ending' | undefined> {
  try {
    return await asked.answer
  } catch (error) {
    if (error instanceof ServeError && error.code === 'stopping') return 'ending'
    asked.close()
    throw error
  }
}

async function endOf(location: string, asked: Question<'join'>): Promise<void> {
  const ended = await withinMs(
    END_LIMIT_MS,
    asked.closed.then(() => true),
  )
  if (ended === undefined) {
    asked.close()
    throw new ServeError(
      'not_answering',
      `the server of ${location} has not ended for ${END_LIMIT_MS / 1000} s; try again`,
    )
  }
}
