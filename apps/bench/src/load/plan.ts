/** What a load does to a server or a database. */
export type Load = {
  /** Of a server, or of a database: then each client has a connection of its own, and queries it. */
  url: string
  /** Chats with an answer of so many tokens; or, with `path`, reads of that path, whose bodies must all be alike. */
  tokens: number
  intervalMs: number
  path?: string
  /** A closed loop: so many clients, who begin over `rampMs` and ask again when their answer has ended. */
  clients: number
  rampMs: number
  /** What a client waits between an answer and its next question. */
  thinkMs?: number
  /** A fixed rate instead: so many a second, whether or not others have ended. */
  perSecond?: number
  /** Nobody asks after that. */
  seconds: number
  /** What still runs so long after that is given up. By default the length of an answer and 15 s. */
  patienceMs?: number
}
