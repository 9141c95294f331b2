import type { FastifyReply } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Answer } from '../chat/answer.ts'
import { ChatRequest, ConversationId, toQuestion } from '../chat/question.ts'
import { ProblemError, toProblem } from '../plugins/errors.ts'
import { headersAfterMs, openEventStream } from '../streaming/event-stream.ts'
import { parseEventId, writeUiMessageStream } from '../streaming/ui-message-stream.ts'

const ChatResponse = z.string().meta({
  description: 'AI SDK UI message stream: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol',
  examples: [
    'data: {"type":"start","messageId":"580c896d-e351-448d-a15e-87136161cb60"}\n\n' +
      'data: {"type":"text-start","id":"0"}\n\n' +
      'id: 580c896d-e351-448d-a15e-87136161cb60.4\ndata: {"type":"text-delta","id":"0","delta":"Nine"}\n\n' +
      'data: {"type":"text-end","id":"0"}\n\ndata: {"type":"finish","finishReason":"stop"}\n\ndata: [DONE]\n\n',
  ],
})

const EventId = z.string().meta({
  description: 'The `id:` of an event of this stream',
  examples: ['580c896d-e351-448d-a15e-87136161cb60.4'],
})

const streamHeaders = { 'x-vercel-ai-ui-message-stream': 'v1' }

const Params = z.object({ id: ConversationId.meta({ description: 'A conversation', examples: ['opening-hours'] }) })
const Stopped = z.undefined().meta({ description: 'Nothing runs any more' })
const stream = { description: 'The answer', content: { 'text/event-stream': { schema: ChatResponse } } }

const askProblems = { 409: ['message_exists', 'answer_running'], 413: ['message_too_large'] }
const followProblems = {
  400: ['invalid_event_id'],
  404: ['answer_not_found'],
  503: ['too_many_streams', 'shutting_down'],
}

const routes: FastifyPluginAsyncZod = async (app) => {
  app.post(
    '',
    {
      config: { rateLimit: true, streamsAnswer: true, lastOf: 'messages', problems: askProblems },
      bodyLimit: 8 * 1024 * 1024, // bytes; `useChat` posts the whole conversation, but only the last message is used
      schema: {
        operationId: 'ask',
        summary: 'Ask a question; the answer streams',
        body: ChatRequest,
        response: { 200: stream },
      },
    },
    async (request, reply) => {
      const answer = await app.chat.ask(request.owner, toQuestion(request.body), request.log)
      await acceptedOrLate(answer)
      if (answer.end?.status === 'failed') throw withIds(toProblem(answer.failure), answer)
      await sendStream(reply, answer)
    },
  )

  app.get(
    '/:id/stream',
    {
      config: { problems: followProblems },
      schema: {
        operationId: 'followAnswer',
        summary: 'Read on in an answer, from any process',
        description:
          'With `Last-Event-ID`, what comes after that event, also when the answer has ended. Without it, the answer that runs in the conversation, from its start.',
        params: Params,
        headers: z.object({ 'last-event-id': EventId.optional() }),
        response: { 200: stream, 204: z.undefined().meta({ description: 'Nothing runs' }) },
      },
    },
    async ({ owner, params: { id }, headers }, reply) => {
      const last = headers['last-event-id'] ? parseEventId(headers['last-event-id']) : undefined
      const answer = await app.chat.resume(owner, id, last?.answerId)
      if (!answer && last) throw new ProblemError(404, 'answer_not_found', 'Answer not found.')
      if (!answer || (!last && answer.end)) return reply.code(204).send()
      await sendStream(reply, answer, last?.position)
    },
  )

  app.post(
    '/:id/stop',
    {
      config: { neverShed: true }, // it ends work
      schema: {
        operationId: 'stopAnswer',
        summary: 'Stop the answer that runs in a conversation; what there is of it is kept',
        params: Params,
        response: { 204: Stopped },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await app.chat.stop(owner, id)
      return reply.code(204).send()
    },
  )
}

async function sendStream(reply: FastifyReply, answer: Answer, position?: number) {
  await writeUiMessageStream(openEventStream(reply, streamHeaders), answer, position)
}

async function acceptedOrLate(answer: Answer) {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, headersAfterMs)
  await Promise.race([answer.accepted, late.promise])
  clearTimeout(timer)
}

/** Adds the ids to a problem. The question is stored, so the client can request its answer without sending it again. */
function withIds({ status, code, message, retryAfterSeconds }: ProblemError, { key }: Answer): ProblemError {
  const extra = { conversationId: key.conversationId, messageId: key.answerId }
  return new ProblemError(status, code, message, { retryAfterSeconds, extra })
}

export default routes
