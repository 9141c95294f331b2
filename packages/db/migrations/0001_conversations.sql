ALTER TABLE "messages" ADD COLUMN "feedback" integer;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "feedback_comment" text;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "feedback_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "messages_feedback" ON "messages" USING btree ("position") WHERE "messages"."feedback" is not null;