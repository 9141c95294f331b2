import { randomUUID } from 'node:crypto'

/** Records the events of a response in order. */
export type EventLog = ReturnType<typeof createEventLog>

export type ItemStatus = 'completed' | 'incomplete'

/** An item of a response's output that grows. */
export type OpenItem = { add: (delta: string) => void; close: (status: ItemStatus) => void }

export type TextKind = keyof typeof kinds

/** The two kinds of items that contain text. */
const kinds = {
  'text-delta': {
    prefix: 'msg',
    fields: { type: 'message', role: 'assistant' },
    event: 'response.output_text',
    extra: { logprobs: [] },
    toPart: (text: string, annotations: object[]) => ({ type: 'output_text', text, annotations, logprobs: [] }),
  },
  'reasoning-delta': {
    prefix: 'rs',
    fields: { type: 'reasoning', summary: [] },
    event: 'response.reasoning_text',
    extra: {},
    toPart: (text: string) => ({ type: 'reasoning_text', text }),
  },
}

export function createEventLog() {
  const output: object[] = []
  let events = ''
  let sequence = 0
  const emit = (type: string, fields: object) => {
    events += `event: ${type}\ndata: ${JSON.stringify({ type, ...fields, sequence_number: sequence })}\n\n`
    sequence += 1
  }
  /** Returns a function that emits events of which only `delta` differs: one per token, so the rest is written once. */
  const openDeltas = (type: string, fields: object, extra: object = {}) => {
    const [start, rest] = [{ type, ...fields }, extra].map((part) => JSON.stringify(part).slice(1, -1))
    const end = rest ? `,${rest}` : ''
    return (delta: string) => {
      events += `event: ${type}\ndata: {${start},"delta":${JSON.stringify(delta)}${end},"sequence_number":${sequence}}\n\n`
      sequence += 1
    }
  }
  return {
    output,
    emit,
    openDeltas,
    /** Adds an item to the output. Returns its index. */
    addItem: (item: object): number => {
      const output_index = output.push(item) - 1
      emit('response.output_item.added', { output_index, item })
      return output_index
    },
    /** Returns the events since the last call. */
    take: (): string => {
      const taken = events
      events = ''
      return taken
    },
    isEmpty: () => sequence === 0,
  }
}

/** Opens a message or a reasoning item. `annotate` returns the annotations of the whole text. */
export function openText(log: EventLog, kind: TextKind, annotate: (text: string) => object[]): OpenItem {
  const { prefix, fields, event, extra, toPart } = kinds[kind]
  const item = { id: createId(prefix), ...fields, status: 'in_progress', content: [] as object[] }
  const output_index = log.addItem(item)
  const place = { item_id: item.id, output_index, content_index: 0 }
  log.emit('response.content_part.added', { ...place, part: toPart('', []) })
  const emitDelta = log.openDeltas(`${event}.delta`, place, extra)
  let text = ''
  return {
    add: (delta) => {
      text += delta
      emitDelta(delta)
    },
    close: (status) => {
      const annotations = annotate(text)
      for (const [annotation_index, annotation] of annotations.entries())
        log.emit(`${event}.annotation.added`, { ...place, annotation_index, annotation })
      const part = toPart(text, annotations)
      log.emit(`${event}.done`, { ...place, text, ...extra })
      log.emit('response.content_part.done', { ...place, part })
      Object.assign(item, { status, content: [part] })
      log.emit('response.output_item.done', { output_index, item })
    },
  }
}

export function openCall(log: EventLog, call_id: string, name: string): OpenItem {
  const item = { id: createId('fc'), type: 'function_call', call_id, name, arguments: '', status: 'in_progress' }
  const output_index = log.addItem(item)
  const place = { item_id: item.id, output_index }
  const emitDelta = log.openDeltas('response.function_call_arguments.delta', place)
  return {
    add: (delta) => {
      item.arguments += delta
      emitDelta(delta)
    },
    close: (status) => {
      item.arguments ||= '{}'
      item.status = status
      log.emit('response.function_call_arguments.done', { ...place, name, arguments: item.arguments })
      log.emit('response.output_item.done', { output_index, item })
    },
  }
}

/** Returns an id in OpenAI's form, such as `msg_` and 32 hexadecimal digits. */
export const createId = (prefix: string): string => `${prefix}_${randomUUID().replaceAll('-', '')}`
