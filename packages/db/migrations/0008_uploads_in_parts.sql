-- A title may arrive after the last byte of its file, so a document's hash now contains the hash of the bytes. What can be
-- computed again is: texts and waiting uploads. A PDF or Word file that was ready before is taken in once more when posted.
WITH content AS (
	SELECT "documents"."id", coalesce("uploads"."bytes", convert_to("documents"."text", 'UTF8')) AS "bytes",
		convert_to(coalesce("external_id", ''), 'UTF8') || '\x00' ||
			convert_to(coalesce("uploads"."title", "documents"."title"), 'UTF8') || '\x00' AS "head"
	FROM "documents" LEFT JOIN "uploads" ON "uploads"."document_id" = "documents"."id"
)
UPDATE "documents" SET "content_hash" = encode(sha256("head" || convert_to(encode(sha256("bytes"), 'hex'), 'UTF8')), 'hex')
FROM content WHERE content."id" = "documents"."id" AND "content_hash" = encode(sha256("head" || "bytes"), 'hex');--> statement-breakpoint
CREATE TABLE "upload_parts" (
	"owner_id" uuid NOT NULL,
	"upload_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"bytes" "bytea" NOT NULL,
	CONSTRAINT "upload_parts_key" PRIMARY KEY("owner_id","upload_id","number")
);
--> statement-breakpoint
ALTER TABLE "upload_parts" ALTER COLUMN "bytes" SET STORAGE EXTERNAL;--> statement-breakpoint
ALTER TABLE "uploads" ADD COLUMN "id" uuid NOT NULL DEFAULT gen_random_uuid();--> statement-breakpoint
ALTER TABLE "uploads" ALTER COLUMN "id" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "uploads" ADD COLUMN "size" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "uploads" ADD COLUMN "updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
UPDATE "uploads" SET "size" = length("bytes");--> statement-breakpoint
-- Waiting content becomes one part each: a part may have any size.
INSERT INTO "upload_parts" SELECT "owner_id", "id", 0, "bytes" FROM "uploads";--> statement-breakpoint
ALTER TABLE "uploads" DROP COLUMN "bytes";--> statement-breakpoint
ALTER TABLE "uploads" DROP CONSTRAINT "uploads_pkey";--> statement-breakpoint
ALTER TABLE "uploads" ALTER COLUMN "document_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "uploads" ADD CONSTRAINT "uploads_key" PRIMARY KEY("owner_id","id");--> statement-breakpoint
ALTER TABLE "uploads" ADD CONSTRAINT "uploads_document_id_unique" UNIQUE("document_id");--> statement-breakpoint
ALTER TABLE "upload_parts" ADD CONSTRAINT "upload_parts_upload" FOREIGN KEY ("owner_id","upload_id") REFERENCES "public"."uploads"("owner_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "uploads_unfinished" ON "uploads" USING btree ("updated_at") WHERE "uploads"."document_id" is null;
