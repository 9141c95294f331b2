// The bugs that seven projects fixed in 2026, and their fixes, in their shortest form. The code is ours.

type Query = (text: string) => Promise<unknown>
type Work = (query: Query) => Promise<unknown>

/** How an application uses its driver. */
export type Driver = {
  /** Runs work in a transaction. */
  transaction: (work: Work) => Promise<unknown>
  /** Runs work with one connection of its own, like a session that a web framework opens for a request. */
  session: (work: Work) => Promise<unknown>
}
/** Calls a model. */
export type Ask = (options?: { stream: boolean }) => Promise<unknown>
type Handler = (driver: Driver, ask: Ask) => Promise<unknown>

const read = 'select 1 as question'
const lock = 'select pg_advisory_xact_lock(1)'
const write = 'select 2 as answer'

export const bugs: Record<string, { bug: Handler; fixed: Handler }> = {
  'RitechSolutions/genassist#1059: an agent runs between the reads and the write of a chat': {
    bug: ({ session }, ask) =>
      session(async (query) => {
        await query(read)
        await ask()
        await query(write)
      }),
    fixed: async ({ session }, ask) => {
      await session((query) => query(read))
      await ask()
      await session((query) => query(write))
    },
  },
  'RitechSolutions/genassist#1062: a helper asks a second model to judge the answer': {
    bug: ({ transaction }, ask) => {
      const judge = async (_answer: unknown) => ask()
      return transaction(async (query) => {
        const answer = await query(read)
        await Promise.all([judge(answer), query(write)])
      })
    },
    fixed: async ({ transaction }, ask) => {
      const judge = async (_answer: unknown) => ask()
      const answer = await transaction((query) => query(read))
      await Promise.all([judge(answer), transaction((query) => query(write))])
    },
  },
  'etalab-ia/OpenGateLLM#940: the session of a request ends with its stream': {
    bug: ({ session }, ask) =>
      session(async (query) => {
        await query(read)
        return ask({ stream: true })
      }),
    fixed: async ({ session }, ask) => {
      await session((query) => query(read))
      return ask({ stream: true })
    },
  },
  'dataelement/Clawith#650: a loop over tools keeps its session': {
    bug: ({ session }, ask) =>
      session(async (query) => {
        for (const tool of [read, write]) {
          await query(tool)
          await ask()
        }
      }),
    fixed: async ({ session }, ask) => {
      for (const tool of [read, write]) {
        await session((query) => query(tool))
        await ask()
      }
    },
  },
  'AI4Bharat/Anudesh-Backend#330: a row is locked while the model answers': {
    bug: ({ transaction }, ask) =>
      transaction(async (query) => {
        await query(lock)
        await ask()
        await query(write)
      }),
    fixed: async ({ transaction }, ask) => {
      await ask()
      await transaction(async (query) => {
        await query(lock)
        await query(write)
      })
    },
  },
  'open-webui/open-webui#20571: a session that only authorization needs is opened around the handler': {
    bug: ({ session }, ask) => session(() => ask()),
    fixed: async ({ session }, ask) => {
      await session((query) => query(read))
      await ask()
    },
  },
  'open-webui/open-webui#20572: the session is opened by a dependency of a dependency': {
    bug: ({ session }, ask) => {
      const withUser = (handler: Work) => session(async (query) => [await query(read), await handler(query)])
      const withModel = (handler: Work) => withUser(async (query) => [await query(read), await handler(query)])
      return withModel(() => ask({ stream: true }))
    },
    fixed: async ({ session }, ask) => {
      const findUser = () => session((query) => query(read))
      const findModel = async () => [await findUser(), await session((query) => query(read))]
      await findModel()
      return ask({ stream: true })
    },
  },
}
