-- +goose Up
CREATE TABLE specialists (
    id             TEXT PRIMARY KEY NOT NULL,
    name           TEXT    NOT NULL UNIQUE,
    description    TEXT    NOT NULL,
    provider       TEXT    NOT NULL,
    model          TEXT    NOT NULL,
    base_url       TEXT    NOT NULL,
    system_prompt  TEXT    NOT NULL,
    temperature    REAL,             -- null: the provider's default
    max_tokens     INTEGER NOT NULL, -- 0: no cap
    pinned         INTEGER NOT NULL,
    input_per_1m   TEXT,             -- USD, a decimal; null: the price table's
    output_per_1m  TEXT,
    fallbacks      TEXT    NOT NULL, -- JSON arrays, as are the next two
    aliases        TEXT    NOT NULL,
    prompt_history TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    created_at     DATETIME NOT NULL,
    updated_at     DATETIME NOT NULL
);

-- What was put into a table once and must not come back after it was deleted.
CREATE TABLE seeds (
    name      TEXT PRIMARY KEY NOT NULL,
    seeded_at DATETIME NOT NULL
);

-- +goose Down
DROP TABLE seeds;
DROP TABLE specialists;
