import { z } from 'zod'
import { ChatRequest, ConversationId } from '../chat/question.ts'
import { describeTools, type Tools } from '../chat/tools.ts'

export const Params = z.object({
  id: ConversationId.meta({ description: 'A conversation', examples: ['opening-hours'] }),
})

const ChatResponse = z.string().meta({
  description: 'AI SDK UI message stream: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol',
  examples: [
    'data: {"type":"start","messageId":"580c896d-e351-448d-a15e-87136161cb60"}\n\n' +
      'data: {"type":"text-start","id":"0"}\n\n' +
      'id: 580c896d-e351-448d-a15e-87136161cb60.4\ndata: {"type":"text-delta","id":"0","delta":"Nine"}\n\n' +
      'data: {"type":"text-end","id":"0"}\n\ndata: {"type":"finish","finishReason":"stop","messageMetadata":{"finishReason":"stop","model":"fast"}}\n\ndata: [DONE]\n\n',
  ],
})

const EventId = z.string().meta({
  description: 'The `id:` of an event of this stream',
  examples: ['580c896d-e351-448d-a15e-87136161cb60.4'],
})

export const FollowHeaders = z.object({ 'last-event-id': EventId.optional() })

export const answerStream = { description: 'The answer', content: { 'text/event-stream': { schema: ChatResponse } } }
export const NoRunningAnswer = z.undefined().meta({ description: 'No answer is running' })
export const Stopped = z.undefined().meta({ description: 'The answer has stopped; its text so far is kept' })

/** Returns the schema of `POST /chat`. Its description lists the tools, and `x-tools` adds the schemas of their inputs. */
export function describeAsk(tools: Tools) {
  const offered = describeTools(tools)
  const lines = offered.map(({ name, description }) => `- \`${name}\`: ${description}`)
  const extra = { description: `The model may call these tools:\n\n${lines.join('\n')}`, 'x-tools': offered }
  return {
    operationId: 'ask',
    summary: 'Ask a question and stream the answer',
    ...(offered.length > 0 && extra),
    body: ChatRequest,
    response: { 200: answerStream },
  }
}
