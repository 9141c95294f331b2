import { type SQL, sql } from 'drizzle-orm'
import { termSpace } from './schema.ts'
import { quoteLiteral } from './text.ts'

/** pgvector's hnsw indexes support no wider halfvec. Wider vectors are searched exactly. */
export const widestIndex = 4000

/** What the text of the statement depends on. All other values are parameters. */
export type SearchShape = {
  /** The embedding model and the width of its vectors. Unset: the search is by words only. */
  vectors?: { model: string; dimensions: number }
  /** How documents are selected. Unset: all of them. */
  scope?: 'by filter' | 'by id'
}

const { placeholder } = sql
/** Candidates of each retriever. */
const depth = sql.raw('50')
/** Chunks to read for one set of terms. A subquery, because for a known number the planner may prefer to scan the table. */
const mostRead = sql.raw('(select 1000)')

// One plan serves all searches of a session, because planning takes longer than a search among few chunks. So conditions
// are written for the planner:
// - All parameters are read from `asked`. Postgres plans a statement again and again if it expects to gain from values.
// - `between` makes it use the index of owners, even if one owner has most of the chunks.
// - `array_position` prevents that where the index of vectors or terms is better.
const ask = (name: string) => sql.raw(`(select ${name} from asked)`)
/** The chunks of each owner in `owners`: the one who asks, and the organization whose documents are shared with them. */
const chunksOfOwners = sql.raw(
  '(select unnest(owners) as reader from asked) as readers join chunks on owner_id between reader and reader',
)
const isOwnAmongFound = sql`array_position(${ask('owners')}, owner_id) is not null`
const isInScope = sql.raw('document_id in (select id from scope)')
/** While documents are embedded again, they have chunks of several models. One is searched: the current one, if there. */
const isOfOneModel = sql`(embedding_model = ${ask('model')} or not exists (
  select from chunks as other
  where other.document_id = chunks.document_id and other.embedding_model <> chunks.embedding_model
    and (other.embedding_model = ${ask('model')} or other.embedding_model < chunks.embedding_model)))`

/**
 * Writes the search: the nearest vectors and the best chunks for the words, at most 50 each, with scores from 0 to 1, fused
 * by their weighted sum.
 */
export function writeSearch({ vectors, scope }: SearchShape): SQL {
  const isScoped = scope !== undefined
  return sql`
    with asked as materialized (select ${listParameters(vectors)}),
    ${scope ? selectScope(scope) : sql``}
    ${vectors ? selectNearest(vectors, isScoped) : sql`nearest as (select null::uuid as id, 0::float8 as distance limit 0)`},
    by_vector as (
      select id, distance, row_number() over (order by distance, id) as rank,
        coalesce((max(distance) over () - distance) / nullif(max(distance) over () - min(distance) over (), 0), 1) as score
      from nearest),
    ${selectByWords(isScoped)},
    fused as (
      select coalesce(by_vector.id, by_words.id) as id,
        ${ask('vector_weight')} * coalesce(by_vector.score, 0) + coalesce(by_words.score, 0) as score,
        by_vector.rank as vector_rank, distance, by_words.rank as text_rank, bm25
      from by_vector full join by_words on by_words.id = by_vector.id
      order by score desc, id limit ${ask('most')})
    select fused.*, document_id, title, heading, content, start, "end", page
    from fused join chunks on chunks.id = fused.id join documents on documents.id = document_id
    order by score desc, fused.id`
}

function listParameters(vectors: SearchShape['vectors']): SQL {
  const vector = sql`${placeholder('embedding')}::${sql.raw(`halfvec(${vectors?.dimensions})`)} as embedding,`
  return sql`${vectors ? vector : sql``}
    ${placeholder('owners')}::uuid[] as owners, ${placeholder('model')}::text as model, ${placeholder('limit')}::int as most,
    ${placeholder('vectorWeight')}::float8 as vector_weight, ${placeholder('filter')}::jsonb as filter,
    ${placeholder('documentIds')}::uuid[] as document_ids, ${placeholder('isSmall')}::boolean as is_small,
    ${placeholder('mostCompared')}::int as most_compared, ${placeholder('sizes')}::int[] as sizes,
    ${placeholder('terms')}::int[] as terms, ${placeholder('counts')}::int[] as counts,
    ${placeholder('sought')}::text[] as sought`
}

