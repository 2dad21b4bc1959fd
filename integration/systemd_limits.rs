//! The systemd driver: limits and device rules as properties of the unit, in the cgroup files behind it, and in force; and
//! properties by annotation.

use std::path::Path;

use crate::harness::systemd::{exec, gone, path, scoped, show, systemctl, unit};
use crate::harness::{Bundle, cgroup, json};

#[test]
fn limits_are_properties_and_are_in_the_files() {
    need_systemd!();
    let v2 = cgroup::is_v2();
    let has = |name| if v2 { cgroup::has_v2(name) } else { cgroup::has_v1(name) };
    let cases = [
        (
            "memory",
            "memory",
            json!({"limit": 33_554_432}),
            if v2 { "MemoryMax" } else { "MemoryLimit" },
            "33554432",
            ("memory.limit_in_bytes", "memory.max"),
            "33554432",
        ),
        ("pids", "pids", json!({"limit": 42}), "TasksMax", "42", ("pids.max", "pids.max"), "42"),
        (
            "cpu",
            "cpu",
            json!({"shares": 1024}),
            if v2 { "CPUWeight" } else { "CPUShares" },
            if v2 { "100" } else { "1024" },
            ("cpu.shares", "cpu.weight"),
            if v2 { "100" } else { "1024" },
        ),
        // Whole percents for systemd, the exact number for the kernel.
        (
            "cpu",
            "cpu",
            json!({"quota": 12_345, "period": 50_000}),
            "CPUQuotaPerSecUSec",
            "250ms",
            ("cpu.cfs_quota_us", "cpu.max"),
            if v2 { "12345 50000" } else { "12345" },
        ),
        ("cpuset", "cpu", json!({"cpus": "0"}), "AllowedCPUs", "0", ("cpuset.cpus", "cpuset.cpus"), "0"),
    ];
    let mut tried = 0;
    for (controller, section, limit, property, shown, (v1_file, v2_file), content) in cases {
        if !has(controller) {
            continue;
        }
        tried += 1;
        let mut bundle = scoped(Bundle::waiting());
        bundle.set(&format!("/linux/resources/{section}"), limit);
        let container = bundle.create();
        assert_eq!(show(&unit(&bundle))[property], shown, "{property}");
        let read = || {
            if v2 {
                cgroup::read("", &path(&bundle), v2_file)
            } else {
                cgroup::read(controller, &path(&bundle), v1_file)
            }
        };
        assert_eq!(read(), content);
        // What systemd knows, it does not set back when it reads everything anew.
        if property != "CPUQuotaPerSecUSec" {
            systemctl(&["daemon-reload"]);
            assert_eq!(read(), content, "after daemon-reload");
        }
        container.delete_force();
        gone(&bundle);
    }
    if tried == 0 {
        skip!("the host has none of the controllers");
    }
}

#[test]
fn a_limit_without_a_property_is_in_the_files_alone() {
    need_systemd!();
    if !cgroup::has_v2("hugetlb") || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        skip!("no hugetlb controller on v2");
    }
    if std::fs::write(cgroup::file("", "/", "cgroup.subtree_control"), "+hugetlb").is_err() {
        skip!("the root cgroup cannot hand the hugetlb controller down");
    }
    let mut bundle = scoped(Bundle::waiting());
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    let container = bundle.create();
    assert_eq!(cgroup::read("", &path(&bundle), "hugetlb.2MB.max"), "4194304");
    container.delete_force();
    gone(&bundle);
}

#[test]
fn update_changes_property_and_file() {
    need_systemd!();
    if !cgroup::has_v2("memory") || !cgroup::has_v2("pids") {
        skip!("no memory and pids controllers on v2");
    }
    let mut bundle = scoped(Bundle::waiting());
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864}));
    let container = bundle.started();
    container.call("update", &["--memory=33554432", "--pids-limit=17", "--cpu-quota=30000"]).ok();
    let shown = show(&unit(&bundle));
    assert_eq!((&shown["MemoryMax"][..], &shown["TasksMax"][..]), ("33554432", "17"));
    assert_eq!(cgroup::read("", &path(&bundle), "memory.max"), "33554432");
    assert_eq!(cgroup::read("", &path(&bundle), "pids.max"), "17");
    systemctl(&["daemon-reload"]);
    assert_eq!(cgroup::read("", &path(&bundle), "memory.max"), "33554432");
    assert_eq!(cgroup::read("", &path(&bundle), "pids.max"), "17");
    container.delete_force();
    gone(&bundle);
}

