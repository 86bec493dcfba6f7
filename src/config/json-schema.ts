/** The schema as JSON Schema (draft 2020-12), for editors. It knows shapes, words and ranges; what needs two keys, only `check` knows. */
import type { Field, Fields, JsonSchema, Kind } from './kind.ts'
import { schema } from './schema.ts'

/** Anything that holds a reference: what it stands for is only known at the start. */
const ENV = { $ref: '#/$defs/env' }

export function jsonSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'hopgate configuration',
    ...ofKind(schema),
    $defs: {
      env: {
        type: 'string',
        pattern: '\\$\\{',
        description: 'A value that holds a reference to an environment variable.',
      },
    },
  }
}

function ofKind({ form }: Kind<unknown>): JsonSchema {
  switch (form.is) {
    case 'scalar':
      return { anyOf: [form.json, ENV] }
    case 'list': {
      const json = { type: 'array', items: ofKind(form.item), ...(form.least > 0 && { minItems: form.least }) }
      return form.nullable ? { anyOf: [json, { type: 'null' }] } : json
    }
    case 'dictionary': {
      const names = form.key.form.is === 'scalar' ? { propertyNames: form.key.form.json } : {}
      const json = { type: 'object', ...names, additionalProperties: ofKind(form.item) }
      return form.least > 0 ? { ...json, minProperties: form.least } : orEmpty(json)
    }
    case 'section': {
      const json = ofFields(form.fields)
      return form.off ? { anyOf: [json, { enum: ['off', false, null] }] } : orEmpty(json)
    }
  }
}

/** `key:` with nothing behind it. */
function orEmpty(json: JsonSchema): JsonSchema {
  const { required } = json
  return required === undefined ? { ...json, type: ['object', 'null'] } : json
}

function ofFields(fields: Fields): JsonSchema {
  const entries = Object.entries(fields)
  const required = entries.filter(([, field]) => field.required).map(([key]) => key)
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(entries.map(([key, field]) => [key, ofField(field)])),
    ...(required.length > 0 && { required }),
  }
}

function ofField(field: Field<unknown>): JsonSchema {
  const builtIn = field.builtIn === null ? '' : ` Built-in: ${field.builtIn}.`
  return { description: `${field.doc}${builtIn}`, ...ofKind(field.kind) }
}
