import { type SQL, sql } from 'drizzle-orm'
import { chunks, languages } from './schema.ts'

// BM25 (Robertson and Zaragoza 2009) in plain SQL. How many chunks hold a word is counted in the very rows that the
// search reads, so that nothing has to be kept up to date; only of words too common to be read for it is it taken from
// the statistics that ANALYZE keeps anyway.

/** How fast repetitions of a word count for less, and how much length counts: the usual values, here as good as any. */
const [k1, b] = [1.2, 0.75]
/** Chunks that a search reads for its words. Half as many cost 0.01 of nDCG@10 at most, twice as many gain nothing. */
const readBudget = 500
/** Where even the rarest word is common: a bound on the work, whichever rows come first. */
const mostRead = 1000
/** Words of a question that are looked up, the rarest first; a question has ten. */
const mostWords = 40

const [owner, text] = [sql.placeholder('owner'), sql.placeholder('text')]
const codes = sql.raw(
  languages
    .filter((language) => language !== 'simple')
    .map((code) => `'${code}'`)
    .join(', '),
)

/**
 * The languages of a text, as `language`: those whose stop words it uses the most, as Postgres knows them, English first
 * among equals.
 */
export function selectLanguages(of: SQL): SQL {
  return sql`
    select language from (
      select language, rank() over (order by (
        select coalesce(sum(cardinality(positions)), 0) from unnest(to_tsvector(language::regconfig, ${of})))) as place
      from unnest(array[${codes}]) as language) as known
    where place = 1
    order by language <> 'english', language`
}

/** An owner's best chunks for any of a text's words, as `matching_id`, `text_score` (BM25) and `text_rank` (from 1). */
export function selectMatching(limit: number, filter: SQL | undefined): SQL {
  return sql`
    with ${selectSize()}, ${selectWords()},
    matched as materialized (
      select id, length(search) as length,
        setweight(search, 'D') as search -- unpacked once, not once a word; ranks then know no weights
      from ${chunks}, (select string_agg(query::text, ' | ')::tsquery as query from words where is_sought) as sought
      where owner_id = ${owner} and search @@ sought.query and ${filter ?? sql`true`}
      limit ${literal(mostRead)}),
    held as materialized (
      select id, length, word, ts_rank('{1, 1, 1, 1}', search, query)::float8 as rank from matched, words),
    rarities as materialized (
      select word, ln(1 + (greatest(size.chunks, holders) - holders + 0.5) / (holders + 0.5)) as rarity
      from size, (
        select word, case when bool_and(is_sought) then count(*) else max(share) * max(size.chunks) end as holders
        from size, held join words using (word) where rank > 0 group by word) as counted),
    average as materialized (select avg(length)::float8 as length from matched)
    select id as matching_id, text_score, row_number() over (order by text_score desc, id) as text_rank
    from (
      select id, sum(rarity * count * ${literal(k1 + 1)} / (count + ${literal(k1)} * (${literal(1 - b)} + ${literal(b)} * held.length / average.length)))
        as text_score
      from average, held join rarities using (word), lateral (select ${countOccurrences()} as count) as occurrences
      where rank > 0
      group by id) as scored
    order by text_score desc, id
    limit ${literal(limit)}`
}

/** How many chunks an owner has: as ANALYZE has it of those who have many, else counted. */
function selectSize(): SQL {
  return sql`
    statistics as materialized (
      select attname, most_common_vals::text as vals, most_common_freqs as freqs,
        most_common_elems::text as elems, most_common_elem_freqs as elem_freqs
      from pg_stats where schemaname = current_schema() and tablename = 'chunks' and attname in ('owner_id', 'search')),
    size as materialized (
      select coalesce(
        (select freqs[array_position(vals::text[], ${owner}::uuid::text)] from statistics where attname = 'owner_id')
          * (select reltuples from pg_class where oid = 'chunks'::regclass),
        (select count(*) from ${chunks} where owner_id = ${owner}))::float8 as chunks)`
}

/** The text's words, in English too, which texts that tell no language count as; sought are the rarest, as many as the budget allows, in the chunks of a small owner all. */
function selectWords(): SQL {
  return sql`
    common as materialized (
      select word, share from statistics, size, unnest(elems::text[], elem_freqs) as common (word, share)
      where attname = 'search' and chunks > ${literal(readBudget)}),
    words as materialized (
      select word, share, quote_literal(word)::tsquery as query,
        row_number() over rarest = 1 or sum(share) over rarest * chunks <= ${literal(readBudget)} as is_sought
      from size, (
        select lexeme as word, coalesce(share, 0)::float8 as share
        from (select distinct lexeme
          from (select 'english' as language union select language from (${selectLanguages(sql`${text}`)}) as spoken)
            as languages, unnest(to_tsvector(language::regconfig, ${text}))) as asked
        left join common on word = lexeme
        order by 2, length(lexeme) desc
        limit ${literal(mostWords)}) as rare
      window rarest as (order by share, word))`
}

/**
 * How often a word occurs, from its ts_rank, which for one word is the sum of 1 / n² over its occurrences, over π² / 6:
 * what is missing from 1 is about 1 / (π² / 6 · (count + 1/2)). No other function of Postgres reads it as fast.
 */
function countOccurrences(): SQL {
  return sql`6 / (pi() ^ 2 * (1 - least(rank, 0.999))) - 0.5`
}

/** A constant of the statement's text. */
function literal(value: number): SQL {
  return sql.raw(value.toFixed(2).replace(/\.?0+$/, ''))
}
