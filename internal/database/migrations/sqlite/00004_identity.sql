-- Who may come in: users, log-ins with their refresh tokens, API tokens, what was
-- withdrawn, and the codes of log-ins under way. No table here holds an address:
-- users are named by their hash, and what a token needs of a person is encrypted.

-- +goose Up

CREATE TABLE portal_users (
    user_hash     TEXT PRIMARY KEY NOT NULL,
    provider      TEXT        NOT NULL, -- how they last signed in
    created_at    DATETIME NOT NULL,
    last_login_at DATETIME NOT NULL,
    blocked_at    DATETIME            -- null: may sign in
);

-- Who is blocked is asked every half second.
CREATE INDEX portal_users_blocked ON portal_users (user_hash) WHERE blocked_at IS NOT NULL;

-- A log-in and all refresh tokens that came of it (a family). A refresh token
-- names the generation it is of, and only the latest is good.
CREATE TABLE login_sessions (
    id             TEXT PRIMARY KEY NOT NULL,
    user_hash      TEXT        NOT NULL,
    provider       TEXT        NOT NULL,
    person         BLOB       NOT NULL, -- encrypted: address, name, roles
    generation     INTEGER      NOT NULL,
    rotated_at     DATETIME NOT NULL,
    created_at     DATETIME NOT NULL,
    expires_at     DATETIME NOT NULL, -- moves with use, up to a bound
    revoked_at     DATETIME,
    revoked_reason TEXT        NOT NULL
);
CREATE INDEX login_sessions_user_hash ON login_sessions (user_hash);
CREATE INDEX login_sessions_expires_at ON login_sessions (expires_at);

CREATE TABLE api_tokens (
    id           TEXT PRIMARY KEY NOT NULL,       -- the token's "jti"
    user_hash    TEXT        NOT NULL,
    name         TEXT        NOT NULL,
    specialists  TEXT        NOT NULL,   -- JSON array, or null for all
    rate         TEXT        NOT NULL,   -- its own request limit, "100/h"; empty: none
    created_at   DATETIME NOT NULL,
    expires_at   DATETIME NOT NULL,
    last_used_at DATETIME,
    revoked_at   DATETIME
);
CREATE INDEX api_tokens_user_hash ON api_tokens (user_hash);

-- What is no longer good although it has not expired.
CREATE TABLE revocations (
    kind           TEXT        NOT NULL, -- token, session or user
    value          TEXT        NOT NULL, -- "jti", session id or user hash
    issued_before  DATETIME NOT NULL, -- tokens issued later are good
    changed_at     DATETIME NOT NULL,
    expires_at     DATETIME NOT NULL, -- when nothing it concerns is good any more anyway
    reason         TEXT        NOT NULL,
    PRIMARY KEY (kind, value)
);
CREATE INDEX revocations_changed_at ON revocations (changed_at);
CREATE INDEX revocations_expires_at ON revocations (expires_at);

-- One-time codes by mail, and the OpenID Connect states that were used.
CREATE TABLE login_codes (
    id         TEXT PRIMARY KEY NOT NULL,         -- hash of what the link or state carries
    email_hash TEXT        NOT NULL,     -- empty for OpenID Connect
    code_hash  BLOB       NOT NULL,
    attempts   INTEGER      NOT NULL,
    created_at DATETIME NOT NULL,
    expires_at DATETIME NOT NULL,
    used_at    DATETIME
);
CREATE INDEX login_codes_email_hash ON login_codes (email_hash, created_at);
CREATE INDEX login_codes_expires_at ON login_codes (expires_at);

-- +goose Down
DROP TABLE login_codes;
DROP TABLE revocations;
DROP TABLE api_tokens;
DROP TABLE login_sessions;
DROP TABLE portal_users;
