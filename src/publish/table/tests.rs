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
            missing,
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
