//! A disk that loses power: what was synced is there, and of the rest what a seed leaves.
//!
//! A file keeps its bytes as of its last sync; of what was written later nothing, a beginning, or
//! any sectors survive. A folder keeps its entries as of its own last sync; of what changed later
//! a beginning survives, in each folder another one, however the bytes of the files fare. One
//! change is whole or not at all, also one of two folders (a rename): every file system with a
//! journal promises that, and without it no order of syncs would be safe.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names a file or a folder, whatever it is called.
pub(super) type Id = u64;

/// The folder of the project.
pub(super) const ROOT: Id = 0;

const SECTOR: u64 = 512;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    File(Vec<u8>),
    Folder(BTreeMap<String, Id>),
}

/// What a name stands for from now on.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) folder: Id,
    pub(super) name: String,
    pub(super) node: Option<Id>,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Write {
        file: Id,
        at: u64,
        bytes: Vec<u8>,
    },
    Resize {
        file: Id,
        size: u64,
    },
    Entries(Vec<Entry>),
    /// With its number among the syncs of the first thread, if it is one of those.
    Sync {
        node: Id,
        site: String,
        nth: Option<u64>,
    },
}

impl Event {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Write { file, at, bytes } => format!("write {file} {at} {}", bytes.len()),
            other => format!("{other:?}"),
        }
    }
}

/// Files and folders.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<Id, Node>,
}

/// What a power cut takes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// All of it.
    Everything,
    /// The bytes: names are there, and what they name is empty or cut.
    Bytes,
    /// The names: bytes are there, and nothing leads to them.
    Names,
    /// Some of each, here and there.
    Parts,
    /// All names from a moment on, which is later than the last sync of anything (as ext4 does),
    /// and some of the bytes.
    Journal,
}

pub(super) const KINDS: [Kind; 5] =
    [Kind::Everything, Kind::Bytes, Kind::Names, Kind::Parts, Kind::Journal];

/// A power cut: before which event, and what it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) at: usize,
    pub(super) kind: Kind,
    pub(super) seed: u64,
}

/// Numbers that a seed decides (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// Changes bytes as a write or a change of size does.
fn change(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write { at, bytes: new, .. } => {
            let (start, end) = (*at as usize, *at as usize + new.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(new);
        }
        Event::Resize { size, .. } => bytes.resize(*size as usize, 0),
        Event::Entries(_) | Event::Sync { .. } => {}
    }
}

impl Disk {
    /// Reads a folder and all that is in it.
    pub(super) fn read(root: &Path) -> Self {
        let mut disk = Self { nodes: BTreeMap::from([(ROOT, Node::Folder(BTreeMap::new()))]) };
        disk.read_folder(ROOT, root);
        disk
    }

    fn read_folder(&mut self, id: Id, path: &Path) {
        for entry in std::fs::read_dir(path).expect("a folder") {
            let path = entry.expect("an entry").path();
            let new = self.nodes.len() as Id;
            if path.is_dir() {
                self.nodes.insert(new, Node::Folder(BTreeMap::new()));
                self.read_folder(new, &path);
            } else {
                self.nodes.insert(new, Node::File(std::fs::read(&path).expect("a file")));
            }
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            self.set(&Entry { folder: id, name, node: Some(new) });
        }
    }

    /// Makes a folder look like this.
    pub(super) fn write(&self, root: &Path) {
        for entry in std::fs::read_dir(root).expect("a folder") {
            let path = entry.expect("an entry").path();
            let removed = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            removed.expect("what was there is removed");
        }
        self.write_folder(ROOT, root);
    }

    fn write_folder(&self, id: Id, path: &Path) {
        let Some(Node::Folder(entries)) = self.nodes.get(&id) else { return };
        for (name, id) in entries {
            let path = path.join(name);
            match self.nodes.get(id) {
                Some(Node::Folder(_)) => {
                    std::fs::create_dir(&path).expect("a folder");
                    self.write_folder(*id, &path);
                }
                Some(Node::File(bytes)) => std::fs::write(&path, bytes).expect("a file"),
                None => panic!("{} is nothing", path.display()),
            }
        }
    }

