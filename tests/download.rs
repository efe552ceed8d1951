//! Files from elsewhere: a server that cuts, changes its mind and has nothing, on a local port.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Cursor, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use pipeline::fetch::{Http, Kept, Meter, Wanted, fetch};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::support::Project;

/// What the server has, does and was asked.
#[derive(Default)]
struct Shelf {
    /// Files by path: their version and bytes.
    files: BTreeMap<String, (String, Vec<u8>)>,
    /// After how many bytes of a body each coming answer is cut, the last first.
    cuts: Vec<usize>,
    /// What each coming answer is instead, the last first: a status line and headers.
    instead: Vec<String>,
    /// The requests: `GET /path range`.
    asked: Vec<String>,
}

struct Server {
    base: String,
    shelf: Arc<Mutex<Shelf>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let shelf: Arc<Mutex<Shelf>> = Arc::default();
        let served = Arc::clone(&shelf);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // A client that hangs up is what some tests are about.
                let _ = answer(connection, &served);
            }
        });
        Self { base, shelf }
    }

    fn put(&self, path: &str, etag: &str, bytes: &[u8]) {
        let mut shelf = self.shelf.lock().expect("a shelf");
        shelf.files.insert(path.to_owned(), (etag.to_owned(), bytes.to_owned()));
    }

    fn cut(&self, cuts: &[usize]) {
        self.shelf.lock().expect("a shelf").cuts = cuts.iter().rev().copied().collect();
    }

    fn instead(&self, answer: &str) {
        self.shelf.lock().expect("a shelf").instead.push(answer.to_owned());
    }

    /// Returns what was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.lock().expect("a shelf").asked)
    }
}

fn answer(mut connection: TcpStream, shelf: &Mutex<Shelf>) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut headers = BTreeMap::new();
    for line in lines.by_ref() {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut shelf = shelf.lock().expect("a shelf");
    let range = headers.get("range").cloned().unwrap_or_default();
    shelf.asked.push(format!("{method} {path} {range}").trim_end().to_owned());
    if let Some(head) = shelf.instead.pop() {
        return write!(
            connection,
            "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let Some((etag, bytes)) = shelf.files.get(path).cloned() else {
        return write!(
            connection,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    };
    if headers.get("if-none-match").is_some_and(|known| *known == etag) {
        return write!(
            connection,
            "HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\nConnection: close\r\n\r\n"
        );
    }
    let from = range.strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse().ok());
    let from = from.filter(|_| headers.get("if-range").is_none_or(|known| *known == etag));
    let from: Option<usize> = from;
    let (status, rest) = match from {
        Some(from) if from < bytes.len() => {
            let range =
                format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            (format!("206 Partial Content\r\n{range}"), &bytes[from..])
        }
        Some(_) => ("416 Range Not Satisfiable\r\n".to_owned(), &bytes[..0]),
        None => ("200 OK\r\n".to_owned(), &bytes[..]),
    };
    let cut = if method == "GET" && !path.ends_with(".html") { shelf.cuts.pop() } else { None };
    drop(shelf);
    write!(
        connection,
        "HTTP/1.1 {status}ETag: {etag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    )?;
    connection.write_all(&rest[..cut.unwrap_or(rest.len()).min(rest.len())])?;
    connection.flush()
}

/// Bytes that repeat nowhere, so that one in the wrong place shows.
fn noise(seed: u8, n: usize) -> Vec<u8> {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut bytes = vec![0; n];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn get(server: &Server, path: &str, folder: &Path) -> pipeline::error::Result<Option<Kept>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let wanted = Wanted {
        address: format!("{}{path}", server.base),
        path: folder.join("kept"),
        check: &|_| Ok(()),
    };
    let http = Http::new()?;
    runtime.expect("a runtime").block_on(fetch(&http, &wanted, &Meter::default()))
}

fn kept(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("kept")).expect("the file")
}

#[test]
fn a_download_cut_at_any_byte_is_resumed_to_the_same_file() {
    let server = Server::start();
    let bytes = noise(1, 100_000);
    server.put("/a", "\"1\"", &bytes);
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[2; 32]);
    for n in 0..200 {
        let folder = tempfile::tempdir().expect("a folder");
        let cut = match n {
            0 => bytes.len() - 1,
            1 => 1,
            _ => rng.next_u32() as usize % (bytes.len() - 1) + 1,
        };
        server.cut(&[cut]);
        get(&server, "/a", folder.path()).expect("got").expect("there");
        assert!(kept(folder.path()) == bytes, "cut at byte {cut}");
        assert_eq!(server.asked(), ["GET /a".to_owned(), format!("GET /a bytes={cut}-")]);
    }
    // Many cuts in one download, the last of them by the process itself.
    let folder = tempfile::tempdir().expect("a folder");
    server.cut(&[500; 198]);
    get(&server, "/a", folder.path()).expect("got").expect("there");
    assert!(kept(folder.path()) == bytes);
    assert_eq!(server.asked().len(), 199);
}

