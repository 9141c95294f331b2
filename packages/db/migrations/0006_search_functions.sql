DROP INDEX "chunks_owner";--> statement-breakpoint
CREATE INDEX "chunks_owner" ON "chunks" USING btree ("owner_id","language");--> statement-breakpoint
ALTER TABLE "chunks" SET (toast_tuple_target = 4080);
