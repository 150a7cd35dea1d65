-- Who changed what: every write of an admin, with what was before and after.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE audit_log (
    id          text PRIMARY KEY,         -- UUIDv7, so it sorts by time
    "timestamp" timestamptz NOT NULL,
    actor_hash  text        NOT NULL,     -- who
    action      text        NOT NULL,     -- "specialist.update", "user.block", …
    object      text        NOT NULL,     -- the id of what was changed
    before      text        NOT NULL,     -- JSON; empty when it did not exist
    after       text        NOT NULL,     -- JSON; empty when it no longer does
    request_id  text        NOT NULL
);
CREATE INDEX audit_log_object ON audit_log (object, id);

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE audit_log;
