//! `check` and `doctor`: what is said of a bundle and of a host, held against what the bundle and the host are. Only
//! oarlock has them.

use std::fs;

use crate::harness::{Bundle, Output, Value, json};

fn check(bundle: &Bundle, format: &str) -> Output {
    bundle.write();
    bundle.rt.call(["check", "--format", format, bundle.path("").to_str().unwrap()])
}

/// The kinds of the findings of one severity.
fn kinds(report: &Value, severity: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == severity);
    findings.map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_exit_status_tells_the_worst_and_the_report_where_it_stands() {
    only_oarlock!("`check` is oarlock's");
    let mut bundle = Bundle::new();
    let output = check(&bundle, "json").code_is(2);
    let report = output.json();
    assert_eq!(report["problems"], json!([]));
    assert!(kinds(&report, "warning").contains(&"host-root".to_owned()), "{output}");
    assert!(kinds(&report, "danger").is_empty(), "{output}");

    bundle.bind("/etc".as_ref(), "/host-etc", &["rbind"]);
    let output = check(&bundle, "json").code_is(3);
    let danger = &output.json()["findings"][0];
    assert_eq!((&danger["kind"], &danger["at"]), (&json!("writable-host-path"), &json!("mounts[7]")), "{output}");
    let text = check(&bundle, "text").code_is(3);
    assert!(text.stdout.starts_with("danger   mounts[7]: /etc of the host is writable"), "{text}");
    assert!(text.stdout.lines().last().unwrap().starts_with("0 refused, 1 danger, "), "{text}");
}

#[test]
fn the_danger_that_is_told_is_real() {
    only_oarlock!("`check` is oarlock's");
    let mut bundle = Bundle::sh("echo written > /host/file");
    let canary = bundle.host_dir("usr");
    bundle.bind(&canary, "/host", &["rbind"]);
    assert!(kinds(&check(&bundle, "json").json(), "note").contains(&"writable-bind".to_owned()));
    bundle.run().ok();
    assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "written\n");
}

#[test]
fn what_create_would_refuse_is_told_first() {
    only_oarlock!("`check` is oarlock's");
    let mut bundle = Bundle::new();
    bundle.set("/mounts/0/destination", "relative");
    let output = check(&bundle, "json").code_is(1);
    assert_eq!(output.json()["problems"][0]["at"], "mounts[0].destination", "{output}");
    let text = check(&bundle, "text").code_is(1);
    assert!(text.stdout.starts_with("refused  mounts[0].destination: "), "{text}");
    assert!(text.stdout.ends_with("1 refused, 0 danger, 0 warning, 0 note\n"), "{text}");
    bundle.refused().names("mounts[0].destination");
}

#[test]
fn a_bundle_that_is_not_there_is_an_error_not_a_finding() {
    only_oarlock!("`check` is oarlock's");
    let bundle = Bundle::new();
    bundle.rt.call(["check", "/nowhere"]).names("/nowhere");
}

#[test]
fn the_doctor_says_of_the_host_what_its_files_say() {
    only_oarlock!("`doctor` is oarlock's");
    let bundle = Bundle::new();
    let report = bundle.rt.call(["doctor", "--format", "json"]).ok().json();
    let find = |name: &str| {
        let mut findings = report.as_array().unwrap().iter();
        findings.find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(find("release")["detail"], release.trim());
    assert_eq!(find("openat2")["state"], "ok");
    let expected = |there| if there { "ok" } else { "missing" };
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text == "Y\n");
    assert_eq!(find("AppArmor")["state"], expected(apparmor));
    let resctrl = fs::metadata("/sys/fs/resctrl/schemata").is_ok();
    assert_eq!(find("resctrl")["state"], expected(resctrl));
    for finding in report.as_array().unwrap() {
        assert_eq!(finding["cost"].is_string(), finding["state"] != "ok", "{finding}");
    }
    let text = bundle.rt.call(["doctor"]).ok();
    assert!(text.stdout.starts_with("namespaces\n  ok      user "), "{text}");
}

#[test]
fn the_doctor_tells_what_is_missing_for_lack_of_privileges() {
    only_oarlock!("`doctor` is oarlock's");
    let bundle = Bundle::new();
    let command = bundle.rt.command(["doctor"]);
    let output = bundle.rt.finish(bundle.rt.after("unset XDG_RUNTIME_DIR", &command)).ok();
    assert!(output.stdout.contains("missing XDG_RUNTIME_DIR"), "{output}");
}
