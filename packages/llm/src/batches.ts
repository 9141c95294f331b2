/** One by one what comes in batches, for whoever need not be fast. */
export async function* flatten<T>(batches: AsyncIterable<T[]>): AsyncGenerator<T, undefined> {
  for await (const batch of batches) yield* batch
}
