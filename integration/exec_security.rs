//! What a program that joins may do: capabilities, no_new_privs, labels. Published holes are in `cve/`.

use crate::exec::{exec, sh};
use crate::harness::{Bundle, json};

/// The five sets of the program: inheritable, permitted, effective, bounding, ambient.
#[track_caller]
pub fn sets(bundle: &Bundle, flags: &[&str]) -> [u64; 5] {
    let output = sh(bundle, flags, "grep Cap /proc/self/status").ok();
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .map(|key| u64::from_str_radix(output.field(key), 16).unwrap())
}

pub const CHOWN: u64 = 1 << 0;
pub const NET_RAW: u64 = 1 << 13;

#[test]
fn capabilities_are_the_containers() {
    let mut bundle = Bundle::waiting();
    let one = json!(["CAP_CHOWN"]);
    bundle.set("/process/capabilities", json!({ "bounding": one, "permitted": one, "effective": one }));
    let _container = bundle.started();
    assert_eq!(sets(&bundle, &[]), [0, CHOWN, CHOWN, CHOWN, 0]);
    assert_eq!(sets(&bundle, &["-u", "1000"]), [0, 0, 0, CHOWN, 0]);
}

#[test]
fn no_new_privileges_and_labels_are_the_containers_or_the_flags() {
    differs!("crun", "crun does not take the container's");
    for (given, flags, expected) in [(true, &[][..], "1"), (false, &[], "0"), (false, &["--no-new-privs"], "1")] {
        let mut bundle = Bundle::waiting();
        bundle.set("/process/noNewPrivileges", given);
        let _container = bundle.started();
        let output = exec(&bundle, flags, &["grep", "NoNewPrivs", "/proc/self/status"]).ok();
        assert_eq!(output.field("NoNewPrivs:"), expected);
    }
}

#[test]
fn a_label_that_the_host_does_not_have_is_refused() {
    if std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        skip!("about hosts without AppArmor");
    }
    differs!("crun", "crun looks first whether there is AppArmor, and goes on without");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    exec(&bundle, &["--apparmor", "a-profile"], &["true"]).code_is(255);
    if crate::harness::is_oarlock() {
        exec(&bundle, &["--process-label", "a_u:b_r:c_t:s0"], &["true"]).code_is(255).says("a_u:b_r:c_t:s0");
    }
}
