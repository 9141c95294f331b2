import type { RetrievedPassage } from '@repo/rag'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { toScope } from '../chat/scope.ts'
import { SearchQuery, SearchResponse } from './search.schemas.ts'

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { rateLimit: true },
      schema: {
        operationId: 'search',
        summary: 'Find the most relevant passages without generating an answer',
        querystring: SearchQuery,
        response: { 200: SearchResponse },
      },
    },
    async ({ owner, organization, keyId, query: { q, k, explain, ...scope } }) => {
      const { passages, ...found } = await app.searchPassages(owner, q, {
        limit: k,
        scope: toScope(scope),
        ...{ organization, keyId },
      })
      const explained = passages.map((passage) => ({ ...passage, ranking: toRanking(passage) }))
      return { items: explain === '1' ? explained : passages, ...found }
    },
  )
}

function toRanking({ vectorRank, vectorDistance, textRank, textScore }: RetrievedPassage) {
  return { vector: { rank: vectorRank, distance: vectorDistance }, text: { rank: textRank, score: textScore } }
}

export default routes