#[test]
fn a_part_of_another_version_starts_over() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let (old, new) = (noise(1, 10_000), noise(2, 9_000));
    // The version changes while a part is there.
    server.put("/a", "\"1\"", &old);
    std::fs::write(path.join("kept.part"), &old[..400]).expect("written");
    let note =
        format!("{{\"address\":\"{}/a\",\"etag\":\"\\\"1\\\"\",\"size\":10000}}", server.base);
    std::fs::write(path.join("kept.part.json"), &note).expect("written");
    server.put("/a", "\"2\"", &new);
    assert!(get(&server, "/a", path).expect("got").expect("there").is_new);
    assert!(kept(path) == new);
    assert_eq!(server.asked(), ["GET /a bytes=400-"]);
    // The same version comes no second time, another one does.
    assert!(!get(&server, "/a", path).expect("got").expect("there").is_new);
    server.put("/a", "\"3\"", &old);
    assert!(get(&server, "/a", path).expect("got").expect("there").is_new);
    assert!(kept(path) == old);
    // All of it came and the process ended before the file had its name.
    std::fs::rename(path.join("kept"), path.join("kept.part")).expect("renamed");
    std::fs::rename(path.join("kept.fetched.json"), path.join("kept.part.json")).expect("renamed");
    server.asked();
    assert!(get(&server, "/a", path).expect("got").expect("there").is_new);
    assert!(kept(path) == old);
    assert_eq!(server.asked(), ["GET /a"]);
    // A part without a note, or with a broken one, is nothing.
    std::fs::write(path.join("kept.part"), "junk").expect("written");
    std::fs::write(path.join("kept.part.json"), "{").expect("written");
    server.put("/a", "\"4\"", &new);
    get(&server, "/a", path).expect("got");
    assert!(kept(path) == new);
}

#[test]
fn a_server_that_fails_is_asked_again_and_then_its_reason_is_told() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    server.put("/a", "\"1\"", b"abc");
    for _ in 0..3 {
        server.instead("503 Service Unavailable\r\nRetry-After: 0");
    }
    get(&server, "/a", folder.path()).expect("got").expect("there");
    for _ in 0..4 {
        server.instead("500 Oops\r\nRetry-After: 0");
    }
    // What is there is used when the server cannot say whether it changed.
    let used = get(&server, "/a", folder.path()).expect("got").expect("there");
    let warning = used.warning.unwrap_or_default();
    assert!(warning.contains("answered 500") && warning.contains("4 times"), "{warning}");
    let other = tempfile::tempdir().expect("a folder");
    server.instead("403 Forbidden");
    let error = get(&server, "/a?token=hush", other.path()).expect_err("refused").to_string();
    assert!(error.contains("answered 403"), "{error}");
    server.instead("429 Too Many Requests\r\nRetry-After: 3600");
    let error = get(&server, "/a?token=hush", other.path()).expect_err("refused").to_string();
    assert!(error.contains("again in 3600 s") && !error.contains("hush"), "{error}");
    assert_eq!(get(&server, "/none", other.path()).expect("asked"), None);
}

fn zip(name: &str, text: &str) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = zip::ZipWriter::new(&mut bytes);
    writer.start_file(name, zip::write::SimpleFileOptions::default()).expect("started");
    writer.write_all(text.as_bytes()).expect("written");
    writer.finish().expect("finished");
    bytes.into_inner()
}

