//! The one list of what is understood but not honoured yet. It is refused by name: nothing is parsed and then ignored.

use oci_spec::runtime::{Mount, Spec};

use super::cgroup::Manager;
use super::{Options, Result};
use crate::error::InputError;

/// Mount options that need more than the mount calls made today.
const MOUNT_OPTIONS: &[&str] = &["copy-symlink", "src-nofollow", "dest-nofollow"];

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
    spec.mounts().iter().flatten().enumerate().try_for_each(|(i, m)| mount(&format!("mounts[{i}]"), m))
}

fn mount(at: &str, mount: &Mount) -> Result<()> {
    for (i, option) in mount.options().iter().flatten().enumerate() {
        if MOUNT_OPTIONS.contains(&option.as_str()) {
            let what = format!("the mount option {option:?} is not supported yet");
            return Err(InputError::new(format!("{at}.options[{i}]"), what));
        }
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
        let mount = |extra: serde_json::Value| {
            let mut mount = json!({ "destination": "/x", "source": "/y", "type": "bind" });
            mount.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            json!({ "mounts": [mount] })
        };
        for (document, at) in [
            (json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["X"] } } }), "linux.personality.flags"),
            (mount(json!({ "options": ["copy-symlink"] })), "mounts[0].options[0]"),
        ] {
            let text = error(unsupported(&spec(document), &options()));
            assert!(text.starts_with(&format!("{at}: ")), "{text}");
        }
        let systemd = Options { cgroup_manager: Manager::Systemd, ..options() };
        assert!(error(unsupported(&spec(json!({})), &systemd)).starts_with("--systemd-cgroup: "));
        assert_eq!(unsupported(&spec(json!({})), &options()), Ok(()));
    }
}
