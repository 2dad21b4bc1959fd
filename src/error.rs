//! The two shapes of failure: something the user can mend ([`InputError`]), and a call that the kernel refused
//! ([`crate::sys::SysError`]). Everything else is context that `anyhow` puts before one of them.

use std::fmt::{self, Write};

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
        write!(f, "{}: {}", OneLine(&self.at), OneLine(&self.what))?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {})", OneLine(hint)),
            None => Ok(()),
        }
    }
}

/// Text in which somebody else's words may stand, a property's name for one: whoever reads a log takes a line for a message,
/// and a terminal obeys control characters.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

impl std::error::Error for InputError {}

#[cfg(test)]
mod tests {
    use super::InputError;

    #[test]
    fn whatever_stands_in_a_document_the_message_is_one_line() {
        let error = InputError::new("annotations.a\nb", "\u{1b}[2J is none").hint("\0");
        assert_eq!(error.to_string(), "annotations.a\\nb: \\u{1b}[2J is none (hint: \\u{0})");
    }
}
