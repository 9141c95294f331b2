-- The two retrievers of a search, created by `db:migrate`. Planning a query takes longer than comparing a few hundred
-- chunks, so owners with few chunks use generic plans, which a session makes once. For owners with many chunks, the query
-- that reads them is planned for each search with its values, so Postgres can choose the right index for rare or common
-- words. `enable_seqscan` is off because a generic plan would scan the whole table if one owner has most of it.
-- A search may be restricted to some `documents` of the owner, which `list_documents` returns. Null means all of them.

-- Returns an owner's nearest chunks. `distance` is the cosine distance, from 0 to 2.
create or replace function search_vectors(owner uuid, query halfvec, model text, documents uuid[], depth int)
returns table (id uuid, distance float8, rank bigint)
language plpgsql stable rows 50 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  size float8;
  total float8;
begin
  if query is null then return; end if;
  select * into size, total from count_chunks(owner);
  if documents is not null then
    return query select * from search_vectors_within(documents, owner, query, model, depth, total);
    return;
  end if;
  -- If most chunks belong to other owners, an index scan visits many before it finds enough of this owner. Comparing all
  -- of the owner's chunks is then much faster, contrary to Postgres' estimate.
  if size <= 300 or size <= 10000 and size * 10 < total then
    return query
      select id, least(distance, 2), row_number() over (order by distance, id) -- the distance of a zero vector is NaN
      from (
        select id, embedding <=> query as distance from chunks
        where owner_id = owner and embedding_model || '' = model -- `|| ''` prevents the use of the index of all models
        order by distance
        limit depth) as nearest;
    return;
  end if;
  -- Model name and width are literals to match the partial index that `db:migrate` creates for each model.
  -- `distance + 0` forces a sort, because the index returns rows only approximately in order.
  return query execute format($query$
    select id, least(distance, 2), row_number() over (order by distance + 0, id)
    from (
      select id, embedding::halfvec(%1$s) <=> $2::halfvec(%1$s) as distance from chunks
      where owner_id = $1 and embedding_model = %2$L
      order by distance
      limit $3) as nearest
    $query$, vector_dims(query), model)
    using owner, query, depth;
end $$;

-- Returns the nearest chunks among some documents of an owner.
create or replace function search_vectors_within(
  documents uuid[], owner uuid, query halfvec, model text, depth int, total float8)
returns table (id uuid, distance float8, rank bigint)
language plpgsql stable rows 50 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  found uuid[];
begin
  if count_few_chunks(documents, total) is null then
    -- `is true` keeps the subquery a filter, which hashes the documents once. A join would scan the index without need.
    execute format($query$
      select array(
        select id from chunks
        where owner_id = $1 and embedding_model = %2$L and (document_id in (select unnest($3))) is true
        order by embedding::halfvec(%1$s) <=> $2::halfvec(%1$s)
        limit $4)
      $query$, vector_dims(query), model)
      into found using owner, query, documents, depth;
  end if;
  if cardinality(found) = depth then
    return query
      select id, least(distance, 2), row_number() over (order by distance, id)
      from (select id, embedding <=> query as distance from chunks where id = any(found)) as nearest;
    return;
  end if;
  -- The documents have few chunks, or the index stopped before it reached them (`hnsw.max_scan_tuples`): compare them all.
  return query
    select id, least(distance, 2), row_number() over (order by distance, id)
    from (
      select id, embedding <=> query as distance from chunks
      where owner_id = owner and document_id in (select unnest(documents)) and embedding_model = model
      order by distance
      limit depth) as nearest;
end $$;

-- Returns an owner's best chunks for any of a question's words, by BM25 (Robertson and Zaragoza 2009) with its usual
-- constants. Document frequency is counted over the candidate rows, so no counts need to be maintained. For words too
-- common to scan, it is estimated from `pg_stats`.
-- `model` is the caller's embedding model. During `reindex` a document has chunks of several models. Only the chunks of
-- one model are searched: this model if there are any.
create or replace function search_words(owner uuid, question text, model text, documents uuid[], depth int)
returns table (id uuid, score float8, rank bigint)
language plpgsql stable rows 50 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  read_budget constant int := 300; -- chunks to read; fewer lower the quality of the results measurably
  most_words constant int := 40; -- only the rarest words; a typical question has ten
  size float8;
  total float8;
  common_words text[];
  common_shares real[];
  words tsquery[];
  shares float8[];
  sought tsquery;
