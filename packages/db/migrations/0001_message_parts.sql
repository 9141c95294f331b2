CREATE TABLE "answer_pieces" (
	"owner_id" uuid NOT NULL,
	"conversation_id" text NOT NULL,
	"message_id" text NOT NULL,
	"start" integer NOT NULL,
	"length" integer NOT NULL,
	"parts" json NOT NULL,
	CONSTRAINT "answer_pieces_key" PRIMARY KEY("owner_id","conversation_id","message_id","start")
);
--> statement-breakpoint
CREATE TABLE "message_files" (
	"owner_id" uuid NOT NULL,
	"conversation_id" text NOT NULL,
	"message_id" text NOT NULL,
	"id" uuid NOT NULL,
	"number" integer NOT NULL,
	"piece" text NOT NULL,
	CONSTRAINT "message_files_key" PRIMARY KEY("owner_id","id","number")
);
--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "parts" json;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "scope" jsonb;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "model" text;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "cached_tokens" integer;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "feedback" integer;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "feedback_comment" text;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "feedback_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "answer_pieces" ADD CONSTRAINT "answer_pieces_message" FOREIGN KEY ("owner_id","conversation_id","message_id") REFERENCES "public"."messages"("owner_id","conversation_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_files" ADD CONSTRAINT "message_files_message" FOREIGN KEY ("owner_id","conversation_id","message_id") REFERENCES "public"."messages"("owner_id","conversation_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "message_files_by_message" ON "message_files" USING btree ("owner_id","conversation_id","message_id");--> statement-breakpoint
CREATE INDEX "messages_feedback" ON "messages" USING btree ("position") WHERE "messages"."feedback" is not null;--> statement-breakpoint
UPDATE "messages" SET "parts" = json_build_array(
  json_build_object('type', 'sources', 'count', jsonb_array_length("sources")),
  json_build_object('type', 'text', 'length', length("content") + regexp_count("content", '[\U00010000-\U0010FFFF]')))
WHERE "sources" <> '[]';
