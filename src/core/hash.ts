/** SHA-256 of a text, in hexadecimal digits. By Bun itself: node:crypto takes longer to load than a short command takes. */
export function sha256Hex(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex')
}
