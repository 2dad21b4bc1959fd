//! The host's own logs as `--log` destinations: the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) and
//! the datagrams of syslog (RFC 3164). One datagram a message; not for files.

use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result};

use super::Level;
use crate::error::InputError;
use crate::sys::{Named, local_time};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// `LOG_DAEMON` (syslog(3)), shifted to its place in the priority.
const FACILITY: u8 = 3 << 3;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Journal,
    Syslog,
}

/// A connection to one of them.
#[derive(Debug)]
pub struct System {
    kind: Kind,
    socket: UnixDatagram,
    /// Who is said to speak.
    identifier: String,
}

impl System {
    /// # Errors
    /// If the identifier cannot be one, or nobody listens.
    pub fn connect(kind: Kind, identifier: &str) -> Result<Self> {
        let (path, name) = match kind {
            Kind::Journal => (JOURNAL, "journald"),
            Kind::Syslog => (SYSLOG, "syslog"),
        };
        if identifier.is_empty() || identifier.chars().any(char::is_control) {
            let what = format!("{name}: needs an identifier, one line of text");
            return Err(InputError::new("--log", what).hint(format!("{name}:oarlock, say")).into());
        }
        let socket = UnixDatagram::unbound().named(|| "socket(AF_UNIX)".to_owned())?;
        socket
            .connect(path)
            .named(|| format!("connect({path:?})"))
            .with_context(|| format!("--log: {name} cannot be reached"))?;
        Ok(Self { kind, socket, identifier: identifier.to_owned() })
    }

    /// `text` is one line. A log that has gone away must not hide the error itself.
    pub fn send(&self, level: Level, text: &str) {
        let priority = match level {
            Level::Error => 3,
            Level::Warning => 4,
            Level::Info => 6,
            Level::Debug => 7,
        };
        let identifier = &self.identifier;
        let pid = std::process::id();
        let datagram = match self.kind {
            Kind::Journal => {
                format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER={identifier}\nSYSLOG_PID={pid}\nMESSAGE={text}\n")
            }
            Kind::Syslog => {
                let now = local_time();
                let month = MONTHS.get(now.month).unwrap_or(&MONTHS[0]);
                let (day, hour, minute, second) = (now.day, now.hour, now.minute, now.second);
                let priority = FACILITY | priority;
                format!("<{priority}>{month} {day:2} {hour:02}:{minute:02}:{second:02} {identifier}[{pid}]: {text}")
            }
        };
        let _ = self.socket.send(datagram.as_bytes());
    }
}
