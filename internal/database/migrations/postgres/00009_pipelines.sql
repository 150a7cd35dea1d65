-- Pipelines that admins keep, and runs: what was asked, how it went, and the
-- events that their sockets show. Texts of runs (plan, query, output, events) are
-- encrypted; no column here tells what was said.

-- +goose Up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';

CREATE TABLE pipelines (
    name        text PRIMARY KEY,
    version     bigint      NOT NULL, -- counts the changes, from 1
    definition  text        NOT NULL, -- JSON
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- Each version as it was, also of pipelines that are gone.
CREATE TABLE pipeline_versions (
    name        text        NOT NULL,
    version     bigint      NOT NULL,
    definition  text        NOT NULL, -- JSON; empty: the pipeline was deleted
    actor_hash  text        NOT NULL, -- who
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);

-- Tells replicas that something changed, and lets writers take turns, as
-- specialists_revision does.
CREATE TABLE pipelines_revision (
    id       integer PRIMARY KEY CHECK (id = 1),
    revision bigint NOT NULL
);
INSERT INTO pipelines_revision (id, revision) VALUES (1, 1);

CREATE TABLE pipeline_runs (
    id                    text PRIMARY KEY, -- UUIDv7, so it sorts by time
    user_hash             text        NOT NULL, -- who may see it
    user_email_hash       text        NOT NULL,
    pipeline_name         text        NOT NULL,
    plan                  bytea       NOT NULL, -- the definition that it runs by
    query                 bytea       NOT NULL,
    status                text        NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
    error_code            text        NOT NULL, -- why it failed, in a word; empty: it has not
    error_message         text        NOT NULL,
    output                bytea       NOT NULL, -- empty: there is none
    input_tokens          bigint      NOT NULL,
    output_tokens         bigint      NOT NULL,
    total_tokens          bigint      NOT NULL,
    total_cost_picodollars numeric(30, 0) NOT NULL,
    total_cost_usd        numeric(30, 12) GENERATED ALWAYS AS (total_cost_picodollars * 0.000000000001) STORED,
    duration_ms           bigint      NOT NULL,
    metadata_json         text        NOT NULL, -- {"breakdown":[…],"steps":[…]}
    attempt               bigint      NOT NULL, -- 1, and one more for each resumption
    idempotency_key       bytea,                -- digest; null: none was sent
    request_digest        bytea       NOT NULL,
    lease_owner           text        NOT NULL, -- the replica that runs it
    lease_until           timestamptz NOT NULL, -- after which it counts as dead
    cancel_requested      boolean     NOT NULL,
    resum_at              timestamptz,          -- when totals are next compared with the usage log; null: they are final
    created_at            timestamptz NOT NULL,
    started_at            timestamptz NOT NULL, -- its attempt
    ended_at              timestamptz,
    UNIQUE (user_hash, idempotency_key)
);
CREATE INDEX pipeline_runs_user ON pipeline_runs (user_hash, id DESC);
CREATE INDEX pipeline_runs_running ON pipeline_runs (lease_until) WHERE status = 'running';
CREATE INDEX pipeline_runs_resum ON pipeline_runs (resum_at) WHERE resum_at IS NOT NULL;
CREATE INDEX pipeline_runs_ended_at ON pipeline_runs (ended_at);

-- Steps that have ended, so that a run can be resumed.
CREATE TABLE pipeline_steps (
    run_id text  NOT NULL REFERENCES pipeline_runs (id) ON DELETE CASCADE,
    step   text  NOT NULL,
    result bytea NOT NULL,
    PRIMARY KEY (run_id, step)
);

-- Events in their order, several to a row.
CREATE TABLE pipeline_events (
    run_id    text   NOT NULL REFERENCES pipeline_runs (id) ON DELETE CASCADE,
    first_seq bigint NOT NULL, -- from 1
    last_seq  bigint NOT NULL,
    events    bytea  NOT NULL,
    PRIMARY KEY (run_id, first_seq)
);

-- They are encrypted, so PostgreSQL would try to compress them in vain.
ALTER TABLE pipeline_runs ALTER COLUMN plan SET STORAGE EXTERNAL;
ALTER TABLE pipeline_runs ALTER COLUMN query SET STORAGE EXTERNAL;
ALTER TABLE pipeline_runs ALTER COLUMN output SET STORAGE EXTERNAL;
ALTER TABLE pipeline_steps ALTER COLUMN result SET STORAGE EXTERNAL;
ALTER TABLE pipeline_events ALTER COLUMN events SET STORAGE EXTERNAL;

CREATE INDEX usage_logs_run_id ON usage_logs (run_id) WHERE run_id IS NOT NULL;

-- +goose Down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '5min';
DROP INDEX usage_logs_run_id;
DROP TABLE pipeline_events;
DROP TABLE pipeline_steps;
DROP TABLE pipeline_runs;
DROP TABLE pipelines_revision;
DROP TABLE pipeline_versions;
DROP TABLE pipelines;
