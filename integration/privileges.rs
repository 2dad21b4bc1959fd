//! What the program may do and how the kernel treats it: capabilities, no_new_privs, OOM score, personality,
//! dumpability, the session keyring.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Bundle, json};

/// CAP_CHOWN (0), CAP_DAC_OVERRIDE (1) and CAP_NET_RAW (13) as /proc/PID/status shows them.
const CHOWN: u64 = 1 << 0;
const DAC_OVERRIDE: u64 = 1 << 1;
const NET_RAW: u64 = 1 << 13;

/// The five sets of the program: inheritable, permitted, effective, bounding, ambient.
#[track_caller]
fn sets(bundle: &mut Bundle) -> [u64; 5] {
    bundle.script("grep Cap /proc/self/status");
    let output = bundle.run().ok();
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .map(|key| u64::from_str_radix(output.field(key), 16).unwrap())
}

/// Proves: process.capabilities.{bounding,effective,inheritable,permitted,ambient}
#[test]
fn the_five_capability_sets_are_those_asked_for() {
    let mut bundle = Bundle::new();
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN", "CAP_NET_RAW"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"]
        }),
    );
    // A user that is not root: the kernel would give root's program the whole bounding set at execve.
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(sets(&mut bundle), [CHOWN, CHOWN, CHOWN, CHOWN | DAC_OVERRIDE | NET_RAW, CHOWN]);
}

#[test]
fn roots_sets_follow_the_bounding_set() {
    let mut bundle = Bundle::new();
    let two = json!(["CAP_CHOWN", "CAP_NET_RAW"]);
    bundle.set("/process/capabilities", json!({"bounding": two, "permitted": two, "effective": two}));
    let both = CHOWN | NET_RAW;
    assert_eq!(sets(&mut bundle), [0, both, both, both, 0]);
}

#[test]
fn without_capabilities_there_are_none() {
    let mut bundle = Bundle::new();
    bundle.set("/process/capabilities", json!({}));
    assert_eq!(sets(&mut bundle), [0; 5]);
}

#[test]
fn ambient_capabilities_that_cannot_be_are_left_out_without_a_word() {
    let mut bundle = Bundle::sh("grep CapAmb /proc/self/status");
    bundle.set("/process/capabilities/ambient", json!(["CAP_CHOWN", "CAP_KILL"]));
    let output = bundle.run().ok();
    assert_eq!(output.lines(), ["CapAmb:\t0000000000000000"]);
    assert_eq!(output.stderr, "");
}

#[test]
fn a_user_other_than_root_has_no_capability_without_ambient_ones() {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let [inheritable, permitted, effective, bounding, ambient] = sets(&mut bundle);
    assert_eq!([inheritable, permitted, effective, ambient], [0; 4]);
    assert_ne!(bounding, 0);
}

/// Proves: process.capabilities.bounding
#[test]
fn an_unknown_capability_is_a_warning_and_the_container_runs() {
    let mut bundle = Bundle::new();
    for set in ["bounding", "permitted", "effective"] {
        bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_CHOWN", "CAP_OF_TOMORROW"]));
    }
    bundle.script("grep Cap /proc/self/status");
    let output = bundle.run().ok();
    assert_eq!(u64::from_str_radix(output.field("CapEff:"), 16).unwrap(), CHOWN);
    if crate::harness::runtime::name() != "crun" {
        output.says("CAP_OF_TOMORROW");
    }
}

#[test]
fn a_capability_that_is_not_given_is_refused_by_the_kernel() {
    let mut bundle = Bundle::sh("chown 5 /tmp || echo refused");
    bundle.set("/process/capabilities", json!({}));
    bundle.run().ok().prints("refused");
    Bundle::sh("chown 5 /tmp && echo done").run().ok().prints("done");
}

/// Proves: process.noNewPrivileges
#[test]
fn no_new_privileges_is_set_or_not_as_asked() {
    for (value, expected) in [(true, "1"), (false, "0")] {
        let mut bundle = Bundle::sh("grep NoNewPrivs /proc/self/status");
        bundle.set("/process/noNewPrivileges", value);
        assert_eq!(bundle.run().ok().field("NoNewPrivs:"), expected);
    }
}

#[test]
fn no_new_privileges_holds_against_set_id_programs() {
    let mut bundle = Bundle::new();
    let program = bundle.rootfs("set-id");
    std::fs::copy(crate::harness::base::probe(), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    bundle.args(&["/set-id", "self"]);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    for (value, effective) in [(true, "1000,1000,1000"), (false, "1000,0,0")] {
        bundle.set("/process/noNewPrivileges", value);
        let output = bundle.run().ok();
        assert_eq!(output.field("uids="), effective);
    }
}

/// Proves: process.oomScoreAdj
#[test]
fn the_oom_score_adjustment_is_set() {
    for score in [0, 100, 1000] {
        let mut bundle = Bundle::sh("cat /proc/self/oom_score_adj");
        bundle.set("/process/oomScoreAdj", score);
        bundle.run().ok().prints(&score.to_string());
    }
}

#[test]
fn without_an_oom_score_adjustment_the_callers_is_kept() {
    let here = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    Bundle::sh("cat /proc/self/oom_score_adj").run().ok().prints(here.trim());
}

/// Proves: process.oomScoreAdj
#[test]
fn an_oom_score_adjustment_out_of_range_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/oomScoreAdj", 1001);
    bundle.refused().names("process.oomScoreAdj");
}

