/** From here on the order of UTF-16 units is not that of UTF-8 bytes: surrogates stand for what is above all others. */
const SURROGATES = 0xd800

/** The order of texts by their bytes in UTF-8, which is not that of JavaScript's strings. */
export function compareByBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return x < SURROGATES || y < SURROGATES ? x - y : Buffer.compare(Buffer.from(a), Buffer.from(b))
  }
  return a.length - b.length
}
