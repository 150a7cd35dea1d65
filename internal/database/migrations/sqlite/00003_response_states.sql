-- What the Responses API keeps of an answer for the call that continues it.
-- content is encrypted; nothing here tells what was said.

-- +goose Up
CREATE TABLE response_states (
    id         TEXT PRIMARY KEY NOT NULL,
    owner      TEXT     NOT NULL, -- the hash that stands for the caller
    created_at DATETIME NOT NULL,
    expires_at DATETIME NOT NULL,
    size       INTEGER  NOT NULL, -- of what content holds, in bytes
    content    BLOB     NOT NULL
);

CREATE INDEX response_states_expires_at ON response_states (expires_at);

-- +goose Down
DROP TABLE response_states;
