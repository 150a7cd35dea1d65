-- One row per upstream attempt. The table is partitioned by month, so that old
-- months can be detached and dropped; months are made ahead of time by the
-- gateway, and rows of any other month go to the default partition.
-- Money is a whole number of picodollars (10^-12 USD).

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE usage_logs (
    id                    uuid        NOT NULL,
    "timestamp"           timestamptz NOT NULL,
    request_id            text        NOT NULL,
    user_hash             text        NOT NULL,
    user_email_hash       text        NOT NULL,
    token_id              text,
    specialist_id         text        NOT NULL,
    specialist_name       text        NOT NULL,
    provider              text        NOT NULL,
    model                 text        NOT NULL,
    response_model        text        NOT NULL,
    dialect               text        NOT NULL,
    stream                boolean     NOT NULL,
    input_tokens          bigint      NOT NULL,
    output_tokens         bigint      NOT NULL,
    cached_tokens         bigint      NOT NULL,
    cache_write_tokens    bigint      NOT NULL,
    cache_write_1h_tokens bigint      NOT NULL,
    reasoning_tokens      bigint      NOT NULL,
    audio_input_tokens    bigint      NOT NULL,
    audio_output_tokens   bigint      NOT NULL,
    image_input_tokens    bigint      NOT NULL,
    image_output_tokens   bigint      NOT NULL,
    usage_source          text        NOT NULL CHECK (usage_source IN ('provider', 'estimated', 'mixed')),
    cost_picodollars      numeric(30, 0) NOT NULL,
    -- A multiplication is exact where a division would round.
    estimated_cost_usd    numeric(30, 12) GENERATED ALWAYS AS (cost_picodollars * 0.000000000001) STORED,
    priced                boolean     NOT NULL,
    price_version         text        NOT NULL,
    reported_cost_usd     numeric(30, 12),
    latency_ms            bigint      NOT NULL,
    ttft_ms               bigint,
    attempt               integer     NOT NULL,
    upstream_status       integer     NOT NULL,
    status                integer     NOT NULL,
    success               boolean     NOT NULL,
    finish_reason         text        NOT NULL,
    error_cause           text        NOT NULL,
    run_id                text,
    step                  text,
    PRIMARY KEY ("timestamp", id)
) PARTITION BY RANGE ("timestamp");

CREATE TABLE usage_logs_default PARTITION OF usage_logs DEFAULT;

CREATE INDEX usage_logs_user_hash ON usage_logs (user_hash, "timestamp" DESC, id DESC);
CREATE INDEX usage_logs_user_email_hash ON usage_logs (user_email_hash);
CREATE INDEX usage_logs_specialist_id ON usage_logs (specialist_id, "timestamp");
CREATE INDEX usage_logs_model ON usage_logs (model, "timestamp");

-- Records that usage_logs does not take, kept as they were with the reason.
CREATE TABLE usage_rejected (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    error       text        NOT NULL,
    record      text        NOT NULL
);

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP TABLE usage_rejected;
DROP TABLE usage_logs;
