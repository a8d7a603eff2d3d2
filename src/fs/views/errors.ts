import { generated } from './generated.ts'

/** `.errors`: what went wrong with recent writes, in sentences; whoever has read them empties it. */
export const errorsView = generated(({ errors, onErrorsRead }) => ({
  produce: async () => errors.render(),
  clear: () => {
    errors.clear()
    onErrorsRead()
  },
}))