#[test]
fn annotations_set_properties() {
    need_systemd!();
    let mut bundle = scoped(Bundle::waiting());
    bundle.set(
        "/annotations",
        json!({
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
            "org.systemd.property.Before": "['oarlock_test_other.service']",
        }),
    );
    let container = bundle.create();
    let shown = show(&unit(&bundle));
    assert_eq!((&shown["CollectMode"][..], &shown["TimeoutStopUSec"][..]), ("inactive-or-failed", "7s"));
    assert!(shown["Before"].contains("oarlock_test_other.service"), "{}", shown["Before"]);
    container.delete_force();
    gone(&bundle);
    // What systemd does not know is told by its words, and nothing is left.
    bundle.set("/annotations", json!({"org.systemd.property.NoSuchThing": "true"}));
    bundle.refused().says("NoSuchThing");
    gone(&bundle);
}

#[test]
fn seconds_are_microseconds_on_the_bus() {
    need_systemd!();
    let mut bundle = scoped(Bundle::waiting());
    bundle.set("/annotations", json!({"org.systemd.property.TimeoutStopSec": "9"}));
    let container = bundle.create();
    assert_eq!(show(&unit(&bundle))["TimeoutStopUSec"], "9s");
    container.delete_force();
}

#[test]
fn a_device_rule_survives_a_daemon_reload() {
    need_systemd!();
    let mut bundle = scoped(Bundle::waiting());
    bundle.push(
        "/linux/resources/devices",
        json!({"allow": true, "type": "c", "major": 10, "minor": 250, "access": "rw"}),
    );
    let container = bundle.started();
    assert_eq!(show(&unit(&bundle))["DevicePolicy"], "strict");
    let allowed = systemctl(&["show", "--property=DeviceAllow", &unit(&bundle)]);
    assert!(allowed.contains("/dev/char/10:250 rw"), "{allowed}");
    exec(&bundle, "mknod /dev/yes c 10 250 && mknod /dev/no c 10 251").ok();
    let look = || {
        // No such device is behind either: what may not even be tried says so first.
        exec(&bundle, "cat /dev/yes").code_is(1).says("No such device");
        exec(&bundle, "cat /dev/no").code_is(1).says("not permitted");
        exec(&bundle, "echo > /dev/null && head -c1 /dev/zero | wc -c").ok().prints("1");
    };
    look();
    systemctl(&["daemon-reload"]);
    look();
    systemctl(&["set-property", "--runtime", &unit(&bundle), "CPUWeight=77"]);
    look();
    container.delete_force();
    gone(&bundle);
}

#[test]
fn rules_that_systemd_cannot_say_are_in_force_all_the_same() {
    need_systemd!();
    let all_but_one = json!([
        {"allow": true, "access": "rwm"},
        {"allow": false, "type": "c", "major": 10, "minor": 251, "access": "rw"},
    ]);
    // No driver has the major number 77.
    let a_number_without_a_name = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 77, "access": "rw"},
        {"allow": true, "type": "c", "major": 10, "minor": 250, "access": "rw"},
    ]);
    for rules in [all_but_one, a_number_without_a_name] {
        let mut bundle = scoped(Bundle::waiting());
        bundle.set("/linux/resources/devices", rules);
        let container = bundle.started();
        assert_eq!(show(&unit(&bundle))["DevicePolicy"], "auto");
        exec(&bundle, "mknod /dev/yes c 10 250 && mknod /dev/no c 10 251").ok();
        let look = || {
            exec(&bundle, "cat /dev/yes").code_is(1).says("No such device");
            exec(&bundle, "cat /dev/no").code_is(1).says("not permitted");
        };
        look();
        systemctl(&["daemon-reload"]);
        look();
        // What it does in its own time too: its own rules, once more.
        systemctl(&["set-property", "--runtime", &unit(&bundle), "DevicePolicy=auto"]);
        // Written before it answers again.
        show(&unit(&bundle));
        look();
        container.delete_force();
        gone(&bundle);
    }
}
