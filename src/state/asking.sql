-- What was asked of APIs, and how often that may be: shared by all pipelines of the state file.
-- Moments are milliseconds since 1970.

-- The present window of each rate of each rate limit.
CREATE TABLE engine_limits (
    name          TEXT NOT NULL,
    -- of the window
    length        INTEGER NOT NULL,
    opened_at     INTEGER,
    ends_at       INTEGER,
    -- calls of ours that went out in it
    sent          INTEGER NOT NULL,
    -- what the server said: its limit, what is left, and when it said so
    allowed       INTEGER,
    remain        INTEGER,
    said_at       INTEGER,
    -- calls that others made with the same key, in this window and in the one before
    others        INTEGER NOT NULL,
    others_before INTEGER,
    is_silent     INTEGER NOT NULL,
    PRIMARY KEY (name, length)
) WITHOUT ROWID;

-- Calls on their way.
CREATE TABLE engine_calls (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    -- the pipeline whose run makes it
    owner         TEXT NOT NULL,
    -- look-up and key
    asked         TEXT NOT NULL,
    sent_at       INTEGER NOT NULL
);
CREATE INDEX engine_calls_by_key ON engine_calls (asked);

-- Servers that bar our address for a while.
CREATE TABLE engine_pauses (
    server        TEXT PRIMARY KEY,
    until         INTEGER NOT NULL,
    reason        TEXT NOT NULL
) WITHOUT ROWID;

-- What was spent of each budget in each of its times.
CREATE TABLE engine_budgets (
    name          TEXT NOT NULL,
    begins_at     INTEGER NOT NULL,
    spent         INTEGER NOT NULL,
    PRIMARY KEY (name, begins_at)
) WITHOUT ROWID;

-- The ledger: what was answered, also that there is nothing.
CREATE TABLE engine_answers (
    -- the look-up and those of its settings on which answers depend, as a hash
    lookup        TEXT NOT NULL,
    -- a JSON array of texts
    key           TEXT NOT NULL,
    asked_at      INTEGER NOT NULL,
    -- calls that it took
    calls         INTEGER NOT NULL,
    -- null, or in a word why there is nothing
    missing       TEXT,
    -- a JSON array of rows, each an array of texts and nulls
    rows          TEXT NOT NULL,
    PRIMARY KEY (lookup, key)
) WITHOUT ROWID;

-- How far the look-ups of a run are.
CREATE TABLE engine_asked (
    run_id        TEXT NOT NULL,
    node          TEXT NOT NULL,
    keys          INTEGER NOT NULL,
    known         INTEGER NOT NULL,
    answered      INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    rate_limit    TEXT NOT NULL,
    done_at       INTEGER NOT NULL,
    PRIMARY KEY (run_id, node)
) WITHOUT ROWID;
