import type { FastifyReply } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import type { Answer } from '../chat/answer.ts'
import { type ChatRequest, readRequest } from '../chat/question.ts'
import { ProblemError, toProblem } from '../plugins/errors.ts'
import { headersAfterMs, openEventStream } from '../streaming/event-stream.ts'
import { parseEventId, type StreamStart, writeUiMessageStream } from '../streaming/ui-message-stream.ts'
import { answerStream, describeAsk, FollowHeaders, NoRunningAnswer, Params, Stopped } from './chat.schemas.ts'

const streamHeaders = { 'x-vercel-ai-ui-message-stream': 'v1' }

const askProblems = {
  400: ['unsupported_part', 'tool_output_missing'],
  404: ['model_not_found'],
  409: ['message_exists', 'answer_running', 'answer_not_waiting'],
  413: ['message_too_large'],
}
const followProblems = {
  400: ['invalid_event_id'],
  404: ['answer_not_found'],
  503: ['too_many_streams', 'shutting_down'],
}

const routes: FastifyPluginAsyncZod = async (app) => {
  app.post(
    '',
    {
      config: { scopes: ['chat'], rateLimit: true, streamsAnswer: true, lastOf: 'messages', problems: askProblems },
      bodyLimit: 8 * 1024 * 1024, // bytes; `useChat` posts the whole conversation, but only the last message is used
      schema: describeAsk(app.tools),
    },
    async (request, reply) => {
      const { owner, organization, keyId, log } = request
      const asked = { ...(await takeQuestion(request)), organization }
      const answer = await app.chat.ask(owner, asked, { log, keyId })
      await waitForAcceptance(answer)
      if (answer.end?.status === 'failed') throw withIds(toProblem(answer.failure), answer)
      await sendStream(reply, answer, answer.start > 0 ? { position: answer.start, isContinued: true } : undefined)
    },
  )

  app.get(
    '/:id/stream',
    {
      config: { scopes: ['chat', 'read'], problems: followProblems },
      schema: {
        operationId: 'followAnswer',
        summary: 'Resume an answer from any process',
        description:
          "With `Last-Event-ID`, returns everything after that event, even if the answer has ended. Without it, returns the conversation's running answer from its beginning.",
        params: Params,
        headers: FollowHeaders,
        response: { 200: answerStream, 204: NoRunningAnswer },
      },
    },
    async ({ owner, params: { id }, headers }, reply) => {
      const last = headers['last-event-id'] ? parseEventId(headers['last-event-id']) : undefined
      const answer = await app.chat.resume(owner, id, last?.answerId)
      if (!answer && last)
        throw new ProblemError(
          404,
          'answer_not_found',
          'Answer not found. Send an event id of this conversation as `Last-Event-ID`, or omit the header.',
        )
      if (!answer || (!last && answer.end)) return reply.code(204).send()
      await sendStream(reply, answer, last && { position: last.position, isContinued: false })
    },
  )

  app.post(
    '/:id/stop',
    {
      config: { scopes: ['chat'], neverShed: true }, // it ends work
      schema: {
        operationId: 'stopAnswer',
        summary: 'Stop the running answer of a conversation',
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

/** Releases the body, because the request exists until the answer ends, and images take megabytes. */
function takeQuestion(request: { body: z.output<typeof ChatRequest> }) {
  const { body } = request
  request.body = {}
  return readRequest(body)
}

async function sendStream(reply: FastifyReply, answer: Answer, from?: StreamStart) {
  await writeUiMessageStream(openEventStream(reply, streamHeaders), answer, from)
}

async function waitForAcceptance(answer: Answer) {
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
