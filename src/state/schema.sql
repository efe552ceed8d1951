-- The state of the engine: what ran, what it published, and what is still to be published.
-- `user_version` 7, with positions.sql, asking.sql and following.sql. Moments are RFC 3339 in UTC.

CREATE TABLE engine_runs (
    run_id      TEXT PRIMARY KEY,
    pipeline    TEXT NOT NULL,
    file        TEXT NOT NULL,
    -- running, committed (outputs are still being published), done, failed, interrupted
    status      TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    ended_at    TEXT,
    vars        TEXT NOT NULL,
    -- of the file, its variables and what its sources read: equal for a repetition
    fingerprint TEXT NOT NULL,
    error       TEXT,
    -- the node whose rejected rows it runs again; null for all other runs
    replay      TEXT,
    -- the first batch of the `run --follow` that it is a batch of; null for all other runs
    follow      TEXT
);
CREATE INDEX engine_runs_by_status ON engine_runs (pipeline, status);

CREATE TABLE engine_node_runs (
    run_id      TEXT NOT NULL REFERENCES engine_runs (run_id),
    node        TEXT NOT NULL,
    family      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    rows_out    INTEGER NOT NULL,
    rejected    INTEGER NOT NULL,
    -- only tables know these
    new         INTEGER,
    changed     INTEGER,
    same        INTEGER,
    older       INTEGER,
    gone        INTEGER,
    seconds     REAL NOT NULL,
    started_at  TEXT NOT NULL,
    -- rejected rows by rule, as JSON
    reasons     TEXT NOT NULL,
    -- rows by the port to which they went, as JSON
    ports       TEXT NOT NULL DEFAULT '{}',
    -- hash of what defined the node; null for runs of versions that did not write it
    definition  TEXT,
    -- calls that a look-up made, and keys that it did not ask about
    calls       INTEGER,
    pending     INTEGER,
    PRIMARY KEY (run_id, node)
);

-- Folders in which a run stages, written down before they are made.
CREATE TABLE engine_staging (
    run_id      TEXT NOT NULL REFERENCES engine_runs (run_id),
    folder      TEXT NOT NULL,
    PRIMARY KEY (run_id, folder)
);

-- What a committed run makes visible; `publish` is a JSON `publish::Publish`.
CREATE TABLE engine_outputs (
    run_id      TEXT NOT NULL REFERENCES engine_runs (run_id),
    node        TEXT NOT NULL,
    publish     TEXT NOT NULL,
    published   INTEGER NOT NULL,
    PRIMARY KEY (run_id, node)
);

-- Every file that a run published.
CREATE TABLE engine_files (
    run_id      TEXT NOT NULL REFERENCES engine_runs (run_id),
    node        TEXT NOT NULL,
    path        TEXT NOT NULL,
    row_count   INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    PRIMARY KEY (run_id, path)
);
