//! `oarlock plan --timings FILE`: what `--trace` has written, as a waterfall for people without a browser.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::error::InputError;

/// The width of the waterfall in characters.
const WIDTH: f64 = 50.0;

/// One event (`trace.rs` writes them); times in microseconds.
#[derive(Debug, Deserialize)]
struct Event {
    name: String,
    #[serde(rename = "cat")]
    verb: String,
    #[serde(rename = "ts")]
    start: f64,
    #[serde(rename = "dur")]
    took: f64,
    #[serde(rename = "pid")]
    process: u32,
    #[serde(rename = "tid")]
    thread: String,
}

/// The waterfall of each verb in the file, in the order of their beginning.
///
/// # Errors
/// The file cannot be read, or is no trace of ours.
pub fn of(file: &Path) -> Result<String> {
    let text = crate::sys::read_text(file).with_context(|| format!("--timings {}", file.display()))?;
    let broken = |what: String| InputError::new("--timings", what).hint("give a file that --trace has written");
    let mut events = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !["[", "]", ""].contains(line)) {
        let event: Event = serde_json::from_str(line.trim_end_matches(','))
            .map_err(|error| broken(format!("line {} of {}: {error}", i + 1, file.display())))?;
        events.push(event);
    }
    if events.is_empty() {
        bail!(broken(format!("{} holds no event", file.display())));
    }
    // What contains others begins no later and takes longer.
    events.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.took.total_cmp(&a.took)));
    let mut processes: Vec<u32> = Vec::new();
    for event in &events {
        if !processes.contains(&event.process) {
            processes.push(event.process);
        }
    }
    let mut out = String::new();
    for process in processes {
        let own: Vec<&Event> = events.iter().filter(|event| event.process == process).collect();
        waterfall(&own, &mut out);
    }
    Ok(out)
}

fn waterfall(events: &[&Event], out: &mut String) {
    let first = events.iter().map(|event| event.start).fold(f64::INFINITY, f64::min);
    let last = events.iter().map(|event| event.start + event.took).fold(0.0, f64::max);
    let scale = WIDTH / (last - first).max(1.0);
    let _ = writeln!(out, "{}: {:.0} µs", events.first().map_or("", |event| event.verb.as_str()), last - first);
    for event in events {
        let before = ((event.start - first) * scale) as usize;
        let length = ((event.took * scale).round() as usize).max(1);
        let bar = format!("{}{}", " ".repeat(before), "█".repeat(length));
        let _ = writeln!(out, "  {:8} {:20} {:>8.0} µs  {bar}", event.thread, event.name, event.took);
    }
}
