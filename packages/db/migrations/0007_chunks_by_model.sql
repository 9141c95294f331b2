-- Dropped last: nobody can search between that and the end of the transaction.
CREATE INDEX "chunks_document_model" ON "chunks" USING btree ("document_id","embedding_model");--> statement-breakpoint
DROP INDEX "chunks_document";
