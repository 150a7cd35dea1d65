-- One row per upstream attempt. Timestamps are RFC 3339 in UTC with six digits
-- of a second, so that they sort as text. Money is a whole number of
-- picodollars (10^-12 USD); estimated_cost_usd is for reading only.

-- +goose Up
CREATE TABLE usage_logs (
    id                    TEXT    NOT NULL PRIMARY KEY,
    "timestamp"           TEXT    NOT NULL,
    request_id            TEXT    NOT NULL,
    user_hash             TEXT    NOT NULL,
    user_email_hash       TEXT    NOT NULL,
    token_id              TEXT,
    specialist_id         TEXT    NOT NULL,
    specialist_name       TEXT    NOT NULL,
    provider              TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    response_model        TEXT    NOT NULL,
    dialect               TEXT    NOT NULL,
    stream                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cached_tokens         INTEGER NOT NULL,
    cache_write_tokens    INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    reasoning_tokens      INTEGER NOT NULL,
    audio_input_tokens    INTEGER NOT NULL,
    audio_output_tokens   INTEGER NOT NULL,
    image_input_tokens    INTEGER NOT NULL,
    image_output_tokens   INTEGER NOT NULL,
    usage_source          TEXT    NOT NULL CHECK (usage_source IN ('provider', 'estimated', 'mixed')),
    cost_picodollars      INTEGER NOT NULL,
    estimated_cost_usd    REAL GENERATED ALWAYS AS (cost_picodollars / 1e12) VIRTUAL,
    priced                INTEGER NOT NULL,
    price_version         TEXT    NOT NULL,
    reported_cost_usd     TEXT,
    latency_ms            INTEGER NOT NULL,
    ttft_ms               INTEGER,
    attempt               INTEGER NOT NULL,
    upstream_status       INTEGER NOT NULL,
    status                INTEGER NOT NULL,
    success               INTEGER NOT NULL,
    finish_reason         TEXT    NOT NULL,
    error_cause           TEXT    NOT NULL,
    run_id                TEXT,
    step                  TEXT
) STRICT;

CREATE INDEX usage_logs_timestamp ON usage_logs ("timestamp", id);
CREATE INDEX usage_logs_user_hash ON usage_logs (user_hash, "timestamp", id);
CREATE INDEX usage_logs_user_email_hash ON usage_logs (user_email_hash);
CREATE INDEX usage_logs_specialist_id ON usage_logs (specialist_id, "timestamp");
CREATE INDEX usage_logs_model ON usage_logs (model, "timestamp");

-- Records that usage_logs does not take, kept as they were with the reason.
CREATE TABLE usage_rejected (
    id          TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(16)))),
    "timestamp" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    error       TEXT NOT NULL,
    record      TEXT NOT NULL
) STRICT;

-- +goose Down
DROP TABLE usage_rejected;
DROP TABLE usage_logs;
