//! What this host can do for containers, found by trying, not by comparing version numbers: `oarlock doctor`. Not for
//! the way to a container, which probes only what it needs (`host`).

mod kernel;
mod privileges;
mod resources;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::cgroup::layout::Layout;
use crate::sys::Result as SysResult;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Some containers, or some of their settings, do without.
    Missing,
    /// No container can be made.
    Broken,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Broken => "broken",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `cgroup`, `namespaces`, …
    pub section: &'static str,
    pub name: String,
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What its want costs; absent where nothing is wanting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<&'static str>,
}

/// Collects the findings of one section.
struct Section {
    name: &'static str,
    findings: Vec<Finding>,
}

impl Section {
    fn new(name: &'static str) -> Self {
        Self { name, findings: Vec::new() }
    }

    fn ok(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.add(name, State::Ok, detail, None);
    }

    fn add(&mut self, name: impl Into<String>, state: State, detail: impl Into<String>, cost: Option<&'static str>) {
        let (name, detail) = (name.into(), detail.into());
        self.findings.push(Finding { section: self.name, name, state, detail, cost });
    }

    /// Is it there? `cost` tells what its want costs.
    fn has(&mut self, name: impl Into<String>, there: bool, detail: impl Into<String>, cost: &'static str) {
        let (state, cost) = if there { (State::Ok, None) } else { (State::Missing, Some(cost)) };
        self.add(name, state, detail, cost);
    }

    /// The outcome of a call that was tried.
    fn tried<T>(&mut self, name: &str, result: &SysResult<T>, without: State, cost: &'static str) {
        match result {
            Ok(_) => self.ok(name, "works"),
            Err(error) => self.add(name, without, error.to_string(), Some(cost)),
        }
    }

    /// A file or directory whose presence tells.
    fn path(&mut self, name: &str, path: &str, cost: &'static str) {
        let there = Path::new(path).exists();
        let detail = if there { path.to_owned() } else { format!("no {path}") };
        self.has(name, there, detail, cost);
    }
}

/// Looks at everything.
///
/// # Errors
/// `/proc` cannot be read: nothing could be said then.
pub fn examine() -> Result<Vec<Finding>> {
    let layout = Layout::probe()?;
    let sections = [
        kernel::namespaces(),
        kernel::calls(),
        resources::cgroup(&layout),
        resources::other(),
        kernel::seccomp(),
        privileges::security_modules(),
        privileges::capabilities()?,
        privileges::rootless(),
    ];
    Ok(sections.into_iter().flat_map(|section| section.findings).collect())
}
