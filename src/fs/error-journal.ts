import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock } from '../core/clock.ts'

const ENTRIES_MAX = 1000
const SENTENCE_CHARS_MAX = 4000

export interface ErrorJournalOptions {
  readonly path: string
  readonly clock: Clock
  /** So many lines are shown; the file on disk may hold up to twice as many before it is trimmed. */
  readonly maxEntries?: number
  /** Hears of each sentence, too. */
  readonly onAppend?: (sentence: string) => void
}

/**
 * The failures of recent writes, in sentences, oldest first: the content of `.errors`. It is kept in a file, and
 * goes on in memory alone where that fails: telling of an error must not be an error.
 */
export class ErrorJournal {
  readonly #path: string
  readonly #clock: Clock
  readonly #maxEntries: number
  readonly #onAppend: ErrorJournalOptions['onAppend']
  #lines: string[]
  /** The number of lines that the file holds; undefined if it does not end where a line ends, or is not known. */
  #linesOnDisk: number | undefined

  constructor({ path, clock, maxEntries = ENTRIES_MAX, onAppend }: ErrorJournalOptions) {
    this.#onAppend = onAppend
    this.#path = path
    this.#clock = clock
    this.#maxEntries = maxEntries
    const text = readText(path)
    const lines = text.split('\n').filter(line => line !== '')
    this.#lines = lines.slice(-maxEntries)
    this.#linesOnDisk = text === '' || text.endsWith('\n') ? lines.length : undefined
  }

  append(sentence: string): void {
    this.#onAppend?.(sentence)
    const line = `${new Date(this.#clock.nowMs()).toISOString()} ${folded(sentence)}`
    this.#lines.push(line)
    if (this.#lines.length > this.#maxEntries) this.#lines.shift()
    this.#attempt(() => {
      if (this.#linesOnDisk === undefined || this.#linesOnDisk >= 2 * this.#maxEntries) return this.#rewrite()
      mkdirSync(dirname(this.#path), { recursive: true })
      appendFileSync(this.#path, `${line}\n`, { mode: 0o600 })
      this.#linesOnDisk++
    })
  }

  /** Each line is `<ISO 8601 time> <sentence>`; no bytes if there is nothing to tell. */
  render(): Uint8Array {
    return new TextEncoder().encode(this.#text())
  }

  clear(): void {
    this.#lines = []
    this.#attempt(() => this.#rewrite())
  }

  #rewrite(): void {
    const temporary = `${this.#path}.new`
    mkdirSync(dirname(this.#path), { recursive: true })
    writeFileSync(temporary, this.#text(), { mode: 0o600 })
    renameSync(temporary, this.#path)
    this.#linesOnDisk = this.#lines.length
  }

  #text(): string {
    return this.#lines.map(line => `${line}\n`).join('')
  }

  #attempt(run: () => void): void {
    try {
      run()
    } catch {
      // A write may have ended in the middle of a line; the next one writes the file anew.
      this.#linesOnDisk = undefined
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** One line, which shows as it is in a terminal: control characters may stand in the data that a sentence quotes. */
function folded(sentence: string): string {
  const line = sentence.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()
  return line.length > SENTENCE_CHARS_MAX ? `${line.slice(0, SENTENCE_CHARS_MAX).toWellFormed()}…` : line
}
