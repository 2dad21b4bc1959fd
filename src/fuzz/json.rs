//! Documents from short lines, so that a mutation of a few bytes is a change of one property and not the end of the JSON.
//!
//! `/linux/resources/cpu/cpus=0-3` sets the property at that JSON pointer (RFC 6901) to a value, which is JSON if it can
//! be and text if not; without `=` the property goes. Objects and arrays on the way are made.

use serde_json::{Map, Value, json};

/// What most bytes go on top of: a container with a namespace of each kind.
pub fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 } },
        "linux": {
            "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "network" },
                { "type": "cgroup" }
            ]
        }
    })
}

/// `document` with the changes in `lines`.
pub fn changed(mut document: Value, lines: &str) -> Value {
    for line in lines.lines() {
        match line.split_once('=') {
            Some((at, value)) => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                if let Some(place) = place(&mut document, at) {
                    *place = value;
                }
            }
            None => remove(&mut document, line),
        }
    }
    document
}

/// The longest array that an index makes.
const LONGEST: usize = 64;

fn place<'a>(document: &'a mut Value, at: &str) -> Option<&'a mut Value> {
    at.strip_prefix('/')?.split('/').try_fold(document, |value, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        let index = part.parse::<usize>().ok().filter(|index| *index < LONGEST);
        match (&mut *value, index) {
            (Value::Array(_) | Value::Object(_), _) => {}
            (_, Some(_)) => *value = Value::Array(Vec::new()),
            (_, None) => *value = Value::Object(Map::new()),
        }
        match value {
            Value::Array(items) => {
                let index = index?;
                items.resize(items.len().max(index + 1), Value::Null);
                items.get_mut(index)
            }
            Value::Object(fields) => Some(fields.entry(part).or_insert(Value::Null)),
            _ => None,
        }
    })
}

fn remove(document: &mut Value, at: &str) {
    let Some((parent, name)) = at.rsplit_once('/') else { return };
    match (document.pointer_mut(parent), name.parse::<usize>()) {
        (Some(Value::Object(fields)), _) => drop(fields.remove(name)),
        (Some(Value::Array(items)), Ok(index)) if index < items.len() => drop(items.remove(index)),
        _ => {}
    }
}
