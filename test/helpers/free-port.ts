const [PORT_FIRST, PORT_END] = [10_000, 32_000]

/**
 * A port that nobody listens at now, below those that systems give to connections of their own: while a server is away,
 * its port may else be taken by whoever tries to reach it, even to connect to itself, and the server cannot come back.
 */
export function freePort(): number {
  for (;;) {
    const port = PORT_FIRST + Math.floor(Math.random() * (PORT_END - PORT_FIRST))
    try {
      Bun.listen({ hostname: '127.0.0.1', port, socket: { data: () => undefined } }).stop(true)
      return port
    } catch {
      // Somebody listens there.
    }
  }
}
