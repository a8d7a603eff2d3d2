/**
 * The file ids of one table's tree. An id never changes its meaning, as handles of it may be anywhere:
 *
 *     1, 2               the folders that are always there
 *     3 ... 999          views that have one id each (views/index.ts)
 *     1000 ... 2^53      given out one after the other (scratch/ids.ts): the users' files and folders, versions of
 *                        views, results of queries
 *     2^60 | one of those    what `.query` leads to for a client (views/query.ts)
 *     2^62 | a hash          a Parquet file (views/parquet.ts)
 *
 * The bits from 64 on are not the table's: they tell the trees apart that are mounted under one root (tree/mounts.ts).
 * READDIR cookies are ids of the same kinds, with 2^61 | ... for results.
 */

/** The folder that a mount shows. */
export const ROOT_ID = 1n
/** Its folder of the table's views. */
export const DATA_ID = 2n
/** READDIR cookies of what is in every folder. */
export const DOT_COOKIE = 1n
export const DOT_DOT_COOKIE = 2n
/** The cookies of the users' own names in a listing: the first one, and the end. */
export const OWN_COOKIES = { first: 1000n, end: 1n << 60n } as const
