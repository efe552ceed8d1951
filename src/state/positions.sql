-- How far streams and sources with `changed_since` have read: in the transaction of the run that read it.
CREATE TABLE engine_positions (
    pipeline    TEXT NOT NULL,
    node        TEXT NOT NULL,
    position    TEXT NOT NULL,
    -- the run that came so far; null when it was set by hand
    run_id      TEXT,
    PRIMARY KEY (pipeline, node)
);
