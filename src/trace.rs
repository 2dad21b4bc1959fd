//! `--trace FILE`: how long each phase took, in the parent and in the child, as Chrome trace events: an array that grows by
//! a line per phase, which Perfetto and chrome://tracing open as it is. Several verbs may append to one file. The child's
//! phases are those of `init::PHASES`. Switched off it costs one look at a flag per phase.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

static ON: AtomicBool = AtomicBool::new(false);
// Of std, and so without a thread id of glibc's in it: the child of a raw clone3 may lock it.
static TRACE: Mutex<Option<Trace>> = Mutex::new(None);

struct Trace {
    file: File,
    verb: &'static str,
    /// The runtime's process; its child is shown as a thread of it.
    process: u32,
    thread: &'static str,
    events: String,
}

/// Starts tracing to `path`, which is made, or appended to.
///
/// # Errors
/// The file cannot be opened.
pub fn begin(path: &Path, verb: &'static str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.append(true).create(true).mode(0o600).open(path).with_context(|| path.display().to_string())?;
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        file.write_all(b"[\n").with_context(|| path.display().to_string())?;
    }
    let trace = Trace { file, verb, process: std::process::id(), thread: "runtime", events: String::new() };
    with(|slot| *slot = Some(trace));
    ON.store(true, Ordering::Relaxed);
    Ok(())
}

/// Does `work`, and notes how long that took under `name`.
pub fn span<T>(name: &str, work: impl FnOnce() -> T) -> T {
    if !ON.load(Ordering::Relaxed) {
        return work();
    }
    let start = now();
    let result = work();
    note(name, start, now());
    result
}

/// In the child after the clone: what is noted from here on is init's.
pub fn in_child(thread: &'static str) {
    with(|slot| {
        if let Some(trace) = slot {
            trace.thread = thread;
            trace.events.clear();
        }
    });
}

/// The trace's descriptor, which must not be closed meanwhile.
pub fn fd() -> Option<RawFd> {
    if !ON.load(Ordering::Relaxed) {
        return None;
    }
    let mut found = None;
    with(|slot| found = slot.as_ref().map(|trace| trace.file.as_raw_fd()));
    found
}

/// Writes what has been noted, by one write(2): a seccomp filter may be in force. Nothing is lost but the trace if it fails.
pub fn end() {
    if ON.swap(false, Ordering::Relaxed) {
        with(|slot| {
            if let Some(mut trace) = slot.take() {
                let _ = trace.file.write_all(trace.events.as_bytes());
            }
        });
    }
}

fn with(what: impl FnOnce(&mut Option<Trace>)) {
    if let Ok(mut slot) = TRACE.lock() {
        what(&mut slot);
    }
}

fn note(name: &str, start: f64, end: f64) {
    with(|slot| {
        let Some(trace) = slot else { return };
        let Trace { verb, process, thread, events, .. } = trace;
        let _ = writeln!(
            events,
            "{{\"name\":\"{name}\",\"cat\":\"{verb}\",\"ph\":\"X\",\"ts\":{start:.1},\"dur\":{:.1},\"pid\":{process},\"tid\":\"{thread}\"}},",
            end - start
        );
    });
}

/// Microseconds. Not the monotonic clock: a time namespace shifts that for the child.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_nanos() as f64 / 1000.0)
}
