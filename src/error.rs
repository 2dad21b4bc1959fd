//! The two shapes of failure: something the user can mend ([`InputError`]), and a call that the kernel refused
//! ([`crate::sys::SysError`]). Everything else is context that `anyhow` puts before one of them.

use std::fmt;

/// A mistake in the user's input, named by where it stands.
///
/// Displays as one line: `linux.namespaces[2].type: unknown namespace "foo" (hint: …)`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InputError {
    /// The JSON path (`mounts[3].options[1]`) or flag (`--pid-file`) that is wrong.
    pub at: String,
    /// Why it is refused.
    pub what: String,
    /// What the person can do about it.
    pub hint: Option<String>,
}

impl InputError {
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for InputError {}
