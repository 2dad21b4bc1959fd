//! What is told to people and clients: errors and warnings, on stderr and in `--log`, in the forms that clients of runc
//! read back.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::state::time;
use crate::sys::Named;

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
    file: Option<File>,
    format: Format,
    level: Level,
}

impl Log {
    /// # Errors
    /// If the file of `--log` cannot be opened.
    pub fn open(path: Option<&Path>, format: Format, level: Level) -> Result<Self> {
        let file = path
            .map(|path| {
                let mut options = OpenOptions::new();
                // O_SYNC: the client may read it while we are being killed.
                options.append(true).create(true).mode(0o644).custom_flags(libc::O_SYNC);
                options.open(path).named(|| format!("open({path:?})")).context("--log")
            })
            .transpose()?;
        Ok(Self { file, format, level })
    }

    /// The log of a command line that could not be parsed: stderr.
    pub fn stderr() -> Self {
        Self { file: None, format: Format::Text, level: Level::Warning }
    }

    pub fn error(&self, text: &str) {
        self.to_file(Level::Error, text);
        // Without a log file, JSON was asked for on stderr.
        if self.file.is_none() && self.format == Format::Json {
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
        if self.file.is_some() {
            return self.to_file(level, text);
        }
        match self.format {
            Format::Json => self.to_stderr(&self.line(level, text)),
            Format::Text => self.to_stderr(&format!("oarlock: {}: {}\n", level.name(), one_line(text))),
        }
    }

    fn to_file(&self, level: Level, text: &str) {
        if let Some(mut file) = self.file.as_ref()
            && level <= self.level
        {
            // One write, so that lines of several processes do not mix; a full disk must not hide the error itself.
            let _ = file.write_all(self.line(level, text).as_bytes());
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
