-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE specialists (
    id             text PRIMARY KEY,
    name           text             NOT NULL UNIQUE,
    description    text             NOT NULL,
    provider       text             NOT NULL,
    model          text             NOT NULL,
    base_url       text             NOT NULL,
    system_prompt  text             NOT NULL,
    temperature    double precision,          -- null: the provider's default
    max_tokens     bigint           NOT NULL, -- 0: no cap
    pinned         boolean          NOT NULL,
    input_per_1m   numeric,                   -- USD; null: the price table's
    output_per_1m  numeric,
    fallbacks      text             NOT NULL, -- JSON arrays, as are the next two
    aliases        text             NOT NULL,
    prompt_history text             NOT NULL,
    version        integer          NOT NULL,
    created_at     timestamptz      NOT NULL,
    updated_at     timestamptz      NOT NULL
);

-- What was put into a table once and must not come back after it was deleted.
CREATE TABLE seeds (
    name      text PRIMARY KEY,
    seeded_at timestamptz NOT NULL
);

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE seeds;
DROP TABLE specialists;
