-- Who changed what: every write of an admin, with what was before and after.

-- +goose Up

CREATE TABLE audit_log (
    id          TEXT PRIMARY KEY NOT NULL,         -- UUIDv7, so it sorts by time
    "timestamp" DATETIME NOT NULL,
    actor_hash  TEXT        NOT NULL,     -- who
    action      TEXT        NOT NULL,     -- "specialist.update", "user.block", …
    object      TEXT        NOT NULL,     -- the id of what was changed
    before      TEXT        NOT NULL,     -- JSON; empty when it did not exist
    after       TEXT        NOT NULL,     -- JSON; empty when it no longer does
    request_id  TEXT        NOT NULL
);
CREATE INDEX audit_log_object ON audit_log (object, id);

-- +goose Down
DROP TABLE audit_log;