begin
  select * into size, total from count_chunks(owner);
  if documents is not null then size := coalesce(count_few_chunks(documents, total), size); end if;
  if size > read_budget then -- with fewer chunks, all are read for every word
    select most_common_elems::text, most_common_elem_freqs into common_words, common_shares
    from pg_stats where schemaname = current_schema() and tablename = 'chunks' and attname = 'search';
  end if;
  -- Search for the rarest words within the budget. For questions without rare words, or whose rare words do not occur,
  -- also search for pairs: the rarest of the other words together with one of the next, within the same budget again
  -- (assuming that words occur independently). The most common words are not searched, which would take longest.
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

  -- ts_rank is the fastest function from which the number of occurrences can be derived. For one word it is the sum of
  -- 1 / n² over its occurrences, divided by π² / 6, so 1 - rank is about 1 / (π² / 6 · (occurrences + 1/2)). Hence
  -- occurrences = (6 / π² - 1/2 + rank / 2) / (1 - rank). BM25 is written without this division.
  return query
    with matched as materialized (
      select id, search, length(search)::float8 as length
      from match_words(owner, sought, model, documents, size <= read_budget or size <= 5000 and size * 10 < total)),
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

-- Returns an owner's chunks that contain the given words. Searches the chunks of one model per document.
create or replace function match_words(owner uuid, sought tsquery, model text, documents uuid[], few boolean)
returns table (id uuid, search tsvector)
language plpgsql stable rows 500 set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if not few or documents is not null then
    perform set_config('plan_cache_mode', 'force_custom_plan', true); -- until the function returns
  end if;
  return query
    select id, search from chunks
    where owner_id = owner
      -- The word index covers all owners. For an owner with few chunks, reading them all is faster, so only custom plans
      -- may use the index: they know that `sought` is not null.
      and (sought is null or search @@ sought)
      and (documents is null or document_id in (select unnest(documents)))
      and (embedding_model = model or
        not exists (select from chunks as own where own.document_id = chunks.document_id and own.embedding_model = model)
        and not exists (select from chunks as other
          where other.document_id = chunks.document_id and other.embedding_model < chunks.embedding_model))
    limit 500; -- bounds the work; which rows come first is undefined
end $$;

-- Returns the number of an owner's chunks: exact up to 300, above that estimated from `pg_stats`, together with the total
-- number of chunks.
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

-- Returns the number of chunks of some documents if comparing them all is faster than the vector index, otherwise null.
-- To find 50 chunks, the index visits 50 * total / count chunks. A visit takes as long as about 20 comparisons.
create or replace function count_few_chunks(documents uuid[], total float8) returns bigint
language plpgsql stable as $$
declare
  most bigint := greatest(1000, sqrt(50 * 20 * greatest(total, 0))); -- `total` is null for few chunks, -1 if unknown
begin
  return (
    select nullif(count(*), most + 1)
    from (select from chunks where document_id in (select unnest(documents)) limit most + 1) as counted);
end $$;

-- Returns the ids of an owner's documents in a scope, or null if it does not restrict them. A scope is an object with
-- `filter`, which their metadata contains, and `documentIds`. Both are optional.
create or replace function list_documents(owner uuid, scope jsonb) returns uuid[]
language plpgsql stable strict as $$
declare
  filter jsonb := coalesce(scope -> 'filter', '{}');
begin
  if scope ? 'documentIds' then
    return array(
      select id from documents
      where id = any(array(select jsonb_array_elements_text(scope -> 'documentIds')::uuid))
        and owner_id = owner and metadata @> filter);
  end if;
  if filter = '{}' then return null; end if;
  return array(select id from documents where owner_id = owner and metadata @> filter);
end $$;

-- Returns the lexemes of a question, in the likely languages among those of the owner's documents, and in English, which
-- is the default of texts whose language was not detected.
create or replace function list_words(owner uuid, question text) returns setof text
language plpgsql stable rows 10 as $$
declare
  spoken text[];
begin
  with recursive languages as ( -- one index lookup per language
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

-- Returns the likely languages of a text among the given ones: those whose stop words, as Postgres lists them, occur most
-- often. English comes first in a tie.
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