/// A project that reads the register from the server, at a fixed moment.
fn register(server: &Server, file: &str) -> Project {
    let project = Project::new();
    let text = format!(
        "version: 1\nname: p\nsources:\n  register:\n    companies_house_bulk: {{ file: \"{file}\", \
         base_url: \"{}\", download_to: ./data }}\nsinks:\n  out: {{ from: register, sqlite: {{ \
         table: companies }}, write: replace }}\n",
        server.base
    );
    project.write("p.yaml", text);
    project
}

fn snapshot(rows: &str) -> String {
    let project = Project::new();
    let said = project.pipeline(&["sandbox", "snapshot", "--rows", rows, "--out", "a.csv"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    std::fs::read_to_string(project.path("a.csv")).expect("a snapshot")
}

#[test]
fn the_latest_snapshot_is_the_newest_of_the_page_or_the_one_before() {
    let server = Server::start();
    let project = register(&server, "latest");
    let (october, november) =
        ("/BasicCompanyDataAsOneFile-2001-10-01.zip", "/BasicCompanyDataAsOneFile-2001-11-01.zip");
    let day = "select distinct cast(snapshot_date as varchar) from out";
    // Nothing is published: the first days of a month whose page is not there either.
    let said = project.pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("has no snapshot of"), "{}", said.err);
    assert_eq!(server.asked().len(), 3, "the page, this month, the one before");
    // The page lists a snapshot that is not there yet, and the one before is: by its own name.
    server.put(october, "\"1\"", &zip("a.csv", &snapshot("30")));
    server.put(
        "/en_output.html",
        "\"p\"",
        b"<a href=\"BasicCompanyDataAsOneFile-2001-10-01.zip\">",
    );
    project.run(&["p.yaml"]);
    assert_eq!(project.query(day), ["2001-10-01"]);
    // The next one appears.
    let page = b"<a href=\"BasicCompanyDataAsOneFile-2001-10-01.zip\"> \
                 <a href=\"BasicCompanyDataAsOneFile-2001-11-01.zip\">";
    server.put("/en_output.html", "\"p\"", page);
    server.put(november, "\"1\"", &zip("a.csv", &snapshot("30")));
    project.run(&["p.yaml"]);
    assert_eq!(project.query(day), ["2001-11-01"]);
    // It is not asked for twice, and a check asks for nothing at all.
    server.asked();
    project.run(&["p.yaml"]);
    let gets = server
        .asked()
        .into_iter()
        .filter(|asked| asked.starts_with("GET") && asked.contains(november));
    assert_eq!(gets.count(), 1, "asked whether it changed");
    assert_eq!(project.pipeline(&["check", "p.yaml"]).code, Some(0));
    assert!(server.asked().is_empty());
}

#[test]
fn a_month_is_got_by_name_and_a_damaged_archive_is_refused() {
    let server = Server::start();
    let project = register(&server, "2001-10");
    let path = "/BasicCompanyDataAsOneFile-2001-10-01.zip";
    let mut damaged = zip("a.csv", &snapshot("200"));
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    server.put(path, "\"1\"", &damaged);
    let said = project.pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("arrives damaged"), "{}", said.err);
    assert_eq!(server.asked().len(), 2, "once more from the beginning");
    let left = project.files("data");
    assert!(!left.iter().any(|name| name.ends_with(".zip")), "{left:?}");
    server.put(path, "\"2\"", &zip("a.csv", &snapshot("200")));
    project.run(&["p.yaml"]);
    assert_eq!(project.query("select count(*) from out"), ["200"]);
    // A mistake elsewhere in the file shows before anything is downloaded.
    let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
    project.write("q.yaml", text.replace("from: register", "from: registre"));
    server.asked();
    assert_eq!(project.pipeline(&["run", "q.yaml"]).code, Some(2));
    assert!(server.asked().is_empty());
}

#[test]
fn an_address_of_another_kind_is_refused_where_it_stands() {
    let project = Project::new();
    let sinks = "sinks: { y: { from: x, csv: { path: ./y.csv }, write: replace } }";
    let text = "version: 1\nname: p\nsources:\n  x: { csv: { path: \"s3://b/x.csv\" } }\n";
    project.write("p.yaml", format!("{text}{sinks}\n"));
    for command in ["check", "run"] {
        let said = project.pipeline(&[command, "p.yaml"]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(said.err.contains("files are not read from `s3://`"), "{}", said.err);
        assert!(said.err.contains("p.yaml:4:21"), "{}", said.err);
    }
}
