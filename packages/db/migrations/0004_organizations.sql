ALTER TABLE "api_keys" ADD COLUMN "is_librarian" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "owners" ADD COLUMN "organization_id" uuid;--> statement-breakpoint
ALTER TABLE "owners" ADD CONSTRAINT "owners_organization_id_owners_id_fk" FOREIGN KEY ("organization_id") REFERENCES "public"."owners"("id") ON DELETE set null ON UPDATE no action;