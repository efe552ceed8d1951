//! System calls become events of a disk: bytes of a file, entries of folders, and syncs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::disk::{Disk, Entry, Event, Id, Node, ROOT, Recording};
use super::trace::{Argument, Call};

/// An open file of the process.
#[derive(Clone, Copy)]
struct Open {
    node: Id,
    place: u64,
    is_append: bool,
}

/// The site of a sync of a folder in which nothing has changed.
pub(super) const NOTHING: &str = "nothing to sync";

/// What changed a folder last, since it was synced.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    Made,
    Created(String),
    MovedIn { is_folder: bool },
    Exchanged,
    Removed(String),
}

/// The file system as the processes see it, and what they have done to it so far.
pub(super) struct Recorder {
    root: PathBuf,
    before: Disk,
    seen: Disk,
    next: Id,
    open: BTreeMap<u64, Open>,
    changes: BTreeMap<Id, Change>,
    synced: BTreeSet<Id>,
    events: Vec<Event>,
    first_thread: Option<u64>,
    n_syncs: u64,
    /// What `settle` opened last. It alone begins with the root of all folders, and goes on in the
    /// order of the paths.
    settling: Option<PathBuf>,
}

impl Recorder {
    /// Begins with the folder as it is.
    pub(super) fn new(root: &Path) -> Self {
        let before = Disk::read(root);
        Self {
            root: root.to_owned(),
            seen: before.clone(),
            next: before.nodes.keys().max().copied().unwrap_or(ROOT) + 1,
            before,
            open: BTreeMap::new(),
            changes: BTreeMap::new(),
            synced: BTreeSet::new(),
            events: Vec::new(),
            first_thread: None,
            n_syncs: 0,
            settling: None,
        }
    }

    /// Takes in what a process did, from its start to its end; returns how many events that was.
    pub(super) fn process(&mut self, calls: &[Call]) -> usize {
        self.open.clear();
        self.first_thread = calls.first().map(|call| call.thread);
        self.n_syncs = 0;
        let n_before = self.events.len();
        for call in calls {
            self.take(call);
        }
        self.events.len() - n_before
    }

    pub(super) fn finish(self) -> Recording {
        let now = Disk::read(&self.root);
        assert_eq!(self.seen.listing(), now.listing(), "the model sees something else than we do");
        Recording::new(self.before, self.events, &self.seen)
    }

    fn take(&mut self, call: &Call) {
        if Some(call.thread) == self.first_thread && call.name == "openat" {
            let path = call.path(1);
            let is_next = self.settling.as_deref().is_some_and(|last| last < path);
            self.settling = (is_next || path == Path::new("/")).then(|| path.to_owned());
        }
        match call.name.as_str() {
            "open" => self.opened(None, call.path(0), call.word(1), call.result),
            "openat" => {
                self.opened(Some(call.word(0)), call.path(1), call.word(2), call.result);
            }
            "close" => {
                self.open.remove(&call.number(0));
            }
            "fcntl" if call.word(1).starts_with("F_DUPFD") => self.duplicated(call),
            "dup" | "dup2" | "dup3" => self.duplicated(call),
            "lseek" => {
                if let Some(open) = self.open.get_mut(&call.number(0)) {
                    open.place = call.result as u64;
                }
            }
            "write" => self.wrote(call, None),
            "pwrite64" => self.wrote(call, Some(call.number(3))),
            "ftruncate" => {
                if let Some(open) = self.open.get(&call.number(0)) {
                    self.happens(Event::Resize { file: open.node, size: call.number(1) });
                }
            }
            "fsync" | "fdatasync" => {
                let is_counted = call.name == "fsync" && Some(call.thread) == self.first_thread;
                self.n_syncs += u64::from(is_counted);
                if let Some(open) = self.open.get(&call.number(0)).copied() {
                    self.synced(open.node, is_counted.then_some(self.n_syncs));
                }
            }
            "mkdir" => self.made(call.path(0)),
            "rename" => self.renamed(call.path(0), call.path(1), false),
            "renameat" => self.renamed(call.path(1), call.path(3), false),
            "renameat2" => {
                let is_exchange = call.word(4) == "RENAME_EXCHANGE";
                self.renamed(call.path(1), call.path(3), is_exchange);
            }
            "unlink" | "rmdir" => self.removed(None, call.path(0)),
            "unlinkat" => self.removed(Some(call.word(0)), call.path(1)),
            "fcntl" => {}
            _ => assert!(!self.is_ours(call), "the model does not know {call:?}"),
        }
    }

