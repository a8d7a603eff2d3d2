/*
 * The tags and keys that posixlake writes into the log and into files beside what Delta asks for. Other readers pass over
 * them. Tables of all earlier versions have these names: none may change its meaning.
 */

/** Tag of a file: the sizes of its rows as text, so that views are sized without opening it (text-sizes.ts). */
export const TEXT_TAG = 'posixlake.text'
/** Tag of a file: its rows have places among those of other files, which its footer tells (order-hint.ts). */
export const ORDER_TAG = 'posixlake.order'
/** Tag of a file: the paths of those other files, as JSON. */
export const ORDER_REFS_TAG = 'posixlake.order.refs'
/** Tag of a file with a deletion vector that goes when the vector changes. Written by earlier versions. */
export const LIVE_TAG = 'posixlake.live'

/** In the key-value metadata of a footer: the sizes of each row group's text (text-sizes.ts). */
export const TEXT_KEY = 'posixlake.text'
/** In the key-value metadata of a footer: where the rows belong (order-hint.ts). */
export const ORDER_KEY = 'posixlake.order'

/** A property of tables of ours: deletion vectors are switched on by the first change that needs them. */
export const VECTORS_PROPERTY = 'posixlake.deletionVectors'
export const VECTORS_ON_DEMAND = 'when-needed'
