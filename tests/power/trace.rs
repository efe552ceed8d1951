//! What a run asks of the file system, in the order in which it was answered: `strace`, read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// All that can change a file system. What the model does not know makes it give up, so the list
/// is longer than what a run does today.
const CALLS: &str = "open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,\
    writev,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,fsync,\
    fdatasync,sync,syncfs,sync_file_range,msync,io_uring_setup,rename,renameat,renameat2,link,\
    linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir";

/// A system call that succeeded.
#[derive(Debug)]
pub(super) struct Call {
    /// The thread that asked.
    pub(super) thread: u64,
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    pub(super) result: i64,
}

#[derive(Debug)]
pub(super) enum Argument {
    Bytes(Vec<u8>),
    Word(String),
}

impl Call {
    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        match &self.arguments[index] {
            Argument::Bytes(bytes) => bytes,
            Argument::Word(word) => panic!("{}: `{word}` is no text", self.name),
        }
    }

    pub(super) fn path(&self, index: usize) -> &Path {
        Path::new(std::str::from_utf8(self.bytes(index)).expect("a path in UTF-8"))
    }

    pub(super) fn word(&self, index: usize) -> &str {
        match self.arguments.get(index) {
            Some(Argument::Word(word)) => word,
            other => panic!("{}: {other:?} is no word", self.name),
        }
    }

    pub(super) fn number(&self, index: usize) -> u64 {
        self.word(index).parse().expect("a number")
    }
}

/// Says whether runs can be watched here.
pub(super) fn is_there() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// Runs a command and returns what it asked of the file system, and its exit code.
pub(super) fn watch(command: &Command, inject: Option<&str>) -> (Vec<Call>, Option<i32>) {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-xx", "-s", "100000000", "-e", &format!("trace={CALLS}")]);
    if let Some(inject) = inject {
        strace.args(["-e", &format!("inject={inject}")]);
    }
    strace.arg("-o").arg(log.path()).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        strace.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = strace.output().expect("strace starts");
    let text = std::fs::read_to_string(log.path()).expect("what strace wrote");
    (read(&text), output.status.code())
}

/// Reads lines `<thread> <name>(<arguments>) = <result>`, also those that are cut in two. A call
/// counts when it has ended, but a file is closed from the moment on at which that was asked: its
/// number may be given to another file before the answer is written down.
fn read(text: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (thread, line) = line.split_once(' ').expect("a thread");
        let line = line.trim_start();
        let whole = if let Some(start) = line.strip_suffix("<unfinished ...>") {
            let start = start.trim_end();
            if let Some(fd) = start.strip_prefix("close(") {
                calls.extend(call(thread, &format!("close({fd}) = 0")));
            } else {
                begun.insert(thread, start.to_owned());
            }
            continue;
        } else if let Some(rest) = line.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").expect("the end of a call");
            match begun.remove(thread) {
                Some(start) => start + rest,
                None => continue,
            }
        } else {
            line.to_owned()
        };
        calls.extend(call(thread, &whole));
    }
    calls
}

/// Reads a call; none if it failed, or if the line is no call.
fn call(thread: &str, line: &str) -> Option<Call> {
    if line.starts_with("+++") || line.starts_with("---") {
        return None;
    }
    let (name, rest) = line.split_once('(').unwrap_or_else(|| panic!("no call: {line}"));
    let (arguments, result) = rest.rsplit_once(") ").unwrap_or_else(|| panic!("no end: {line}"));
    let result = result.trim_start().strip_prefix("= ").unwrap_or("?");
    let result = result.split(' ').next().and_then(|n| n.parse().ok()).filter(|n| *n >= 0)?;
    let thread = thread.parse().expect("the number of a thread");
    Some(Call { thread, name: name.to_owned(), arguments: split(arguments), result })
}

/// Divides arguments at their commas. Texts hold no comma: strace wrote them as `\x..`.
fn split(arguments: &str) -> Vec<Argument> {
    let of = |argument: &str| match argument.trim().strip_prefix('"') {
        Some(text) => {
            let text = text.strip_suffix('"').expect("a whole text");
            let bytes = text.split("\\x").skip(1);
            Argument::Bytes(bytes.map(|b| u8::from_str_radix(b, 16).expect("a byte")).collect())
        }
        None => Argument::Word(argument.trim().to_owned()),
    };
    arguments.split(',').map(of).collect()
}

#[test]
fn reads_calls_that_are_cut_in_two() {
    let text = "7 mkdir(\"\\x61\", 0777 <unfinished ...>\n\
                8 close(3 <unfinished ...>\n\
                7 <... mkdir resumed>)  = 0\n\
                7 unlink(\"\\x61\") = -1 ENOENT (No such file or directory)\n\
                8 <... close resumed>)  = 0\n\
                8 pwrite64(3, \"\\x01\\xff\", 2, 4096) = 2\n\
                8 +++ exited with 0 +++\n";
    let calls = read(text);
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["close", "mkdir", "pwrite64"]);
    assert_eq!(calls[1].path(0), Path::new("a"));
    assert_eq!((calls[2].bytes(1), calls[2].number(3)), (&[1, 255][..], 4096));
}
