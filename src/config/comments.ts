/** The comments of a configuration text, for directives such as `# hopgate-lint-disable`. */
import { Lexer } from 'yaml'

export interface Comment {
  /** 1-based. */
  readonly line: number
  /** Without the `#` and the space around it. */
  readonly text: string
  /** Nothing but the comment stands on its line. */
  readonly alone: boolean
}

/** What the lexer puts before the text of a scalar: a line of a block scalar may begin with `#`, and is no comment. */
const SCALAR = '\u001f'

export function commentsOf(text: string): readonly Comment[] {
  const lines = text.split('\n')
  const comments: Comment[] = []
  let line = 1
  let before = ''
  for (const token of new Lexer().lex(text)) {
    if (token.startsWith('#') && before !== SCALAR) {
      const alone = (lines[line - 1] ?? '').trimStart().startsWith('#')
      comments.push({ line, text: token.replace(/^#+/, '').trim(), alone })
    }
    line += token.split('\n').length - 1
    before = token
  }
  return comments
}