    /// Says whether a call that the model does not know could change the project.
    fn is_ours(&self, call: &Call) -> bool {
        let is_open = |argument: &Argument| match argument {
            Argument::Word(word) => word.parse().is_ok_and(|fd| self.open.contains_key(&fd)),
            Argument::Bytes(_) => true,
        };
        let is_of_all = ["sync", "syncfs", "msync", "io_uring_setup"].contains(&&*call.name);
        is_of_all || call.arguments.iter().any(is_open)
    }

    /// Finds the folder and the name of a path; none for what is not in the project. SQLite's
    /// index of a log (`-shm`) is not on disk as far as SQLite is concerned.
    fn place(&self, at: Option<&str>, path: &Path) -> Option<(Id, String)> {
        let mut folder = ROOT;
        let mut path = path;
        match at.filter(|at| *at != "AT_FDCWD" && path.is_relative()) {
            Some(at) => folder = self.open.get(&at.parse().ok()?)?.node,
            None if path.is_absolute() => path = path.strip_prefix(&self.root).ok()?,
            None => {}
        }
        let name = path.file_name()?.to_str()?.to_owned();
        if name.ends_with("-shm") {
            return None;
        }
        for part in path.parent()?.components() {
            if let Component::Normal(part) = part {
                folder = self.seen.entry(folder, part.to_str()?)?;
            }
        }
        Some((folder, name))
    }

    fn opened(&mut self, at: Option<&str>, path: &Path, flags: &str, fd: i64) {
        let node = if path == self.root {
            ROOT
        } else {
            let Some((folder, name)) = self.place(at, path) else { return };
            match self.seen.entry(folder, &name) {
                Some(node) => node,
                None => self.create(folder, name, Node::File(Vec::new())),
            }
        };
        if flags.contains("O_TRUNC") {
            self.happens(Event::Resize { file: node, size: 0 });
        }
        let is_append = flags.contains("O_APPEND");
        self.open.insert(fd as u64, Open { node, place: 0, is_append });
    }

    fn create(&mut self, folder: Id, name: String, node: Node) -> Id {
        let id = self.next;
        self.next += 1;
        let change = match &node {
            Node::File(_) => Change::Created(name.clone()),
            Node::Folder(_) => Change::Made,
        };
        self.changes.insert(folder, change);
        self.seen.nodes.insert(id, node);
        self.happens(Event::Entries(vec![Entry { folder, name, node: Some(id) }]));
        id
    }

    fn duplicated(&mut self, call: &Call) {
        if let Some(open) = self.open.get(&call.number(0)).copied() {
            self.open.insert(call.result as u64, open);
        }
    }

    fn wrote(&mut self, call: &Call, at: Option<u64>) {
        let Some(open) = self.open.get_mut(&call.number(0)) else { return };
        let end = match self.seen.nodes.get(&open.node) {
            Some(Node::File(bytes)) => bytes.len() as u64,
            _ => panic!("{call:?} into no file"),
        };
        let bytes = call.bytes(1)[..call.result as usize].to_vec();
        let at = at.unwrap_or(if open.is_append { end } else { open.place });
        open.place = at + bytes.len() as u64;
        let file = open.node;
        self.happens(Event::Write { file, at, bytes });
    }

    fn made(&mut self, path: &Path) {
        if let Some((folder, name)) = self.place(None, path) {
            self.create(folder, name, Node::Folder(BTreeMap::new()));
        }
    }

