//! Merges of made-up rows, one snapshot after the other.

use std::path::Path;

use super::*;
use crate::error::Error;

struct Bench {
    folder: tempfile::TempDir,
    merge: TableMerge,
    n_runs: u32,
}

type Row<'a> = (&'a str, i64, &'a str);

impl Bench {
    fn new(write: TableWrite, missing: Missing) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let column = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        let merge = TableMerge {
            staged: folder.path().join("staged"),
            database: folder.path().join("leads.db"),
            table: "leads".into(),
            columns: vec![
                column("id", "TEXT"),
                column("score", "INTEGER"),
                column("as_of", "TEXT"),
            ],
            write,
            key: vec!["id".into()],
            newer_by: Some("as_of".into()),
            within: Vec::new(),
            missing,
            changed_at: None,
            owner: "p/leads".into(),
            run_id: String::new(),
            at: "2026-11-02T09:00:00Z".into(),
        };
        Ok(Self { folder, merge, n_runs: 0 })
    }

    fn run(&mut self, rows: &[Row<'_>]) -> Result<Merged> {
        self.n_runs += 1;
        self.merge.run_id = format!("run{}", self.n_runs);
        self.merge.staged = self.folder.path().join(&self.merge.run_id);
        let staged = Connection::open(&self.merge.staged)?;
        staged.execute_batch("CREATE TABLE staged (id TEXT, score INTEGER, as_of TEXT)")?;
        for row in rows {
            staged
                .execute("INSERT INTO staged VALUES (?1, ?2, ?3)", params![row.0, row.1, row.2])?;
        }
        self.again()
    }

    fn again(&self) -> Result<Merged> {
        self.merge.merge_alone(&mut Connection::open(&self.merge.database)?)
    }

    fn table(&self, sql: &str) -> Result<Vec<String>> {
        let connection = Connection::open(&self.merge.database)?;
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

const ALL: &str = "SELECT id || ' ' || score || ' ' || as_of FROM leads ORDER BY id";

fn merged(new: u64, changed: u64, same: u64, older: u64, gone: u64) -> Merged {
    Merged { new, changed, same, older, gone }
}

#[test]
fn the_same_rows_twice_change_nothing() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::MarkGone)?;
    let rows = [("a", 1, "2026-01-01"), ("b", 2, "2026-01-01")];
    assert_eq!(bench.run(&rows)?, merged(2, 0, 0, 0, 0));
    assert_eq!(bench.run(&rows)?, merged(0, 0, 2, 0, 0));
    Ok(())
}

#[test]
fn a_repeated_publication_is_recognised() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Append, Missing::Keep)?;
    let first = bench.run(&[("a", 1, "2026-01-01")])?;
    assert_eq!(bench.again()?, first);
    assert_eq!(bench.table(ALL)?.len(), 1);
    Ok(())
}

#[test]
fn an_older_row_never_wins_and_an_equal_one_does() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::Keep)?;
    bench.run(&[("a", 1, "2026-02-01"), ("b", 1, "2026-02-01"), ("c", 1, "2026-02-01")])?;
    let counts =
        bench.run(&[("a", 9, "2026-01-01"), ("b", 9, "2026-02-01"), ("c", 1, "2026-03-01")])?;
    assert_eq!(counts, merged(0, 1, 1, 1, 0));
    assert_eq!(bench.table(ALL)?, ["a 1 2026-02-01", "b 9 2026-02-01", "c 1 2026-03-01"]);
    Ok(())
}

#[test]
fn what_arrives_no_more_is_marked_and_comes_back_as_new() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::MarkGone)?;
    bench.run(&[("a", 1, "2026-01-01"), ("b", 1, "2026-01-01")])?;
    assert_eq!(bench.run(&[("a", 1, "2026-02-01")])?, merged(0, 0, 1, 0, 1));
    let gone = "SELECT id || ' ' || gone_at FROM leads WHERE gone_at IS NOT NULL";
    assert_eq!(bench.table(gone)?, ["b 2026-11-02T09:00:00Z"]);
    let back = bench.run(&[("a", 1, "2026-03-01"), ("b", 1, "2026-03-01")])?;
    assert_eq!(back, merged(1, 0, 1, 0, 0));
    assert!(bench.table(gone)?.is_empty());
    Ok(())
}

#[test]
fn what_is_gone_is_not_brought_back_by_an_older_input() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::MarkGone)?;
    let january = [("a", 1, "2026-01-01"), ("b", 1, "2026-01-01")];
    bench.run(&january)?;
    bench.run(&[("a", 1, "2026-02-01")])?;
    assert_eq!(bench.run(&january)?, merged(0, 0, 0, 2, 0));
    assert_eq!(bench.table("SELECT id FROM leads WHERE gone_at IS NOT NULL")?, ["b"]);
    Ok(())
}

#[test]
fn an_older_whole_adds_nothing() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::MarkGone)?;
    bench.run(&[("a", 1, "2026-02-01")])?;
    let january = [("a", 1, "2026-01-01"), ("dissolved", 1, "2026-01-01")];
    assert_eq!(bench.run(&january)?, merged(0, 0, 0, 2, 0));
    assert_eq!(bench.table(ALL)?, ["a 1 2026-02-01"]);
    Ok(())
}

