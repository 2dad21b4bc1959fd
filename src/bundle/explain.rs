//! Says what is wrong with a JSON document in the words of JSON, not of the parser: path, expected, found. Not for
//! deciding whether it is wrong.

use serde_json::Value;

use crate::error::InputError;

/// The parser's name for a type, and what a person writing JSON calls it.
const TYPES: &[(&str, &str)] = &[
    ("a boolean", "true or false"),
    ("a sequence", "an array"),
    ("sequence", "an array"),
    ("a map", "an object"),
    ("map", "an object"),
    ("path string", "a string"),
    ("i32", "an integer from -2147483648 to 2147483647"),
    ("i64", "an integer from -9223372036854775808 to 9223372036854775807"),
    ("u16", "an integer from 0 to 65535"),
    ("u32", "an integer from 0 to 4294967295"),
    ("u64", "an integer from 0 to 18446744073709551615"),
    ("usize", "an integer from 0 to 18446744073709551615"),
];

/// A document that is not JSON.
pub(super) fn syntax(error: &serde_json::Error) -> InputError {
    let text = error.to_string();
    // The position stands in `at`; the parser repeats it at the end of its text.
    let what = text.split(" at line ").next().unwrap_or(&text);
    InputError::new(
        format!("line {} column {}", error.line(), error.column()),
        format!("the configuration is not JSON: {what}"),
    )
}

/// A document with a byte at `offset` that is not UTF-8 (RFC 8259 section 8.1).
pub(super) fn not_utf8(bytes: &[u8], offset: usize) -> InputError {
    let before = &bytes[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = offset - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) + 1;
    InputError::new(format!("line {line} column {column}"), "the configuration is not UTF-8")
}

/// JSON in which something does not have the type, or is none of the names, that the specification gives it.
pub(super) fn mismatch(path: &str, error: &serde_json::Error) -> InputError {
    let at = if path == "." { "" } else { path };
    let text = error.to_string();
    if let Some(field) = quoted(&text, "missing field ") {
        let at = if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
        return InputError::new(at, "is required");
    }
    let at = if at.is_empty() { "(document)" } else { at };
    if let Some(name) = quoted(&text, "unknown variant ") {
        let allowed = text.split_once(", expected ").map_or("", |(_, rest)| rest);
        let allowed = allowed.trim_start_matches("one of ").replace('`', "");
        return InputError::new(at, format!("unknown value {name:?}")).hint(format!("allowed: {allowed}"));
    }
    match text.split_once(": ").and_then(|(_, rest)| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => InputError::new(at, format!("expected {}, found {}", plain(expected), plain(found))),
        None => InputError::new(at, text),
    }
}

/// What stands in backquotes after `prefix` at the start of `text`.
fn quoted<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// A type in the parser's words, in JSON's.
fn plain(name: &str) -> String {
    match TYPES.iter().find(|(theirs, _)| *theirs == name) {
        Some((_, ours)) => (*ours).to_owned(),
        None if name.starts_with("struct ") => "an object".to_owned(),
        None => name.replace('`', ""),
    }
}

/// The JSON type of `value`, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
