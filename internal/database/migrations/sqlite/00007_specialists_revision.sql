-- Tells replicas that a specialist was added, changed or deleted, and lets those
-- who do so take turns: each raises the one number first, in its transaction.

-- +goose Up

CREATE TABLE specialists_revision (
    id       INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    revision INTEGER NOT NULL
);
INSERT INTO specialists_revision (id, revision) VALUES (1, 1);

-- +goose Down
DROP TABLE specialists_revision;