#[test]
fn rows_newer_than_the_input_are_not_gone_and_an_empty_input_marks_none() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::Delete)?;
    bench.run(&[("a", 1, "2026-01-01")])?;
    // What another pipeline wrote, which hears of changes as they happen.
    let stream = "INSERT INTO leads VALUES ('stream', 1, '2026-02-15T09:00:00Z')";
    Connection::open(&bench.merge.database)?.execute(stream, [])?;
    assert_eq!(bench.run(&[])?, merged(0, 0, 0, 0, 0));
    assert_eq!(bench.run(&[("b", 1, "2026-02-01")])?, merged(1, 0, 0, 0, 1));
    assert_eq!(bench.table("SELECT id FROM leads ORDER BY id")?, ["b", "stream"]);
    Ok(())
}

#[test]
fn a_replaced_table_takes_new_columns_and_an_appended_one_adds_them() -> Result<()> {
    for (write, n_rows) in [(TableWrite::Replace, 1), (TableWrite::Append, 2)] {
        let mut bench = Bench::new(write, Missing::Keep)?;
        bench.run(&[("a", 1, "2026-01-01")])?;
        bench.merge.columns.retain(|(name, _)| name != "score");
        bench.merge.columns.push(("score".into(), "TEXT".into()));
        bench.run(&[("a", 2, "2026-01-01")])?;
        assert_eq!(bench.table(ALL)?.len(), n_rows);
    }
    Ok(())
}

#[test]
fn names_are_quoted() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::Keep)?;
    bench.merge.table = "le\"ads; drop".into();
    bench.run(&[("a", 1, "2026-01-01")])?;
    assert_eq!(bench.table("SELECT id FROM \"le\"\"ads; drop\"")?, ["a"]);
    Ok(())
}

#[test]
fn a_history_keeps_every_state_and_ends_what_is_gone() -> Result<()> {
    let mut bench = Bench::new(TableWrite::History, Missing::MarkGone)?;
    let states = "SELECT id || ' ' || score || ' ' || valid_from || ' ' || coalesce(valid_to, '-')
                  FROM leads ORDER BY id, valid_from";
    assert_eq!(
        bench.run(&[("a", 1, "2026-01-01"), ("b", 1, "2026-01-01")])?,
        merged(2, 0, 0, 0, 0)
    );
    assert_eq!(bench.run(&[("a", 2, "2026-03-01")])?, merged(0, 1, 0, 0, 1));
    let expected = ["a 1 2026-01-01 2026-03-01", "a 2 2026-03-01 -", "b 1 2026-01-01 2026-03-01"];
    assert_eq!(bench.table(states)?, expected);
    // The same again, and an older whole, change nothing.
    assert_eq!(bench.run(&[("a", 2, "2026-03-01")])?, merged(0, 0, 1, 0, 0));
    assert_eq!(
        bench.run(&[("a", 9, "2026-02-01"), ("b", 1, "2026-02-01")])?,
        merged(0, 0, 0, 2, 0)
    );
    assert_eq!(bench.table(states)?, expected);
    // A correction of the same version stays one state; what comes back is a new one.
    assert_eq!(bench.run(&[("a", 3, "2026-03-01")])?, merged(0, 1, 0, 0, 0));
    assert_eq!(
        bench.run(&[("a", 3, "2026-04-01"), ("b", 1, "2026-04-01")])?,
        merged(1, 0, 1, 0, 0)
    );
    assert_eq!(
        bench.table(states)?,
        [
            "a 1 2026-01-01 2026-03-01",
            "a 3 2026-03-01 -",
            "b 1 2026-01-01 2026-03-01",
            "b 1 2026-04-01 -"
        ]
    );
    // What was confirmed in April is not changed by what is known of March.
    bench.merge.missing = Missing::Keep;
    assert_eq!(
        bench.run(&[("a", 7, "2026-03-15"), ("b", 1, "2026-03-15")])?,
        merged(0, 0, 0, 2, 0)
    );
    Ok(())
}

#[test]
fn a_history_without_versions_goes_by_the_time_of_the_run() -> Result<()> {
    let mut bench = Bench::new(TableWrite::History, Missing::Keep)?;
    bench.merge.newer_by = None;
    bench.run(&[("a", 1, "x")])?;
    bench.merge.at = "2026-11-03T09:00:00Z".into();
    assert_eq!(bench.run(&[("a", 2, "x"), ("b", 1, "x")])?, merged(1, 1, 0, 0, 0));
    let states =
        "SELECT id || score || ' ' || valid_from || ' ' || coalesce(valid_to, '-') FROM leads
                  ORDER BY id, valid_from";
    assert_eq!(
        bench.table(states)?,
        [
            "a1 2026-11-02T09:00:00Z 2026-11-03T09:00:00Z",
            "a2 2026-11-03T09:00:00Z -",
            "b1 2026-11-03T09:00:00Z -"
        ]
    );
    Ok(())
}

