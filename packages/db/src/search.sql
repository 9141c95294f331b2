-- The two legs of a search, for `db:migrate`. To plan a query costs more than to compare some hundred chunks: so an owner of
-- few is searched by plans that a session makes once, for any values. For an owner of many, what reads the chunks is planned
-- for each search with its values in sight: Postgres takes the index that is right for rare words or for common ones.
-- `enable_seqscan` is off because a plan for any owner would read the whole table where one of them has most of it.

-- An owner's nearest chunks: `distance` is the cosine's, from 0 to 2.
create or replace function search_vectors(owner uuid, query halfvec, model text, filter jsonb, depth int)
returns table (id uuid, distance float8, rank bigint)
language plpgsql stable rows 50 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  size float8;
  total float8;
begin
  select * into size, total from count_chunks(owner);
  -- Among many others' the index goes on long until it has enough of these: 40 ms for 2,000 of 100,000, where to compare all
  -- takes 2. Postgres believes the opposite.
  if size <= 300 or size <= 10000 and size * 10 < total then
    return query
      select id, least(distance, 2), row_number() over (order by distance, id) -- a vector of zeros is at NaN
      from (
        select id, embedding <=> query as distance from chunks
        where owner_id = owner and embedding_model || '' = model -- which no index serves: that of all models would be read
          and (filter is null or document_id in (select id from documents where owner_id = owner and metadata @> filter))
        order by distance
        limit depth) as nearest;
    return;
  end if;
  -- The model's name and the width are literals, as in the partial index that `db:migrate` makes for each model.
  -- distance + 0, because the index gives them almost in order, and Postgres would believe that it is one.
  return query execute format($query$
    select id, least(distance, 2), row_number() over (order by distance + 0, id)
    from (
      select id, embedding::halfvec(%1$s) <=> $2::halfvec(%1$s) as distance from chunks
      where owner_id = $1 and embedding_model = %2$L %3$s
      order by distance
      limit $4) as nearest
    $query$, vector_dims(query), model,
    case when filter is not null then 'and document_id in (select id from documents where owner_id = $1 and metadata @> $3)' end)
    using owner, query, filter, depth;
end $$;

-- An owner's best chunks for any of a question's words, by BM25 (Robertson and Zaragoza 2009) with its usual constants.
-- How many chunks hold a word is counted in the very rows that are read, so that nothing has to be kept up to date; only
-- of words too common to be read for it is it taken from the statistics that ANALYZE keeps anyway.
-- `model` is the asking process's: of a document that `reindex` has embedded anew beside its older chunks, only one
-- model's are found, its own if there are any.
create or replace function search_words(owner uuid, question text, model text, filter jsonb, depth int)
returns table (id uuid, score float8, rank bigint)
language plpgsql stable rows 50 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  read_budget constant int := 300; -- chunks read for words: half as many cost 0.01 of nDCG@10
  most_words constant int := 40; -- the rarest ones; a question has ten
  size float8;
  total float8;
  common_words text[];
  common_shares real[];
  words tsquery[];
  shares float8[];
  sought tsquery;