function selectScope(scope: 'by filter' | 'by id'): SQL {
  const isChosen = scope === 'by id' ? sql`and id in (select unnest(${ask('document_ids')}))` : sql``
  return sql`
    scope as materialized (
      select id from documents where owner_id in (select unnest(owners) from asked) and metadata @> ${ask('filter')} ${isChosen}),
    scope_size as materialized (
      select count(*) as chunks
      from (select from chunks where ${isInScope} limit ${ask('most_compared')} + 1) as counted),`
}

/**
 * Compares all chunks if there are few, otherwise reads the model's index. In a scope, the index may stop before it has
 * found enough (`hnsw.max_scan_tuples`): then all chunks are compared after all. `distance` is the cosine distance, from
 * 0 to 2; that of a zero vector is NaN. `is true` keeps the scope a filter of what the index finds.
 */
function selectNearest({ model, dimensions }: { model: string; dimensions: number }, isScoped: boolean): SQL {
  const vector = sql.raw(`halfvec(${dimensions})`)
  const isFew = isScoped ? sql.raw('(select chunks <= most_compared from scope_size, asked)') : ask('is_small')
  return sql`
    few as materialized (select ${dimensions > widestIndex ? sql`true` : isFew}),
    found as materialized (
      select id, embedding::${vector} <=> ${ask('embedding')} as distance from chunks
      where not (table few) and embedding_model = ${sql.raw(quoteLiteral(model))} and ${isOwnAmongFound}
        ${isScoped ? sql`and (${isInScope}) is true` : sql``}
      order by distance limit ${depth}),
    compared as (
      select id, embedding <=> ${ask('embedding')} as distance from ${isScoped ? sql`chunks` : chunksOfOwners}
      where ${isScoped ? sql`((table few) or (select count(*) < ${depth} from found)) and ${isInScope}` : sql`(table few)`}
        and embedding_model = ${ask('model')}
      order by distance limit ${depth}),
    nearest as (
      select id, least(distance, 2) as distance from (
        select * from compared union all
        select * from found ${isScoped ? sql`where (select count(*) = ${depth} from found)` : sql``}) as either)`
}

/**
 * Scores chunks by BM25. A chunk is a candidate if it contains all terms of one of the `sought` sets, or any term if its
 * scope is small. `terms` has each word once per owner, next to each other, and a word's count is that of all owners.
 * Terms without a known count are counted among the candidates; their sets come first, in the same order.
 */
function selectByWords(isScoped: boolean): SQL {
  const isSmallScope = sql.raw('(select chunks <= 1000 from scope_size)') // as many as an owner's `fewChunks`
  const allOfScope = sql`
      union all
      select number, id, weights
      from unnest(${ask('terms')}) with ordinality as word (term, number), (
        select id, chunks.terms, weights from chunks where ${isSmallScope} and ${isInScope} and ${isOfOneModel} offset 0) as few
      where few.terms @> array[term]`
  return sql`
    matched as materialized (
      select number, chunk.*
      from unnest(${ask('sought')}) with ordinality as given (terms, number), lateral (
        select id, weights from chunks
        where chunks.terms @> given.terms::int[] and ${isOwnAmongFound} and ${isOfOneModel}
          ${isScoped ? sql`and ${isInScope} and not ${isSmallScope}` : sql``}
        limit ${mostRead}) as chunk
      ${isScoped ? allOfScope : sql``}),
    counted as (
      select term, sum(coalesce(known, count, 0)) over (partition by (number - 1) / (select cardinality(owners) from asked)) as count
      from unnest(${ask('terms')}, ${ask('counts')}) with ordinality as word (term, known, number)
      left join (select number, count(*) from matched group by number) as found using (number)),
    own as (
      select sum(coalesce(known, (select count(*) from chunks where owner_id between reader and reader)))::float8 as size
      from unnest(${ask('owners')}, ${ask('sizes')}) as given (reader, known)),
    rarities as materialized (
      select concat('{', string_agg(concat(term, ':', ln(1 + (greatest(size - count, 0) + 0.5) / (count + 0.5))), ','),
        '}/${sql.raw(`${termSpace}`)}')::sparsevec as rarities
      from (select distinct on (term) term, count from counted) as rarest, own),
    by_words as (
      select id, bm25, row_number() over (order by bm25 desc, id) as rank, bm25 / max(bm25) over () as score
      from (
        select id, max(-(weights <#> rarities)) as bm25
        from matched, rarities
        group by id order by bm25 desc, id limit ${depth}) as best)`
}
