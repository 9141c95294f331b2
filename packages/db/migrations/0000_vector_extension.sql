-- Needs a superuser or a role that the provider allows it; does nothing where the extension is there already.
CREATE EXTENSION IF NOT EXISTS vector;