    fn renamed(&mut self, from: &Path, to: &Path, is_exchange: bool) {
        let place = |path| self.place(None, path).expect("renamed within the project");
        let (from, to) = (place(from), place(to));
        let (moved, other) = (self.seen.entry(from.0, &from.1), self.seen.entry(to.0, &to.1));
        let other = other.filter(|_| is_exchange);
        let (left, came) = match is_exchange {
            true => (Change::Exchanged, Change::Exchanged),
            false => {
                let is_folder = moved.is_some_and(|id| self.seen.is_folder(id));
                (Change::Removed(from.1.clone()), Change::MovedIn { is_folder })
            }
        };
        self.changes.insert(from.0, left);
        self.changes.insert(to.0, came);
        self.happens(Event::Entries(vec![
            Entry { folder: from.0, name: from.1, node: other },
            Entry { folder: to.0, name: to.1, node: moved },
        ]));
    }

    fn removed(&mut self, at: Option<&str>, path: &Path) {
        let Some((folder, name)) = self.place(at, path) else { return };
        self.changes.insert(folder, Change::Removed(name.clone()));
        self.happens(Event::Entries(vec![Entry { folder, name, node: None }]));
    }

    fn synced(&mut self, node: Id, nth: Option<u64>) {
        let site = self.site(node);
        self.changes.remove(&node);
        self.synced.insert(node);
        self.happens(Event::Sync { node, site, nth });
    }

    fn happens(&mut self, event: Event) {
        self.seen.apply(&event);
        self.events.push(event);
    }

    /// Names the place in the code that asks for this sync: known by the path, and for folders by
    /// what changed in them last.
    fn site(&self, node: Id) -> String {
        if self.settling.is_some() {
            return "settle".to_owned();
        }
        let path = self.seen.path(node).expect("a file that is there");
        let name = path.rsplit('/').next().unwrap_or(&path);
        let is_of_sqlite =
            |name: &str| [".db", "-wal", "-journal"].iter().any(|end| name.ends_with(end));
        let staged = path.split_once(".pipeline-staging").map(|(_, rest)| rest);
        // Below the folder of a run there is one for each sink.
        let is_of_sink = staged.is_some_and(|rest| rest.matches('/').count() >= 2);
        let sink = staged.and_then(|rest| rest.split('/').nth(2)).unwrap_or("");
        if let Some(Node::File(_)) = self.seen.nodes.get(&node) {
            return match staged {
                Some(_) if name.ends_with(".db") => format!("sqlite.rs: rows of `{sink}`"),
                Some(_) if self.synced.contains(&node) => format!("{name}, again"),
                Some(_) => format!("Hashing::close: .{}", name.rsplit('.').next().unwrap_or("")),
                None => "SQLite: file".to_owned(),
            };
        }
        match self.changes.get(&node) {
            Some(Change::Created(name) | Change::Removed(name))
                if staged.is_none() && is_of_sqlite(name) =>
            {
                "SQLite: folder".to_owned()
            }
            Some(Change::Exchanged | Change::Removed(_)) if is_of_sink => {
                "replace_folder: staging".to_owned()
            }
            Some(Change::Exchanged | Change::MovedIn { is_folder: true }) => {
                "replace_folder: parent".to_owned()
            }
            Some(Change::MovedIn { is_folder: false }) => "replace_file".to_owned(),
            Some(Change::Created(name)) if name == "rows.csv" => "csv.rs: folder".to_owned(),
            Some(Change::Created(name)) if name == "rows.db" => {
                format!("sqlite.rs: folder of `{sink}`")
            }
            _ if is_of_sink => "sync_folders".to_owned(),
            Some(Change::Made) if staged.is_some() => "make_folder: in staging".to_owned(),
            Some(Change::Made) => "make_folder: elsewhere".to_owned(),
            Some(Change::Removed(_)) => "sweep".to_owned(),
            Some(other) => format!("{path}: {other:?}"),
            None => NOTHING.to_owned(),
        }
    }
}
