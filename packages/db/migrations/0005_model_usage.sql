CREATE TABLE "model_usage" (
	"owner_id" uuid NOT NULL,
	"day" date NOT NULL,
	"key_id" text NOT NULL,
	"kind" text NOT NULL,
	"model" text NOT NULL,
	"process_id" uuid NOT NULL,
	"requests" bigint NOT NULL,
	"input_tokens" bigint NOT NULL,
	"cached_tokens" bigint NOT NULL,
	"output_tokens" bigint NOT NULL,
	"reasoning_tokens" bigint NOT NULL,
	"tool_calls" bigint NOT NULL,
	"estimated" bigint NOT NULL,
	CONSTRAINT "model_usage_key" PRIMARY KEY("owner_id","day","key_id","kind","model","process_id")
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "tokens_per_day" bigint;--> statement-breakpoint
ALTER TABLE "model_usage" ADD CONSTRAINT "model_usage_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "model_usage_unmerged" ON "model_usage" USING btree ("day") WHERE process_id <> '00000000-0000-0000-0000-000000000000';