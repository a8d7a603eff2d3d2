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
/**
 * Tag of a file that was made of rows of others, which its footer tells (moved-rows.ts): MOVED_IN_PLACE where they are shown
 * as they were, so that nothing is another in the views if all files of the commit are such; MOVED_APART where they stand elsewhere.
 */
export const MOVED_TAG = 'posixlake.moved'
export const MOVED_IN_PLACE = 'in place'
export const MOVED_APART = 'apart'
/** Tag of a file with a deletion vector that goes when the vector changes. Written by earlier versions. */
export const LIVE_TAG = 'posixlake.live'

/** In the key-value metadata of a footer: the sizes of each row group's text (text-sizes.ts). */
export const TEXT_KEY = 'posixlake.text'
/** In the key-value metadata of a footer: where the rows belong (order-hint.ts). */
export const ORDER_KEY = 'posixlake.order'
/** In the key-value metadata of a footer: which rows of which files the rows were (moved-rows.ts), in the form of an order hint. */
export const MOVED_KEY = 'posixlake.moved'

/** A property of tables of ours: deletion vectors are switched on by the first change that needs them. */
export const VECTORS_PROPERTY = 'posixlake.deletionVectors'
export const VECTORS_ON_DEMAND = 'when-needed'
