-- Requires a superuser, or a role that the provider allows it. Does nothing where the extension exists.
CREATE EXTENSION IF NOT EXISTS vector;--> statement-breakpoint
CREATE TABLE "api_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"owner_id" uuid NOT NULL,
	"secret_hash" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"last_used_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "chunks" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"owner_id" uuid NOT NULL,
	"document_id" uuid NOT NULL,
	"heading" text NOT NULL,
	"content" text NOT NULL,
	"start" integer NOT NULL,
	"end" integer NOT NULL,
	"page" integer,
	"embedding_model" text NOT NULL,
	"embedding" halfvec NOT NULL,
	"language" text DEFAULT 'english' NOT NULL,
	"search" "tsvector" GENERATED ALWAYS AS (to_tsvector(case "chunks"."language" when 'danish' then 'danish'::regconfig when 'dutch' then 'dutch'::regconfig when 'english' then 'english'::regconfig when 'finnish' then 'finnish'::regconfig when 'french' then 'french'::regconfig when 'german' then 'german'::regconfig when 'hungarian' then 'hungarian'::regconfig when 'italian' then 'italian'::regconfig when 'norwegian' then 'norwegian'::regconfig when 'portuguese' then 'portuguese'::regconfig when 'russian' then 'russian'::regconfig when 'spanish' then 'spanish'::regconfig when 'swedish' then 'swedish'::regconfig when 'turkish' then 'turkish'::regconfig when 'simple' then 'simple'::regconfig end, "chunks"."heading" || ' ' || "chunks"."content")) STORED NOT NULL
);
--> statement-breakpoint
CREATE TABLE "conversations" (
	"owner_id" uuid NOT NULL,
	"id" text NOT NULL,
	"title" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "conversations_key" PRIMARY KEY("owner_id","id")
);
--> statement-breakpoint
CREATE TABLE "documents" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"owner_id" uuid NOT NULL,
	"external_id" text,
	"title" text NOT NULL,
	"text" text NOT NULL,
	"pages" jsonb,
	"content_hash" text NOT NULL,
	"key" text GENERATED ALWAYS AS (coalesce("documents"."external_id", "documents"."content_hash")) STORED,
	"status" text NOT NULL,
	"progress" real DEFAULT 0 NOT NULL,
	"error" text,
	"version" uuid DEFAULT gen_random_uuid() NOT NULL,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "messages" (
	"owner_id" uuid NOT NULL,
	"conversation_id" text NOT NULL,
	"id" text NOT NULL,
	"position" bigint GENERATED ALWAYS AS IDENTITY (sequence name "messages_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"role" text NOT NULL,
	"content" text NOT NULL,
	"status" text NOT NULL,
	"sources" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"finish_reason" text,
	"input_tokens" integer,
	"output_tokens" integer,
	"error" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"heartbeat_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"stop_requested" boolean DEFAULT false NOT NULL,
	CONSTRAINT "messages_key" PRIMARY KEY("owner_id","conversation_id","id")
);
--> statement-breakpoint
CREATE TABLE "owners" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "owners_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "upload_parts" (
	"owner_id" uuid NOT NULL,
	"upload_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"bytes" "bytea" NOT NULL,
	CONSTRAINT "upload_parts_key" PRIMARY KEY("owner_id","upload_id","number")
);
--> statement-breakpoint
CREATE TABLE "uploads" (
	"owner_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"document_id" uuid,
	"title" text NOT NULL,
	"media_type" text NOT NULL,
	"size" integer DEFAULT 0 NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "uploads_key" PRIMARY KEY("owner_id","id"),
	CONSTRAINT "uploads_document_id_unique" UNIQUE("document_id")
);
--> statement-breakpoint
CREATE TABLE "usage" (
	"owner_id" uuid NOT NULL,
	"process_id" uuid NOT NULL,
	"minute" timestamp (3) with time zone NOT NULL,
	"requests" integer NOT NULL,
	"streams" integer NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_key" PRIMARY KEY("owner_id","process_id")
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "chunks" ADD CONSTRAINT "chunks_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "chunks" ADD CONSTRAINT "chunks_document_id_documents_id_fk" FOREIGN KEY ("document_id") REFERENCES "public"."documents"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "conversations" ADD CONSTRAINT "conversations_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "documents" ADD CONSTRAINT "documents_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_conversation" FOREIGN KEY ("owner_id","conversation_id") REFERENCES "public"."conversations"("owner_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "upload_parts" ADD CONSTRAINT "upload_parts_upload" FOREIGN KEY ("owner_id","upload_id") REFERENCES "public"."uploads"("owner_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "uploads" ADD CONSTRAINT "uploads_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "uploads" ADD CONSTRAINT "uploads_document_id_documents_id_fk" FOREIGN KEY ("document_id") REFERENCES "public"."documents"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "usage" ADD CONSTRAINT "usage_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "chunks_document_model" ON "chunks" USING btree ("document_id","embedding_model");--> statement-breakpoint
CREATE INDEX "chunks_owner" ON "chunks" USING btree ("owner_id","language");--> statement-breakpoint
CREATE INDEX "chunks_search" ON "chunks" USING gin ("search");--> statement-breakpoint
CREATE INDEX "conversations_newest" ON "conversations" USING btree ("owner_id","updated_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "documents_key" ON "documents" USING btree ("owner_id","key");--> statement-breakpoint
CREATE INDEX "documents_newest" ON "documents" USING btree ("owner_id","created_at","id");--> statement-breakpoint
CREATE INDEX "messages_in_order" ON "messages" USING btree ("owner_id","conversation_id","position");--> statement-breakpoint
CREATE UNIQUE INDEX "messages_one_running_answer" ON "messages" USING btree ("owner_id","conversation_id") WHERE "messages"."status" = 'streaming';--> statement-breakpoint
CREATE INDEX "messages_stop_requested" ON "messages" USING btree ("id") WHERE "messages"."status" = 'streaming' and "messages"."stop_requested";--> statement-breakpoint
CREATE INDEX "uploads_unfinished" ON "uploads" USING btree ("updated_at") WHERE "uploads"."document_id" is null;--> statement-breakpoint
-- Most vectors stay in the row, where a search reads them without a second lookup.
ALTER TABLE "chunks" SET (toast_tuple_target = 4080);--> statement-breakpoint
-- Uploaded files are mostly compressed already.
ALTER TABLE "upload_parts" ALTER COLUMN "bytes" SET STORAGE EXTERNAL;
