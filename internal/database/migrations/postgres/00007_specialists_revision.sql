-- Tells replicas that a specialist was added, changed or deleted, and lets those
-- who do so take turns: each raises the one number first, in its transaction.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE specialists_revision (
    id       integer PRIMARY KEY CHECK (id = 1),
    revision bigint NOT NULL
);
INSERT INTO specialists_revision (id, revision) VALUES (1, 1);

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE specialists_revision;
