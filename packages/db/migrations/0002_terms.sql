-- Keyword search by terms that the application finds. Run `npm run manage -- reindex` to fill in those of older chunks.
DROP INDEX "chunks_owner";--> statement-breakpoint
DROP INDEX "chunks_search";--> statement-breakpoint
CREATE INDEX "chunks_owner_model" ON "chunks" USING btree ("owner_id","embedding_model");--> statement-breakpoint
ALTER TABLE "chunks" DROP COLUMN "search";--> statement-breakpoint
ALTER TABLE "chunks" DROP COLUMN "language";--> statement-breakpoint
ALTER TABLE "chunks" ADD COLUMN "terms" integer[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "chunks" ADD COLUMN "weights" sparsevec(1000000000) DEFAULT '{}/1000000000' NOT NULL;--> statement-breakpoint
ALTER TABLE "chunks" ADD COLUMN "tokenizer" text DEFAULT '' NOT NULL;--> statement-breakpoint
CREATE INDEX "chunks_terms" ON "chunks" USING gin ("terms");--> statement-breakpoint
-- Functions of the search until now.
DROP FUNCTION IF EXISTS search_vectors(uuid, halfvec, text, uuid[], int);--> statement-breakpoint
DROP FUNCTION IF EXISTS search_vectors_within(uuid[], uuid, halfvec, text, int, float8);--> statement-breakpoint
DROP FUNCTION IF EXISTS search_words(uuid, text, text, uuid[], int);--> statement-breakpoint
DROP FUNCTION IF EXISTS match_words(uuid, tsquery, text, uuid[], boolean);--> statement-breakpoint
DROP FUNCTION IF EXISTS count_chunks(uuid);--> statement-breakpoint
DROP FUNCTION IF EXISTS count_few_chunks(uuid[], float8);--> statement-breakpoint
DROP FUNCTION IF EXISTS list_documents(uuid, jsonb);--> statement-breakpoint
DROP FUNCTION IF EXISTS list_words(uuid, text);--> statement-breakpoint
DROP FUNCTION IF EXISTS guess_languages(text, text[]);--> statement-breakpoint
-- A search reads the weights of up to a thousand chunks. They stay in the row, and long contents move out of it.
ALTER TABLE "chunks" ALTER COLUMN "weights" SET STORAGE MAIN;--> statement-breakpoint
ALTER TABLE "chunks" ALTER COLUMN "terms" SET STORAGE MAIN;--> statement-breakpoint
ALTER TABLE "chunks" SET (toast_tuple_target = 2600);
