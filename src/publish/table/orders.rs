//! What is known of companies in any order, any number of times: events of the stream and a monthly
//! file give the same table.

use rusqlite::Connection;

use super::*;

/// Moments by a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % n
    }
}

/// What somebody says of a company: its score if it is a lead.
#[derive(Clone, Debug)]
struct Said {
    key: usize,
    version: String,
    score: Option<i64>,
}

/// What arrives together.
#[derive(Clone, Debug)]
enum Arrival {
    /// The last word of each company in a batch of events.
    Batch(Vec<Said>),
    /// All leads as of a day.
    File(Vec<Said>),
}

const KEYS: usize = 5;

/// A life of some companies: events on days 1 to 9, in the order of their timepoints, and the file of
/// day 5, which shows the register before that day's events. Returns what arrives, and who is a lead
/// in the end.
fn life(dice: &mut Dice) -> (Vec<Said>, Arrival, Vec<(usize, i64)>) {
    let mut now: Vec<Option<i64>> =
        (0..KEYS).map(|key| (dice.below(2) == 0).then_some(key as i64)).collect();
    let mut on_file = None;
    let (mut events, mut timepoint) = (Vec::new(), 0);
    for day in 1..10 {
        if day == 5 {
            on_file = Some(now.clone());
        }
        for _ in 0..dice.below(3) {
            timepoint += 1;
            let key = dice.below(KEYS as u64) as usize;
            now[key] = (dice.below(2) == 0).then_some(100 * timepoint);
            let version = format!("2026-11-0{day}/{timepoint:012}");
            events.push(Said { key, version, score: now[key] });
        }
    }
    let day = "2026-11-05".to_owned();
    let listed = on_file.into_iter().flatten().enumerate();
    let listed = listed.filter(|(_, score)| score.is_some());
    let listed = listed.map(|(key, score)| Said { key, version: day.clone(), score });
    let file = Arrival::File(listed.collect());
    let leads = now.iter().enumerate().filter_map(|(key, score)| Some((key, (*score)?)));
    (events, file, leads.collect())
}

/// Puts events into batches in any order, some twice, and the file somewhere, perhaps twice.
fn shuffled(dice: &mut Dice, events: &[Said], file: &Arrival) -> Vec<Arrival> {
    let mut all: Vec<Said> = events.to_vec();
    for event in events {
        if dice.below(3) == 0 {
            all.push(event.clone());
        }
    }
    for index in (1..all.len()).rev() {
        all.swap(index, dice.below(index as u64 + 1) as usize);
    }
    let mut arrivals = Vec::new();
    while !all.is_empty() {
        let size = (1 + dice.below(4) as usize).min(all.len());
        let mut last: Vec<Option<Said>> = vec![None; KEYS];
        for said in all.drain(..size) {
            let slot = &mut last[said.key];
            if slot.as_ref().is_none_or(|other| other.version < said.version) {
                *slot = Some(said);
            }
        }
        arrivals.push(Arrival::Batch(last.into_iter().flatten().collect()));
    }
    for _ in 0..=dice.below(2) {
        let place = dice.below(arrivals.len() as u64 + 1) as usize;
        arrivals.insert(place, file.clone());
    }
    arrivals
}

struct Table {
    connection: Connection,
    merge: TableMerge,
}

impl Table {
    fn new() -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "ATTACH ':memory:' AS stage; CREATE TABLE stage.staged (id TEXT, score INTEGER, version TEXT)",
        )?;
        let column = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        let merge = TableMerge {
            staged: PathBuf::new(),
            database: PathBuf::new(),
            table: "leads".into(),
            columns: vec![
                column("id", "TEXT"),
                column("score", "INTEGER"),
                column("version", "TEXT"),
            ],
            write: TableWrite::Upsert,
            key: vec!["id".into()],
            newer_by: Some("version".into()),
            within: Vec::new(),
            missing: Missing::Keep,
            changed_at: None,
            owner: String::new(),
            run_id: String::new(),
            at: "2026-11-10T09:00:00Z".into(),
        };
        Ok(Self { connection, merge })
    }

    fn take(&mut self, arrival: &Arrival) -> Result<()> {
        match arrival {
            Arrival::Batch(said) => {
                let (leads, others): (Vec<_>, Vec<_>) =
                    said.iter().partition(|said| said.score.is_some());
                self.merge("stream", (TableWrite::Upsert, Missing::Keep), &leads)?;
                self.merge("stream_gone", (TableWrite::MarkGone, Missing::Keep), &others)
            }
            Arrival::File(said) => {
                let said: Vec<_> = said.iter().collect();
                self.merge("file", (TableWrite::Upsert, Missing::MarkGone), &said)
            }
        }
    }

    fn merge(
        &mut self,
        owner: &str,
        (write, missing): (TableWrite, Missing),
        said: &[&Said],
    ) -> Result<()> {
        self.merge.write = write;
        self.merge.missing = missing;
        self.merge.owner = owner.to_owned();
        self.connection.execute("DELETE FROM stage.staged", [])?;
        for said in said {
            let values = params![format!("c{}", said.key), said.score, said.version];
            self.connection.execute("INSERT INTO stage.staged VALUES (?1, ?2, ?3)", values)?;
        }
        let tx = self.connection.transaction()?;
        self.merge.merge(&tx, "stage")?;
        Ok(tx.commit()?)
    }

    fn leads(&self) -> Result<Vec<(usize, i64)>> {
        let sql = "SELECT CAST(substr(id, 2) AS INTEGER), score FROM leads
                   WHERE gone_at IS NULL ORDER BY id";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[test]
fn any_order_and_any_number_of_times_gives_the_same_leads() -> Result<()> {
    let n_cases = std::env::var("PIPELINE_ORDER_CASES").ok().and_then(|n| n.parse().ok());
    for seed in 0..n_cases.unwrap_or(500_u64) {
        let mut dice = Dice(seed);
        let (events, file, leads) = life(&mut dice);
        let arrivals = shuffled(&mut dice, &events, &file);
        let mut table = Table::new()?;
        for arrival in &arrivals {
            table.take(arrival)?;
        }
        assert_eq!(table.leads()?, leads, "seed {seed}: {arrivals:#?}");
    }
    Ok(())
}
