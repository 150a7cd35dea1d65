-- How much text a conversation has, so that one that grew without end is not read
-- into memory. Those that are there begin at nothing.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

ALTER TABLE conversations ADD COLUMN text_bytes bigint NOT NULL DEFAULT 0;

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
ALTER TABLE conversations DROP COLUMN text_bytes;
