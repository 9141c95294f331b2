import { and, asc, desc, eq, gt, gte, isNotNull, lt, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Db } from './client.ts'
import { messages, owners, type Rating } from './schema.ts'

/** A rated answer with the question that it answers. */
export type RatedAnswer = Awaited<ReturnType<typeof readPage>>[number]

type Filter = { owner?: string | undefined; since?: Date | undefined }

const pageSize = 100 // rows: their answers are usually 200 kB together

/** Creates the queries on ratings of all owners. For the CLI only, so not part of the Store. */
export function createFeedbackExport(db: Db) {
  return {
    hasOwner: async (name: string): Promise<boolean> =>
      (await db.select({ id: owners.id }).from(owners).where(eq(owners.name, name))).length > 0,

    /**
     * Yields the rated answers of all owners, or of the named one, oldest answer first. `since` is the earliest time of
     * the rating. Reads page by page, so neither memory nor a connection is held in between.
     */
    list: async function* ({ owner, since }: Filter): AsyncGenerator<Omit<RatedAnswer, 'position'>> {
      for (let after: number | undefined = 0; after !== undefined; ) {
        const page = await readPage(db, { owner, since }, after)
        for (const { position: _, ...answer } of page) yield answer
        after = page.length === pageSize ? page.at(-1)?.position : undefined
      }
    },
  }
}

async function readPage(db: Db, { owner, since }: Filter, after: number) {
  const questions = alias(messages, 'questions')
  const isEarlierInConversation = and(
    eq(questions.ownerId, messages.ownerId),
    eq(questions.conversationId, messages.conversationId),
    eq(questions.role, 'user'),
    lt(questions.position, messages.position),
  )
  const question = db
    .select({ content: questions.content })
    .from(questions)
    .where(isEarlierInConversation)
    .orderBy(desc(questions.position))
    .limit(1)
  return db
    .select({
      owner: owners.name,
      conversationId: messages.conversationId,
      messageId: messages.id,
      value: sql<Rating>`${messages.feedback}`,
      comment: messages.feedbackComment,
      ratedAt: messages.feedbackAt,
      question: sql<string | null>`(${question})`,
      answer: messages.content,
      sources: messages.sources,
      status: messages.status,
      createdAt: messages.createdAt,
      position: messages.position,
    })
    .from(messages)
    .innerJoin(owners, eq(owners.id, messages.ownerId))
    .where(
      and(
        isNotNull(messages.feedback),
        gt(messages.position, after),
        owner === undefined ? undefined : eq(owners.name, owner),
        since && gte(messages.feedbackAt, since),
      ),
    )
    .orderBy(asc(messages.position))
    .limit(pageSize)
}
