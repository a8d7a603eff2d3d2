import { version } from '../../package.json'

/** The version of posixlake. */
export const VERSION: string = version