    pub(super) fn entry(&self, folder: Id, name: &str) -> Option<Id> {
        match self.nodes.get(&folder) {
            Some(Node::Folder(entries)) => entries.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn is_folder(&self, id: Id) -> bool {
        matches!(self.nodes.get(&id), Some(Node::Folder(_)))
    }

    /// Returns where a file or folder is, relative to the project.
    pub(super) fn path(&self, wanted: Id) -> Option<String> {
        if wanted == ROOT {
            return Some(String::new());
        }
        self.nodes.iter().find_map(|(id, node)| {
            let Node::Folder(entries) = node else { return None };
            let (name, _) = entries.iter().find(|(_, entry)| **entry == wanted)?;
            let folder = self.path(*id)?;
            Some(if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") })
        })
    }

    /// Lists files and folders by their paths, files with their bytes.
    pub(super) fn listing(&self) -> BTreeMap<String, &[u8]> {
        let mut listing = BTreeMap::new();
        let mut folders = vec![(String::new(), ROOT)];
        while let Some((path, id)) = folders.pop() {
            let Some(Node::Folder(entries)) = self.nodes.get(&id) else { continue };
            for (name, id) in entries {
                match self.nodes.get(id) {
                    Some(Node::File(bytes)) => {
                        listing.insert(format!("{path}/{name}"), bytes.as_slice());
                    }
                    _ => {
                        listing.insert(format!("{path}/{name}"), &[]);
                        folders.push((format!("{path}/{name}"), *id));
                    }
                }
            }
        }
        listing
    }

    fn set(&mut self, entry: &Entry) {
        let Some(Node::Folder(entries)) = self.nodes.get_mut(&entry.folder) else {
            panic!("{entry:?} is not in a folder");
        };
        match entry.node {
            Some(node) => entries.insert(entry.name.clone(), node),
            None => entries.remove(&entry.name),
        };
    }

    /// Changes this as the file system that the processes see changes.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Entries(entries) => entries.iter().for_each(|entry| self.set(entry)),
            Event::Write { file, .. } | Event::Resize { file, .. } => {
                if let Some(Node::File(bytes)) = self.nodes.get_mut(file) {
                    change(bytes, event);
                }
            }
            Event::Sync { .. } => {}
        }
    }
}

/// What processes did to a disk, and what was on it before.
pub(super) struct Recording {
    pub(super) before: Disk,
    /// The nodes that were made since, empty.
    pub(super) made: BTreeMap<Id, Node>,
    pub(super) events: Vec<Event>,
}

impl Recording {
    pub(super) fn new(before: Disk, events: Vec<Event>, seen: &Disk) -> Self {
        let new = seen.nodes.iter().filter(|(id, _)| !before.nodes.contains_key(id));
        let empty = |node: &Node| match node {
            Node::File(_) => Node::File(Vec::new()),
            Node::Folder(_) => Node::Folder(BTreeMap::new()),
        };
        let made = new.map(|(id, node)| (*id, empty(node))).collect();
        Self { before, made, events }
    }

    /// Returns what is on the disk when power comes back. Syncs of a dropped site do nothing.
    pub(super) fn after(&self, loss: &Loss, dropped: Option<&str>) -> Disk {
        let events = &self.events[..loss.at];
        let mut random = Random(loss.seed);
        let synced: Vec<Option<Id>> = events
            .iter()
            .map(|event| match event {
                Event::Sync { node, site, .. } if dropped != Some(site) => Some(*node),
                _ => None,
            })
            .collect();
        let survives = surviving_entries(events, &synced, loss.kind, &mut random);
        let mut disk = self.before.clone();
        disk.nodes.extend(self.made.clone());
        let mut unsynced: BTreeMap<Id, Vec<&Event>> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            match event {
                Event::Entries(_) if survives[index] => disk.apply(event),
                Event::Write { file, .. } | Event::Resize { file, .. } => {
                    unsynced.entry(*file).or_default().push(event);
                }
                _ => {}
            }
            for event in synced[index].and_then(|node| unsynced.remove(&node)).unwrap_or_default() {
                disk.apply(event);
            }
        }
        for (file, events) in unsynced {
            let Some(Node::File(bytes)) = disk.nodes.get_mut(&file) else { continue };
            leave_some(bytes, &events, loss.kind, &mut random);
        }
        disk
    }
}

