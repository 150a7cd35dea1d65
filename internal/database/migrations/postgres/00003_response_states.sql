-- What the Responses API keeps of an answer for the call that continues it.
-- content is encrypted; nothing here tells what was said.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE response_states (
    id         text PRIMARY KEY,
    owner      text        NOT NULL, -- the hash that stands for the caller
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    size       bigint      NOT NULL, -- of what content holds, in bytes
    content    bytea       NOT NULL
);

-- It is encrypted, so PostgreSQL would try to compress it in vain.
ALTER TABLE response_states ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE INDEX response_states_expires_at ON response_states (expires_at);

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE response_states;
