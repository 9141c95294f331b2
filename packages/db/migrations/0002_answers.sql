DROP INDEX "messages_running";--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "error" text;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "stop_requested" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX "messages_stop_requested" ON "messages" USING btree ("id") WHERE "messages"."status" = 'streaming' and "messages"."stop_requested";