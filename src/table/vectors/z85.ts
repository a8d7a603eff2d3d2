const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#'
const VALUES = new Map([...ALPHABET].map((char, i) => [char, i]))

/** Z85 (ZeroMQ RFC 32) of bytes, padded with zeros to a multiple of four as Delta does. */
export function encodeZ85(bytes: Uint8Array): string {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4)
  padded.set(bytes)
  const view = new DataView(padded.buffer)
  let text = ''
  for (let at = 0; at < padded.length; at += 4) {
    let value = view.getUint32(at)
    const chars: string[] = []
    for (let i = 0; i < 5; i++) {
      chars.unshift(ALPHABET[value % 85]!)
      value = Math.floor(value / 85)
    }
    text += chars.join('')
  }
  return text
}

/** The bytes of a Z85 text, padding included. Throws Error if it is none. */
export function decodeZ85(text: string): Uint8Array {
  if (text.length % 5 !== 0) throw new Error('its length is not a multiple of five')
  const bytes = new Uint8Array((text.length / 5) * 4)
  const view = new DataView(bytes.buffer)
  for (let group = 0; group < text.length / 5; group++) {
    let value = 0
    for (let i = 0; i < 5; i++) {
      const digit = VALUES.get(text[group * 5 + i]!)
      if (digit === undefined) throw new Error(`${JSON.stringify(text[group * 5 + i])} is no Z85 character`)
      value = value * 85 + digit
    }
    if (value > 0xffff_ffff) throw new Error('a group is out of range')
    view.setUint32(group * 4, value)
  }
  return bytes
}
