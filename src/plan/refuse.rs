//! The one list of what is understood but not honoured yet. It is refused by name: nothing is parsed and then ignored.

use oci_spec::runtime::Spec;

use super::Result;
use crate::error::InputError;

/// # Errors
/// The first field that is not honoured yet.
pub fn unsupported(spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    let flags = linux.and_then(|linux| linux.personality().as_ref()).and_then(|p| p.flags().as_deref());
    if flags.is_some_and(|flags| !flags.is_empty()) {
        return Err(InputError::new("linux.personality.flags", "the specification defines no flags"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, spec};
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_not_honoured_is_refused_by_name() {
        let flags = json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["X"] } } });
        let text = error(unsupported(&spec(flags)));
        assert!(text.starts_with("linux.personality.flags: "), "{text}");
        assert_eq!(unsupported(&spec(json!({}))), Ok(()));
    }
}
