//! What a Plan gives up of a container's isolation: `oarlock check`. Pure, like the Plan itself. Not for whether the
//! document is right or the host can do it: that is `plan::compile`, and what it finds is refused by `create`.

mod cgroup;
mod mounts;
mod namespaces;
mod process;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::plan::Plan;
use crate::plan::namespaces::Kind;

/// How much a finding matters. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; usual in containers that are otherwise well kept.
    Note,
    /// A layer of defence is missing: one hole in the kernel or in the program is enough to get out.
    Warning,
    /// The program can take over the host, or parts of it, without any hole.
    Danger,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Danger => "danger",
        }
    }
}

/// One thing that the review found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name for scripts: `writable-host-path`.
    pub kind: &'static str,
    pub severity: Severity,
    /// The JSON path in config.json.
    pub at: String,
    /// What is so, and what it allows.
    pub what: String,
    /// What the person can do about it.
    pub hint: String,
}

/// What the review must know of the host: which security modules its kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modules {
    pub apparmor: bool,
    pub selinux: bool,
}

/// The findings so far, and what all rules look at.
struct Review<'a> {
    plan: &'a Plan,
    modules: Modules,
    findings: Vec<Finding>,
}

impl Review<'_> {
    fn add(
        &mut self,
        severity: Severity,
        kind: &'static str,
        at: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.findings.push(Finding { kind, severity, at: at.into(), what: what.into(), hint: hint.into() });
    }

    /// Root inside is somebody without privileges outside: what it may do with its capabilities ends at what its
    /// namespaces own.
    fn user_namespace(&self) -> bool {
        self.plan.namespaces.has(Kind::User)
    }

    /// `severity` where root inside is the host's root; one step less in a user namespace.
    fn unless_mapped(&self, severity: Severity) -> Severity {
        match severity {
            Severity::Danger if self.user_namespace() => Severity::Warning,
            Severity::Warning if self.user_namespace() => Severity::Note,
            other => other,
        }
    }
}

/// Everything found, the worst first; in the order of the rules among equals.
pub fn review(plan: &Plan, modules: Modules) -> Vec<Finding> {
    const RULES: [fn(&mut Review<'_>); 4] = [namespaces::look, process::look, mounts::look, cgroup::look];
    let mut review = Review { plan, modules, findings: Vec::new() };
    for rule in RULES {
        rule(&mut review);
    }
    review.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    review.findings
}
