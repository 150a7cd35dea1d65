-- How much text a conversation has, so that one that grew without end is not read
-- into memory. Those that are there begin at nothing.

-- +goose Up
ALTER TABLE conversations ADD COLUMN text_bytes INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE conversations DROP COLUMN text_bytes;
