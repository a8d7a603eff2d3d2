import { isRawNumber } from './shapes.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\]:]/gs

/**
 * The name of a member that an object in a JSON text has twice, or undefined. JSON.parse keeps only the last of them, so
 * that what the first one says would be lost without a word.
 */
export function repeatedMember(bytes: Uint8Array, text: string, parsed: object): string | undefined {
  return membersIn(bytes) === membersOf(parsed) ? undefined : findRepeated(text)
}

/** Returns the number of members of the objects in a JSON text: each has its colon. */
function membersIn(bytes: Uint8Array): number {
  let members = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === COLON) members++
    if (byte !== QUOTE) continue
    for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
  }
  return members
}

function membersOf(parsed: object): number {
  let members = 0
  const waiting: unknown[] = [parsed]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next !== 'object' || next === null || isRawNumber(next)) continue
    const values: unknown[] = Object.values(next)
    if (!Array.isArray(next)) members += values.length
    for (const value of values) if (typeof value === 'object' && value !== null) waiting.push(value)
  }
  return members
}

function findRepeated(text: string): string | undefined {
  const open: Set<string>[] = []
  let last = ''
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === '{' || token === '[') open.push(new Set())
    else if (token === '}' || token === ']') open.pop()
    else if (token !== ':') last = token
    else {
      const name = JSON.parse(last) as string
      if (open.at(-1)?.has(name)) return name
      open.at(-1)?.add(name)
    }
  }
  return undefined
}
