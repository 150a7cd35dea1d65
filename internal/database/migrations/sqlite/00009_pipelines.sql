-- Pipelines that admins keep, and runs: what was asked, how it went, and the
-- events that their sockets show. Texts of runs (plan, query, output, events) are
-- encrypted; no column here tells what was said.

-- +goose Up
CREATE TABLE pipelines (
    name        TEXT PRIMARY KEY NOT NULL,
    version     INTEGER  NOT NULL, -- counts the changes, from 1
    definition  TEXT     NOT NULL, -- JSON
    created_at  DATETIME NOT NULL,
    updated_at  DATETIME NOT NULL
);

-- Each version as it was, also of pipelines that are gone.
CREATE TABLE pipeline_versions (
    name        TEXT     NOT NULL,
    version     INTEGER  NOT NULL,
    definition  TEXT     NOT NULL, -- JSON; empty: the pipeline was deleted
    actor_hash  TEXT     NOT NULL, -- who
    created_at  DATETIME NOT NULL,
    PRIMARY KEY (name, version)
);

-- Tells replicas that something changed, and lets writers take turns, as
-- specialists_revision does.
CREATE TABLE pipelines_revision (
    id       INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    revision INTEGER NOT NULL
);
INSERT INTO pipelines_revision (id, revision) VALUES (1, 1);

CREATE TABLE pipeline_runs (
    id                    TEXT PRIMARY KEY NOT NULL, -- UUIDv7, so it sorts by time
    user_hash             TEXT     NOT NULL, -- who may see it
    user_email_hash       TEXT     NOT NULL,
    pipeline_name         TEXT     NOT NULL,
    plan                  BLOB     NOT NULL, -- the definition that it runs by
    query                 BLOB     NOT NULL,
    status                TEXT     NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
    error_code            TEXT     NOT NULL, -- why it failed, in a word; empty: it has not
    error_message         TEXT     NOT NULL,
    output                BLOB     NOT NULL, -- empty: there is none
    input_tokens          INTEGER  NOT NULL,
    output_tokens         INTEGER  NOT NULL,
    total_tokens          INTEGER  NOT NULL,
    total_cost_picodollars INTEGER NOT NULL,
    total_cost_usd        REAL GENERATED ALWAYS AS (total_cost_picodollars / 1e12) VIRTUAL, -- to look at; the sums are in picodollars
    duration_ms           INTEGER  NOT NULL,
    metadata_json         TEXT     NOT NULL, -- {"breakdown":[…],"steps":[…]}
    attempt               INTEGER  NOT NULL, -- 1, and one more for each resumption
    idempotency_key       BLOB,              -- digest; null: none was sent
    request_digest        BLOB     NOT NULL,
    lease_owner           TEXT     NOT NULL, -- the replica that runs it
    lease_until           DATETIME NOT NULL, -- after which it counts as dead
    cancel_requested      INTEGER  NOT NULL,
    resum_at              DATETIME,             -- when totals are next compared with the usage log; null: they are final
    created_at            DATETIME NOT NULL,
    started_at            DATETIME NOT NULL, -- its attempt
    ended_at              DATETIME,
    UNIQUE (user_hash, idempotency_key)
);
CREATE INDEX pipeline_runs_user ON pipeline_runs (user_hash, id DESC);
CREATE INDEX pipeline_runs_running ON pipeline_runs (lease_until) WHERE status = 'running';
CREATE INDEX pipeline_runs_resum ON pipeline_runs (resum_at) WHERE resum_at IS NOT NULL;
CREATE INDEX pipeline_runs_ended_at ON pipeline_runs (ended_at);

-- Steps that have ended, so that a run can be resumed.
CREATE TABLE pipeline_steps (
    run_id TEXT NOT NULL REFERENCES pipeline_runs (id) ON DELETE CASCADE,
    step   TEXT NOT NULL,
    result BLOB NOT NULL,
    PRIMARY KEY (run_id, step)
);

-- Events in their order, several to a row.
CREATE TABLE pipeline_events (
    run_id    TEXT    NOT NULL REFERENCES pipeline_runs (id) ON DELETE CASCADE,
    first_seq INTEGER NOT NULL, -- from 1
    last_seq  INTEGER NOT NULL,
    events    BLOB    NOT NULL,
    PRIMARY KEY (run_id, first_seq)
);

CREATE INDEX usage_logs_run_id ON usage_logs (run_id) WHERE run_id IS NOT NULL;

-- +goose Down
DROP INDEX usage_logs_run_id;
DROP TABLE pipeline_events;
DROP TABLE pipeline_steps;
DROP TABLE pipeline_runs;
DROP TABLE pipelines_revision;
DROP TABLE pipeline_versions;
DROP TABLE pipelines;