begin
  select * into size, total from count_chunks(owner);
  if size > read_budget then -- an owner of fewer is read for every word
    select most_common_elems::text, most_common_elem_freqs into common_words, common_shares
    from pg_stats where schemaname = current_schema() and tablename = 'chunks' and attname = 'search';
  end if;
  -- Sought are the rarest words, as many as the budget allows, and of the others the rarest where it stands with one of the
  -- next, as many as the budget allows again (that words do not know of each other is near enough): so a question of common
  -- words alone, or whose rare ones are nowhere, finds too. The commonest are not looked up: that would take the longest.
  with asked as (
    select word, coalesce(share, 0)::float8 as share
    from list_words(owner, question) as word
    left join unnest(common_words, common_shares) as common (word, share) using (word)
    order by 2, length(word) desc
    limit most_words),
  placed as (
    select array_to_tsvector(array[word])::text as word, share, row_number() over rarest as place,
      sum(share) over rarest * size <= read_budget as is_rare
    from asked
    window rarest as (order by share, word)),
  paired as (
    select *, row_number() over others = 2
      or min(share) over others * (sum(share) over others - min(share) over others) * size <= read_budget as is_read
    from placed
    window others as (partition by is_rare order by place)),
  parts as (
    select array_agg(word::tsquery order by place) as words,
      array_agg(case when not is_rare then share end order by place) as shares,
      string_agg(word, ' | ') filter (where is_rare) as rare,
      array_agg(word order by place) filter (where not is_rare and is_read) as others
    from paired)
  select words, shares,
    concat_ws(' | ', rare, others[1] || coalesce(' & (' || nullif(array_to_string(others[2:], ' | '), '') || ')', ''))::tsquery
  into words, shares, sought
  from parts;
  if words is null then return; end if;

  -- ts_rank of one word is the sum of 1 / n² over its occurrences, over π² / 6: what is missing from 1 is about
  -- 1 / (π² / 6 · (occurrences + 1/2)), so there are (6 / π² - 1/2 + rank / 2) / (1 - rank) of it, and the division is left
  -- out of BM25's. No other function of Postgres reads it as fast.
  return query
    with matched as materialized (
      select id, search, length(search)::float8 as length
      from match_words(owner, sought, model, filter, size <= read_budget or size <= 5000 and size * 10 < total)),
    hits as materialized (
      select id, length, place, ts_rank('{1, 1, 1, 1}', search, word)::float8 as rank
      from matched, unnest(words) with ordinality as asked (word, place)
      where search @@ word),
    rarities as (
      select place, ln((size + 1) / (least(size, coalesce(shares[place] * size, count(*))) + 0.5)) as rarity
      from hits group by place),
    measured as (
      select id, rarity, 0.107927 + rank / 2 as count, (1 - rank) * 1.2 * (0.25 + 0.75 * length / mean_length) as slowness
      from hits join rarities using (place), (select avg(length) as mean_length from matched) as known)
    select id, score, row_number() over (order by score desc, id)
    from (select id, 2.2 * sum(rarity * count / (count + slowness)) as score from measured group by id) as scored
    order by score desc, id
    limit depth;
end $$;

-- An owner's chunks that hold the sought words, of each document those of one model.
create or replace function match_words(owner uuid, sought tsquery, model text, filter jsonb, few boolean)
returns table (id uuid, search tsvector)
language plpgsql stable rows 500 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if not few then perform set_config('plan_cache_mode', 'force_custom_plan', true); end if; -- until the function's end
  return query
    select id, search from chunks
    where owner_id = owner
      -- The words' index holds all owners' chunks: to read an owner's few is faster. So it shall serve only where the plan
      -- has its values, which then knows that nothing is null.
      and (sought is null or search @@ sought)
      and (filter is null or document_id in (select id from documents where owner_id = owner and metadata @> filter))
      and (embedding_model = model or
        not exists (select from chunks as own where own.document_id = chunks.document_id and own.embedding_model = model)
        and not exists (select from chunks as other
          where other.document_id = chunks.document_id and other.embedding_model < chunks.embedding_model))
    limit 500; -- a bound on the work, whichever rows come first
end $$;

-- How many chunks an owner has, counted up to 300; of more, by the statistics of ANALYZE, and also how many there are in all.
create or replace function count_chunks(owner uuid, out size float8, out total float8)
language plpgsql stable as $$
begin
  size := (select count(*) from (select from chunks where owner_id = owner limit 301) as counted);
  if size <= 300 then return; end if;
  total := (select reltuples from pg_class where oid = 'chunks'::regclass);
  size := coalesce(
    (select most_common_freqs[array_position(most_common_vals::text::text[], owner::text)] * total
    from pg_stats where schemaname = current_schema() and tablename = 'chunks' and attname = 'owner_id'),
    (select count(*) from chunks where owner_id = owner));
end $$;

-- The words of a question, in those languages of its owner's documents that it may be in, English too: which texts that tell
-- no language count as.
create or replace function list_words(owner uuid, question text) returns setof text
language plpgsql stable rows 10 as $$
declare
  spoken text[];
begin
  with recursive languages as ( -- one step in the index a language
    (select language from chunks where owner_id = owner order by language limit 1)
    union all
    select (select language from chunks where owner_id = owner and language > languages.language order by language limit 1)
    from languages where language is not null)
  select array_agg(language) into spoken from languages where language is not null;
  return query
    select distinct lexeme
    from unnest(guess_languages(question, spoken) || array(select 'english' where 'english' = any(spoken))) as language,
      unnest(to_tsvector(language::regconfig, question));
end $$;

-- The languages of a text among some: those whose stop words it uses the most, as Postgres knows them, English first
-- among equals.
create or replace function guess_languages(sample text, among text[]) returns text[]
language plpgsql stable as $$
begin
  if cardinality(among) < 2 then return among; end if;
  return (
    select array_agg(language order by language <> 'english', language)
    from (
      select language, rank() over (order by (
        select coalesce(sum(cardinality(positions)), 0) from unnest(to_tsvector(language::regconfig, sample)))) as place
      from unnest(among) as language) as known
    where place = 1);
end $$;