#[test]
fn the_oom_score_adjustment_is_set_in_a_user_namespace() {
    let mut bundle = Bundle::sh("cat /proc/self/oom_score_adj");
    bundle.user_namespace().set("/process/oomScoreAdj", 321);
    bundle.run().ok().prints("321");
}

/// Proves: linux.personality.domain
#[test]
fn the_personality_is_set() {
    differs!("runc", "linux.personality came with runc 1.2");
    let mut bundle = Bundle::new();
    bundle.set("/linux/personality", json!({"domain": "LINUX32"})).args(&["uname", "-m"]);
    bundle.run().ok().prints("i686");
}

/// Proves: linux.personality.domain
#[test]
fn an_unknown_personality_is_refused() {
    differs!("runc", "linux.personality came with runc 1.2");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/personality", json!({"domain": "PLAN9"}));
    bundle.refused().names("linux.personality.domain");
}

/// Proves: linux.personality.flags
#[test]
fn flags_of_the_personality_are_refused() {
    // The specification has a place for them, and no value.
    differs!("runc", "linux.personality came with runc 1.2");
    differs!("crun", "crun 1.8.1 ignores them");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}));
    bundle.refused().names("linux.personality.flags");
}

fn is_on(module: &str) -> bool {
    std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| list.split(',').any(|name| name == module))
}

/// Proves: process.{apparmorProfile,selinuxLabel}, linux.mountLabel
#[test]
fn labels_of_modules_that_the_host_lacks_are_refused_by_their_path() {
    only_oarlock!("others ignore some of them");
    for (module, pointer, at) in [
        ("apparmor", "/process/apparmorProfile", "process.apparmorProfile"),
        ("selinux", "/process/selinuxLabel", "process.selinuxLabel"),
        // Whoever mounts something is told.
        ("selinux", "/linux/mountLabel", "mounts["),
    ] {
        if is_on(module) {
            continue;
        }
        let mut bundle = Bundle::waiting();
        bundle.set(pointer, "system_u:system_r:svirt_t:s0:c1,c2");
        bundle.refused().names(at);
    }
}

/// Proves: process.apparmorProfile
#[test]
fn an_apparmor_profile_confines_the_program() {
    let parser = std::process::Command::new("apparmor_parser").arg("--version").output();
    if !is_on("apparmor") || parser.is_err() {
        skip!("the host has no AppArmor, or no apparmor_parser");
    }
    let mut bundle = Bundle::sh("cat /proc/self/attr/current; cat /etc/passwd || echo denied");
    let name = format!("oarlock-{}", bundle.id);
    let file = bundle.host_dir("apparmor").join("profile");
    let profile = format!("profile {name} flags=(attach_disconnected) {{ file, capability, deny /etc/passwd r, }}\n");
    std::fs::write(&file, profile).unwrap();
    let parse = |flag: &str| {
        let status = std::process::Command::new("apparmor_parser").args([flag, "-K"]).arg(&file).status();
        assert!(status.unwrap().success(), "apparmor_parser {flag}");
    };
    parse("-r");
    bundle.set("/process/apparmorProfile", name.clone());
    let output = bundle.run();
    parse("-R");
    assert_eq!(output.lines(), [format!("{name} (enforce)").as_str(), "denied"], "{output}");
}

#[test]
fn the_program_is_an_ordinary_process() {
    let mut bundle = Bundle::new();
    bundle.probe(&["self"]);
    let output = bundle.run().ok();
    for (key, value) in [
        ("pid=", "1"),
        ("sid=", "1"),
        ("pgid=", "1"),
        ("dumpable=", "1"),
        ("keepcaps=", "0"),
        ("pdeathsig=", "0"),
        ("subreaper=", "0"),
        ("personality=", "0"),
        ("uids=", "0,0,0"),
    ] {
        assert_eq!(output.field(key), value, "{key} {output}");
    }
}

#[test]
fn every_container_has_a_session_keyring_of_its_own() {
    let ring = |flags: &[&str]| {
        let mut bundle = Bundle::new();
        bundle.probe(&["keyring"]);
        let output = bundle.run_with(flags).ok();
        let id = output.field("id=").split_whitespace().next().unwrap().to_owned();
        (id, output.lines()[1].to_owned(), bundle.id.clone())
    };
    let (one, description, id) = ring(&[]);
    let (two, ..) = ring(&[]);
    assert_ne!(one, two);
    assert_ne!(one, "-1");
    // keyctl's description ends with the name: `_ses.ID`, as runc names it.
    if crate::harness::runtime::name() != "crun" {
        assert!(description.ends_with(&format!("_ses.{id}")), "{description}");
    }
}

#[test]
fn no_new_keyring_keeps_the_callers() {
    let ring = |flags: &[&str]| {
        let mut bundle = Bundle::new();
        bundle.probe(&["keyring"]);
        bundle.run_with(flags).ok().field("id=").to_owned()
    };
    assert_eq!(ring(&["--no-new-keyring"]), ring(&["--no-new-keyring"]));
}
