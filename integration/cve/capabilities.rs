//! Capabilities that nobody asked for: CVE-2022-24769 (Docker), CVE-2022-29162 (runc), CVE-2022-27650 (crun),
//! CVE-2025-27612 (youki).

use std::fs;

use crate::exec::exec;
use crate::exec_security::{CHOWN, NET_RAW, sets};
use crate::harness::{Bundle, Value, is_oarlock, json};

#[test]
fn cve_2022_29162_spec_asks_for_no_inheritable_capability() {
    let bundle = Bundle::new();
    bundle.rt.call(["spec", "--bundle", bundle.path("").to_str().unwrap()]).ok();
    let text = fs::read_to_string(bundle.path("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let inheritable = &config["process"]["capabilities"]["inheritable"];
    assert!(inheritable.as_array().is_none_or(Vec::is_empty), "{inheritable}");
}

#[test]
fn cve_2022_24769_the_program_has_no_inheritable_capability_unasked() {
    let output = Bundle::sh("grep CapInh /proc/self/status").run().ok();
    assert_eq!(output.field("CapInh:"), "0000000000000000");
}

#[test]
fn cve_2022_29162_a_capability_asked_for_is_not_inheritable() {
    differs!("crun", "crun gives what is asked for in place of the container's");
    let mut bundle = Bundle::waiting();
    let one = json!(["CAP_CHOWN"]);
    bundle.set("/process/capabilities", json!({ "bounding": one, "permitted": one, "effective": one }));
    let _container = bundle.started();
    let both = CHOWN | NET_RAW;
    assert_eq!(sets(&bundle, &["--cap", "CAP_NET_RAW"]), [0, both, both, both, 0]);
    // A user other than root gains nothing but the bound.
    assert_eq!(sets(&bundle, &["-c", "CAP_NET_RAW", "-u", "1000"]), [0, 0, 0, both, 0]);
    if is_oarlock() {
        exec(&bundle, &["-c", "CAP_OF_TOMORROW"], &["true"]).code_is(255).says("--cap");
    }
}

#[test]
fn cve_2025_27612_capabilities_that_are_not_asked_for_are_not_invented() {
    let mut bundle = Bundle::sh("grep Cap /proc/self/status");
    bundle.remove("/process/capabilities");
    let output = bundle.run().ok();
    for set in ["CapInh:", "CapAmb:", "CapEff:", "CapPrm:"] {
        assert_eq!(output.field(set), "0000000000000000", "{set} {output}");
    }
}

#[test]
fn cve_2025_27612_a_container_without_capabilities_gives_none() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/capabilities", json!({}));
    let _container = bundle.started();
    assert_eq!(sets(&bundle, &[]), [0; 5]);
    let document = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
        "args": ["grep", "CapEff", "/proc/self/status"] });
    let file = bundle.path("process.json");
    fs::write(&file, document.to_string()).unwrap();
    let output = exec(&bundle, &["--process", file.to_str().unwrap()], &[]).ok();
    assert_eq!(output.field("CapEff:"), "0000000000000000");
}
