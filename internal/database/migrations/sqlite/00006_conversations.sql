-- What people and models said to each other in the portal. title, preview and
-- content are encrypted; question and digest are keyed, so that nobody without the
-- key can try texts against them. Nothing here tells what was said.

-- +goose Up
CREATE TABLE conversations (
    uuid          TEXT PRIMARY KEY NOT NULL,
    owner         TEXT     NOT NULL, -- the hash that stands for the user
    title         BLOB     NOT NULL, -- empty: none yet
    preview       BLOB     NOT NULL, -- of the last message; empty: there is none
    provider      TEXT     NOT NULL,
    model         TEXT     NOT NULL,
    mode          TEXT     NOT NULL,
    specialist_id TEXT     NOT NULL,
    message_count INTEGER  NOT NULL,
    question      BLOB     NOT NULL, -- digest of the user's last message; empty: there is none
    asked_at      DATETIME,          -- when it came
    answered      BOOLEAN  NOT NULL, -- there is a message of the assistant's
    created_at    DATETIME NOT NULL,
    updated_at    DATETIME NOT NULL
);
CREATE INDEX conversations_owner ON conversations (owner, updated_at);
CREATE INDEX conversations_question ON conversations (owner, question) WHERE NOT answered;
CREATE INDEX conversations_updated_at ON conversations (updated_at);

CREATE TABLE conversation_messages (
    id                INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    conversation_uuid TEXT     NOT NULL REFERENCES conversations (uuid) ON DELETE CASCADE,
    role              TEXT     NOT NULL, -- user, assistant or system
    content           BLOB     NOT NULL,
    digest            BLOB     NOT NULL, -- of role and text, to know a message again
    origin            TEXT     NOT NULL, -- page, gateway, or cut: the gateway's, and not whole
    model             TEXT     NOT NULL,
    input_tokens      INTEGER  NOT NULL,
    output_tokens     INTEGER  NOT NULL,
    cost_picodollars  INTEGER  NOT NULL,
    created_at        DATETIME NOT NULL
);
CREATE INDEX conversation_messages_conversation ON conversation_messages (conversation_uuid, id);

-- +goose Down
DROP TABLE conversation_messages;
DROP TABLE conversations;
