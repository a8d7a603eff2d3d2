const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** Answers of `rowEndIn` where the text ends before a newline does: behind a whole value, or within one. */
const NO_NEWLINE = -1
const OPEN = -2

/** Returns the end of the row that begins at `start`, its newline included, as `rowEndIn` finds it. */
export function jsonRowEnd(text: string, start: number): { end: number; isOpen: boolean } {
  const end = rowEndIn(text, start)
  return { end: end < 0 ? text.length : end, isOpen: end === OPEN }
}

/** The keys of an object, in their order. The text is JSON. */
export function keysInOrder(object: string): string[] {
  const keys: string[] = []
  rowEndIn(object, 0, key => keys.push(key))
  return keys
}

/** The offset behind the last row that is whole, its newline included, of JSON text that begins with a row; 0: none is. */
export function lastJsonRowEnd(bytes: Uint8Array): number {
  // All that tells rows apart is ASCII, so each byte may stand for itself.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  let at = 0
  for (let end = rowEndIn(text, 0); end > 0; end = rowEndIn(text, at)) at = end
  return at
}

/**
 * Behind the newline at which the value that begins at `start` is over; NO_NEWLINE or OPEN if there is none. A value that
 * cannot be JSON ends with the line in which that shows, so that one bad row does not take the rest of the text with it.
 */
function rowEndIn(text: string, start: number, onKey?: (key: string) => void): number {
  let depth = 0
  let before = COMMA
  let lineEnd = 0
  for (let at = start; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === SPACE || char === TAB || char === CR) continue
    if (char === LF) {
      if (depth <= 0) return at + 1
      lineEnd = at + 1
      continue
    }
    if (char === QUOTE || char === OPEN_BRACE || char === OPEN_BRACKET) {
      if (depth > 0 && !opensValue(before)) return lineEnd > 0 ? lineEnd : lineEndBehind(text, at)
      if (char === QUOTE) {
        const end = stringEnd(text, at)
        if (end < 0) return lineEndBehind(text, at)
        if (onKey !== undefined && depth === 1 && before !== COLON) onKey(unescaped(text.slice(at, end)))
        at = end - 1
      } else depth++
    } else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) depth--
    before = char
  }
  return depth > 0 ? OPEN : NO_NEWLINE
}

function lineEndBehind(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end < 0 ? OPEN : end + 1
}

function opensValue(before: number): boolean {
  return before === COMMA || before === COLON || before === OPEN_BRACE || before === OPEN_BRACKET
}

/** Behind the closing quote, or -1: a string of JSON holds no line break. */
function stringEnd(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === QUOTE) return at + 1
    if (char === BACKSLASH) at++
    else if (char === LF) return -1
  }
  return -1
}

function unescaped(quoted: string): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return quoted
  }
}

/**
 * The offset of the comma or brace that ends the field whose key begins at `start`, in an object as posixlake writes it:
 * without blanks.
 */
export function jsonFieldEnd(bytes: Uint8Array, start: number): number {
  let depth = 0
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === QUOTE) at = quotedEnd(bytes, at) - 1
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if (depth === 0 && (byte === COMMA || byte === CLOSE_BRACE)) return at
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--
  }
  return bytes.length
}

/** Returns the begin of the value of the field whose key begins at `start`, in an object as posixlake writes it. */
export function jsonValueStart(bytes: Uint8Array, start: number): number {
  return quotedEnd(bytes, start) + 1
}

function quotedEnd(bytes: Uint8Array, open: number): number {
  for (let at = open + 1; at < bytes.length; at++) {
    if (bytes[at] === QUOTE) return at + 1
    if (bytes[at] === BACKSLASH) at++
  }
  return bytes.length
}