/// Says which changes of folders survive: those that a later sync of their folder made durable, or
/// that the seed leaves; and with one all that came before it in the folders that it touches.
fn surviving_entries(
    events: &[Event],
    synced: &[Option<Id>],
    kind: Kind,
    random: &mut Random,
) -> Vec<bool> {
    let last_sync = synced.iter().rposition(Option::is_some).map_or(0, |index| index + 1);
    let end = last_sync + random.below((events.len() - last_sync + 1) as u64) as usize;
    // Of hundred changes that could be lost; the last ones hold those before them.
    let n_kept = match kind {
        Kind::Everything | Kind::Names | Kind::Journal => 0,
        Kind::Bytes => 100,
        Kind::Parts => [1, 5, 20, 60][random.below(4) as usize],
    };
    let mut held: BTreeSet<Id> = BTreeSet::new();
    let mut survives = vec![false; events.len()];
    for (index, event) in events.iter().enumerate().rev() {
        held.extend(synced[index]);
        let Event::Entries(entries) = event else { continue };
        let is_held = entries.iter().any(|entry| held.contains(&entry.folder));
        let is_journaled = kind == Kind::Journal && index < end;
        survives[index] = is_held || is_journaled || random.below(100) < n_kept;
        if survives[index] {
            held.extend(entries.iter().map(|entry| entry.folder));
        }
    }
    survives
}

/// Leaves of what was written after the last sync of a file what the seed wants.
fn leave_some(bytes: &mut Vec<u8>, events: &[&Event], kind: Kind, random: &mut Random) {
    let way = match kind {
        Kind::Everything => 0,
        Kind::Bytes => random.below(3),
        Kind::Names => 4,
        Kind::Parts | Kind::Journal => random.below(5),
    };
    match way {
        0 => {}
        // The size survives, and what was written does not.
        1 => {
            let mut whole = bytes.clone();
            events.iter().for_each(|event| change(&mut whole, event));
            bytes.resize(whole.len(), 0);
        }
        // The first ones survive, and a beginning of the next.
        2 => {
            let n_whole = random.below(events.len() as u64 + 1) as usize;
            events[..n_whole].iter().for_each(|event| change(bytes, event));
            if let Some(Event::Write { file, at, bytes: new }) = events.get(n_whole) {
                let n_sectors = random.below(new.len() as u64 / SECTOR + 1);
                let end = ((at / SECTOR + n_sectors) * SECTOR).saturating_sub(*at) as usize;
                let new = new[..end.min(new.len())].to_vec();
                change(bytes, &Event::Write { file: *file, at: *at, bytes: new });
            }
        }
        // Any sectors survive.
        3 => {
            for event in events {
                match event {
                    Event::Write { file, at, bytes: new } => {
                        let mut from = 0;
                        while from < new.len() {
                            let place = at + from as u64;
                            let end = new.len().min(from + (SECTOR - place % SECTOR) as usize);
                            if random.below(2) == 0 {
                                let part = new[from..end].to_vec();
                                change(
                                    bytes,
                                    &Event::Write { file: *file, at: place, bytes: part },
                                );
                            }
                            from = end;
                        }
                    }
                    other if random.below(2) == 0 => change(bytes, other),
                    _ => {}
                }
            }
        }
        _ => events.iter().for_each(|event| change(bytes, event)),
    }
}
