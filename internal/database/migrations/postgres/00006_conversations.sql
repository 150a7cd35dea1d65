-- What people and models said to each other in the portal. title, preview and
-- content are encrypted; question and digest are keyed, so that nobody without the
-- key can try texts against them. Nothing here tells what was said.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE conversations (
    uuid          text PRIMARY KEY,
    owner         text        NOT NULL, -- the hash that stands for the user
    title         bytea       NOT NULL, -- empty: none yet
    preview       bytea       NOT NULL, -- of the last message; empty: there is none
    provider      text        NOT NULL,
    model         text        NOT NULL,
    mode          text        NOT NULL,
    specialist_id text        NOT NULL,
    message_count bigint      NOT NULL,
    question      bytea       NOT NULL, -- digest of the user's last message; empty: there is none
    asked_at      timestamptz,          -- when it came
    answered      boolean     NOT NULL, -- there is a message of the assistant's
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);
CREATE INDEX conversations_owner ON conversations (owner, updated_at);
CREATE INDEX conversations_question ON conversations (owner, question) WHERE NOT answered;
CREATE INDEX conversations_updated_at ON conversations (updated_at);

CREATE TABLE conversation_messages (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_uuid text        NOT NULL REFERENCES conversations (uuid) ON DELETE CASCADE,
    role              text        NOT NULL, -- user, assistant or system
    content           bytea       NOT NULL,
    digest            bytea       NOT NULL, -- of role and text, to know a message again
    origin            text        NOT NULL, -- page, gateway, or cut: the gateway's, and not whole
    model             text        NOT NULL,
    input_tokens      bigint      NOT NULL,
    output_tokens     bigint      NOT NULL,
    cost_picodollars  bigint      NOT NULL,
    created_at        timestamptz NOT NULL
);
CREATE INDEX conversation_messages_conversation ON conversation_messages (conversation_uuid, id);

-- They are encrypted, so PostgreSQL would try to compress them in vain.
ALTER TABLE conversations ALTER COLUMN title SET STORAGE EXTERNAL;
ALTER TABLE conversations ALTER COLUMN preview SET STORAGE EXTERNAL;
ALTER TABLE conversation_messages ALTER COLUMN content SET STORAGE EXTERNAL;

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE conversation_messages;
DROP TABLE conversations;
