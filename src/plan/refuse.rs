//! The one list of what is understood but not honoured yet. It is refused by name: nothing is parsed and then ignored.

use oci_spec::runtime::Spec;

use super::cgroup::Manager;
use super::{Options, Result};
use crate::error::InputError;

fn refuse(at: impl Into<String>) -> InputError {
    InputError::new(at, "is not supported yet").hint("remove it, or use another runtime for this container")
}

/// # Errors
/// The first field or flag that is not honoured yet.
pub fn unsupported(spec: &Spec, options: &Options) -> Result<()> {
    if options.cgroup_manager == Manager::Systemd {
        return Err(refuse("--systemd-cgroup").hint("use the cgroupfs driver"));
    }
    let linux = spec.linux().as_ref();
    let flags = linux.and_then(|linux| linux.personality().as_ref()).and_then(|p| p.flags().as_deref());
    if flags.is_some_and(|flags| !flags.is_empty()) {
        return Err(InputError::new("linux.personality.flags", "the specification defines no flags"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, options, spec};
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_not_honoured_is_refused_by_name() {
        let flags = json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["X"] } } });
        let text = error(unsupported(&spec(flags), &options()));
        assert!(text.starts_with("linux.personality.flags: "), "{text}");
        let systemd = Options { cgroup_manager: Manager::Systemd, ..options() };
        assert!(error(unsupported(&spec(json!({})), &systemd)).starts_with("--systemd-cgroup: "));
        assert_eq!(unsupported(&spec(json!({})), &options()), Ok(()));
    }
}
