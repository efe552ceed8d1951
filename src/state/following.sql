-- What is known of streams beside their positions.

-- Events that a stream did not have any more.
CREATE TABLE engine_gaps (
    pipeline        TEXT NOT NULL,
    node            TEXT NOT NULL,
    -- the last event before it
    after_position  TEXT NOT NULL,
    -- the first event behind it; null as long as none came
    before_position TEXT,
    -- too_old (416), skipped (the server resumed further on)
    reason          TEXT NOT NULL,
    found_at        TEXT NOT NULL,
    -- the run that found it
    run_id          TEXT NOT NULL,
    -- when a run read what fills it, and which
    closed_at       TEXT,
    closed_by       TEXT,
    PRIMARY KEY (pipeline, node, after_position)
);

-- How the streams of `run --follow` were when somebody last looked.
CREATE TABLE engine_feeds (
    pipeline        TEXT NOT NULL,
    node            TEXT NOT NULL,
    is_connected    INTEGER NOT NULL,
    -- since when there is a connection, or none
    since           TEXT NOT NULL,
    last_event_at   TEXT,
    -- heartbeats included
    last_sign_at    TEXT,
    connections     INTEGER NOT NULL,
    -- since when it has been silent, while it should not be
    stalled_since   TEXT,
    looked_at       TEXT NOT NULL,
    PRIMARY KEY (pipeline, node)
);
