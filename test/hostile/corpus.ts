/**
 * What clients may try. Each input is the raw bytes of one connection; nothing of it may reach an upstream, and the
 * first answer has the status given. `refused`: hopgate must answer so. A peer that answers otherwise is listed in
 * docs/SECURITY.md, made by `npm run hostile:peers`.
 */
import { FRAMING } from './corpus-framing.ts'
import { HEADS } from './corpus-heads.ts'
import type { Hostile } from './corpus-words.ts'

export const CORPUS: readonly Hostile[] = [...FRAMING, ...HEADS]