#[test]
fn rows_are_marked_gone_by_their_keys_and_come_back_by_an_upsert() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::Keep)?;
    let all = [("a", 1, "2026-02-01"), ("b", 2, "2026-02-01"), ("c", 3, "2026-02-01")];
    bench.run(&all)?;
    bench.merge.write = TableWrite::MarkGone;
    let gone = [("a", 0, "2026-03-01"), ("b", 0, "2026-01-01"), ("unknown", 0, "2026-03-01")];
    assert_eq!(bench.run(&gone)?, merged(0, 0, 0, 1, 1));
    assert_eq!(bench.run(&gone)?, merged(0, 0, 1, 1, 0));
    let marked = "SELECT id || ' ' || score || ' ' || as_of FROM leads WHERE gone_at IS NOT NULL";
    assert_eq!(bench.table(marked)?, ["a 1 2026-03-01"]);
    bench.merge.write = TableWrite::Upsert;
    assert_eq!(bench.run(&all)?, merged(0, 0, 2, 1, 0));
    assert_eq!(bench.table(marked)?, ["a 1 2026-03-01"]);
    assert_eq!(bench.run(&[("a", 1, "2026-04-01")])?, merged(1, 0, 0, 0, 0));
    assert!(bench.table(marked)?.is_empty());
    Ok(())
}

#[test]
fn a_row_says_when_it_last_changed() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::MarkGone)?;
    bench.merge.changed_at = Some("changed_at".into());
    let mut on = |day: &str, rows: &[Row<'_>]| {
        bench.merge.at = format!("2026-{day}T00:00:00Z");
        bench.run(rows)?;
        bench.table("SELECT id || ' ' || substr(changed_at, 6, 5) FROM leads ORDER BY id")
    };
    let january = [("a", 1, "2026-01-01"), ("b", 1, "2026-01-01"), ("c", 1, "2026-01-01")];
    assert_eq!(on("01-10", &january)?, ["a 01-10", "b 01-10", "c 01-10"]);
    // The same with a newer version is no change; other values and an end are.
    let february = [("a", 1, "2026-02-01"), ("b", 2, "2026-02-01")];
    assert_eq!(on("02-10", &february)?, ["a 01-10", "b 02-10", "c 02-10"]);
    let march = [("a", 1, "2026-03-01"), ("b", 2, "2026-03-01"), ("c", 1, "2026-03-01")];
    assert_eq!(on("03-10", &march)?, ["a 01-10", "b 02-10", "c 03-10"]);
    Ok(())
}

#[test]
fn within_groups_only_those_that_arrive_can_miss_rows() -> Result<()> {
    let mut bench = Bench::new(TableWrite::Upsert, Missing::MarkGone)?;
    bench.merge.key = vec!["id".into(), "score".into()];
    bench.merge.within = vec!["id".into()];
    bench.merge.newer_by = None;
    bench.run(&[("a", 1, "x"), ("a", 2, "x"), ("b", 1, "x"), ("c", 1, "x")])?;
    // Of `a` the second is missing; of `b` and `c` nothing is known this time.
    assert_eq!(bench.run(&[("a", 1, "x")])?, merged(0, 0, 1, 0, 1));
    let there = "SELECT id || score FROM leads WHERE gone_at IS NULL ORDER BY 1";
    assert_eq!(bench.table(there)?, ["a1", "b1", "c1"]);

    // A part of the key marks all rows of its group.
    bench.merge.write = TableWrite::MarkGone;
    bench.merge.missing = Missing::Keep;
    bench.merge.key = vec!["id".into()];
    bench.merge.within = Vec::new();
    assert_eq!(bench.run(&[("b", 0, "x"), ("unknown", 0, "x")])?.gone, 1);
    assert_eq!(bench.table(there)?, ["a1", "c1"]);
    Ok(())
}

#[test]
fn what_is_gone_before_it_ever_came_stays_away_until_something_newer_comes() -> Result<()> {
    let mut bench = Bench::new(TableWrite::MarkGone, Missing::Keep)?;
    assert_eq!(
        bench.run(&[("a", 0, "2026-11-03"), ("b", 0, "2026-11-03")])?,
        merged(0, 0, 0, 0, 0)
    );
    bench.merge.write = TableWrite::Upsert;
    let first =
        bench.run(&[("a", 1, "2026-11-02"), ("b", 1, "2026-11-04"), ("c", 1, "2026-11-01")]);
    assert_eq!(first?, merged(2, 0, 0, 1, 0));
    let ids = "SELECT id FROM leads WHERE gone_at IS NULL ORDER BY id";
    assert_eq!(bench.table(ids)?, ["b", "c"]);
    // A newer whole knows better, and then nothing but its version is left to hold back.
    bench.merge.missing = Missing::MarkGone;
    assert_eq!(bench.run(&[("a", 2, "2026-12-01")])?, merged(1, 0, 0, 0, 2));
    let tombstones = "SELECT coalesce(id, 'all') || ' ' || as_of FROM leads_gone_id";
    assert_eq!(bench.table(tombstones)?, ["all 2026-12-01"]);
    assert_eq!(bench.table(ids)?, ["a"]);
    Ok(())
}
