//! What is told to people and clients: errors and warnings, on stderr and in `--log`, in the forms that clients of runc
//! read back.

mod system;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::state::time;
use crate::sys::Named;
use system::{Kind, System};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    Error,
    #[value(alias = "warn")]
    Warning,
    Info,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Where `--log` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    File(PathBuf),
    /// An identifier, as for `logger --tag`.
    Journal(String),
    Syslog(String),
}

impl From<&OsStr> for Destination {
    /// crun's forms; whatever has none of the prefixes is a file, as runc has it.
    fn from(given: &OsStr) -> Self {
        let bytes = given.as_bytes();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if let Some(identifier) = bytes.strip_prefix(b"journald:") {
            return Self::Journal(text(identifier));
        }
        if let Some(identifier) = bytes.strip_prefix(b"syslog:") {
            return Self::Syslog(text(identifier));
        }
        Self::File(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes)).into())
    }
}

/// One line of the JSON form: containerd takes `msg` of the last line whose level is `error`.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    msg: &'a str,
    time: String,
}

/// Where messages go. Errors go to stderr as well as to the log: some clients read the one, some the other.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    format: Format,
    level: Level,
}

#[derive(Debug)]
enum Sink {
    /// Without `--log`.
    Stderr,
    File(File),
    System(System),
}

impl Log {
    /// # Errors
    /// If the file of `--log` cannot be opened, or the host's log be reached.
    pub fn open(destination: Option<&Destination>, format: Format, level: Level) -> Result<Self> {
        let sink = match destination {
            None => Sink::Stderr,
            Some(Destination::File(path)) => {
                let mut options = OpenOptions::new();
                // O_SYNC: the client may read it while we are being killed.
                options.append(true).create(true).mode(0o644).custom_flags(libc::O_SYNC);
                Sink::File(options.open(path).named(|| format!("open({path:?})")).context("--log")?)
            }
            Some(Destination::Journal(identifier)) => Sink::System(System::connect(Kind::Journal, identifier)?),
            Some(Destination::Syslog(identifier)) => Sink::System(System::connect(Kind::Syslog, identifier)?),
        };
        Ok(Self { sink, format, level })
    }

    /// The log of a command line that could not be parsed: stderr.
    pub fn stderr() -> Self {
        Self { sink: Sink::Stderr, format: Format::Text, level: Level::Warning }
    }

    pub fn error(&self, text: &str) {
        self.to_log(Level::Error, text);
        // Without a log, JSON was asked for on stderr.
        if matches!(self.sink, Sink::Stderr) && self.format == Format::Json {
            return self.to_stderr(&self.line(Level::Error, text));
        }
        self.to_stderr(&format!("oarlock: {}\n", one_line(text)));
    }

    pub fn warning(&self, text: &str) {
        self.at(Level::Warning, text);
    }

    pub fn debug(&self, text: &str) {
        self.at(Level::Debug, text);
    }

    /// To the log, or to stderr where there is none.
    fn at(&self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        if !matches!(self.sink, Sink::Stderr) {
            return self.to_log(level, text);
        }
        match self.format {
            Format::Json => self.to_stderr(&self.line(level, text)),
            Format::Text => self.to_stderr(&format!("oarlock: {}: {}\n", level.name(), one_line(text))),
        }
    }

    fn to_log(&self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        match &self.sink {
            Sink::Stderr => {}
            Sink::File(file) => {
                // One write, so that lines of several processes do not mix; a full disk must not hide the error itself.
                let _ = (&*file).write_all(self.line(level, text).as_bytes());
            }
            // It has fields of its own for what the text form says besides.
            Sink::System(system) => match self.format {
                Format::Text => system.send(level, &one_line(text)),
                Format::Json => system.send(level, self.line(level, text).trim_end()),
            },
        }
    }

    fn to_stderr(&self, line: &str) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn line(&self, level: Level, text: &str) -> String {
        let text = one_line(text);
        match self.format {
            Format::Json => {
                let line = Line { level: level.name(), msg: &text, time: time::now() };
                // Three strings always serialise.
                serde_json::to_string(&line).unwrap_or_default() + "\n"
            }
            // logfmt, as runc writes it.
            Format::Text => format!("time=\"{}\" level={} msg={text:?}\n", time::now(), level.name()),
        }
    }
}

/// A message is one line, whatever it quotes.
fn one_line(text: &str) -> String {
    text.replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::Destination;

    #[test]
    fn only_known_prefixes_are_no_file_names() {
        for (text, destination) in [
            ("/var/log/x", Destination::File("/var/log/x".into())),
            ("file:journald:x", Destination::File("journald:x".into())),
            ("other:x", Destination::File("other:x".into())),
            ("journald", Destination::File("journald".into())),
            ("journald:a:b", Destination::Journal("a:b".into())),
            ("syslog:", Destination::Syslog(String::new())),
        ] {
            assert_eq!(Destination::from(OsStr::new(text)), destination, "{text}");
        }
    }
}
