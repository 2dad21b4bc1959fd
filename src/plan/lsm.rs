//! Labels and profiles of Linux security modules, checked as text. Whether the host has the module is known only to its
//! kernel, which answers when the label is written.

use super::{Result, no_nul};
use crate::error::InputError;

/// An AppArmor profile, an SELinux process or mount label; `None` when absent or empty, which means unset to every client.
///
/// # Errors
/// A NUL byte or a line break: `/proc/PID/attr` takes one line.
pub fn label(at: &str, given: Option<&String>) -> Result<Option<String>> {
    let Some(label) = given.filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    no_nul(at, label)?;
    if label.contains('\n') {
        return Err(InputError::new(at, "has a line break"));
    }
    Ok(Some(label.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: process.{apparmorProfile,selinuxLabel}
    #[test]
    fn a_label_is_one_line_and_empty_means_unset() {
        let text = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675".to_owned();
        assert_eq!(label("process.selinuxLabel", Some(&text)).unwrap(), Some(text));
        assert_eq!(label("process.selinuxLabel", Some(&String::new())).unwrap(), None);
        assert!(label("process.selinuxLabel", Some(&"a\nb".to_owned())).is_err());
    }
}
