-- Who may come in: users, log-ins with their refresh tokens, API tokens, what was
-- withdrawn, and the codes of log-ins under way. No table here holds an address:
-- users are named by their hash, and what a token needs of a person is encrypted.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE portal_users (
    user_hash     text PRIMARY KEY,
    provider      text        NOT NULL, -- how they last signed in
    created_at    timestamptz NOT NULL,
    last_login_at timestamptz NOT NULL,
    blocked_at    timestamptz            -- null: may sign in
);

-- Who is blocked is asked every half second.
CREATE INDEX portal_users_blocked ON portal_users (user_hash) WHERE blocked_at IS NOT NULL;

-- A log-in and all refresh tokens that came of it (a family). A refresh token
-- names the generation it is of, and only the latest is good.
CREATE TABLE login_sessions (
    id             text PRIMARY KEY,
    user_hash      text        NOT NULL,
    provider       text        NOT NULL,
    person         bytea       NOT NULL, -- encrypted: address, name, roles
    generation     bigint      NOT NULL,
    rotated_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL, -- moves with use, up to a bound
    revoked_at     timestamptz,
    revoked_reason text        NOT NULL
);
CREATE INDEX login_sessions_user_hash ON login_sessions (user_hash);
CREATE INDEX login_sessions_expires_at ON login_sessions (expires_at);

CREATE TABLE api_tokens (
    id           text PRIMARY KEY,       -- the token's "jti"
    user_hash    text        NOT NULL,
    name         text        NOT NULL,
    specialists  text        NOT NULL,   -- JSON array, or null for all
    rate         text        NOT NULL,   -- its own request limit, "100/h"; empty: none
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_tokens_user_hash ON api_tokens (user_hash);

-- What is no longer good although it has not expired.
CREATE TABLE revocations (
    kind           text        NOT NULL, -- token, session or user
    value          text        NOT NULL, -- "jti", session id or user hash
    issued_before  timestamptz NOT NULL, -- tokens issued later are good
    changed_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL, -- when nothing it concerns is good any more anyway
    reason         text        NOT NULL,
    PRIMARY KEY (kind, value)
);
CREATE INDEX revocations_changed_at ON revocations (changed_at);
CREATE INDEX revocations_expires_at ON revocations (expires_at);

-- One-time codes by mail, and the OpenID Connect states that were used.
CREATE TABLE login_codes (
    id         text PRIMARY KEY,         -- hash of what the link or state carries
    email_hash text        NOT NULL,     -- empty for OpenID Connect
    code_hash  bytea       NOT NULL,
    attempts   bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX login_codes_email_hash ON login_codes (email_hash, created_at);
CREATE INDEX login_codes_expires_at ON login_codes (expires_at);

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE login_codes;
DROP TABLE revocations;
DROP TABLE api_tokens;
DROP TABLE login_sessions;
DROP TABLE portal_users;
