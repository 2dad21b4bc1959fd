//! What a configuration may look like, and what each mistake in one is called.

mod broken;

use super::*;

fn accepted(text: &str) -> (Spec, Vec<String>) {
    let mut warn = Vec::new();
    let spec = parse(text.as_bytes(), &mut warn).unwrap_or_else(|e| panic!("{text}\n{e:#}"));
    (spec, warn)
}

fn refused(text: &str) -> InputError {
    match parse(text.as_bytes(), &mut Vec::new()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.downcast().expect("an InputError"),
    }
}

/// A document with `members` besides the required version.
fn with(members: &str) -> String {
    format!(r#"{{"ociVersion": "1.0.0", "root": {{"path": "rootfs"}}, {members}}}"#)
}

fn with_process(members: &str) -> String {
    with(&format!(r#""process": {{"cwd": "/", "user": {{"uid": 0, "gid": 0}}, {members}}}"#))
}

#[test]
fn the_specifications_good_documents_are_accepted() {
    for members in [
        r#""linux": {"netDevices": {"eth0": {"name": "container_eth0"}, "ens4": {}, "ens5": {}}}"#,
        r#""linux": {"resources": {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000},
            "mlx4_0": {"hcaObjects": 1000}}}}"#,
        r#""process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}}"#,
        r#""zos": {}"#,
        r#""zos": {"namespaces": [{"type": "pid"}, {"type": "no such thing"}]}"#,
        r#""process": {"cwd": "/", "args": ["sh"]}, "freebsd": {"devices": [{"path": "pf", "mode": 448}],
            "jail": {"host": "new", "vnet": "new", "enforceStatfs": 1, "allow": {"mount": ["tmpfs"]}}}"#,
        r#""freebsd": {}"#,
        r#""vm": {"hypervisor": {"path": "/usr/bin/qemu"}}"#,
        r#""windows": {"layerFolders": 7}"#,
        r#""noSuchProperty": {"a": [1, null]}"#,
    ] {
        accepted(&with(members));
    }
    accepted(r#"{"ociVersion": "1.0.0", "root": {"path": "rootfs"}}"#);
}

#[test]
fn the_specifications_bad_documents_are_refused_by_path() {
    let error = refused(&with(r#""freebsd": {"jail": {"vnet": "disable"}}"#));
    assert_eq!(error.to_string(), r#"freebsd.jail.vnet: unknown value "disable" (hint: allowed: new, inherit)"#);
    let error = refused(&with(r#""freebsd": {"jail": 5}"#));
    assert_eq!(error.to_string(), "freebsd.jail: expected an object, found a number");
    let error = refused(&with(r#""linux": {"netDevices": {"eth0": {"name": 23}}}"#));
    assert_eq!(error.to_string(), "linux.netDevices.eth0.name: expected a string, found integer 23");
    let error = refused(&with(r#""linux": {"resources": {"rdma": {"mlx5_1": {"hcaHandles": "not a uint32"}}}}"#));
    assert_eq!(error.at, "linux.resources.rdma.mlx5_1.hcaHandles");
    assert_eq!(error.what, r#"expected an integer from 0 to 4294967295, found string "not a uint32""#);
    assert_eq!(refused("{]").to_string(), "line 1 column 2: the configuration is not JSON: key must be a string");
}

#[test]
fn versions_are_lax_but_not_boundless() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.9.0+x", "0.5.0-dev", "1"] {
        let (spec, warn) = accepted(&format!(r#"{{"ociVersion": "{version}"}}"#));
        assert_eq!((spec.version().as_str(), warn.len()), (version, 0));
    }
    for version in ["2.0.0", "latest", "10.0.0", "-1"] {
        assert_eq!(refused(&format!(r#"{{"ociVersion": "{version}"}}"#)).at, "ociVersion");
    }
    assert_eq!(accepted("{}").1.len(), 1, "runc and crun run a document without a version");
    assert_eq!(refused(r#"{"ociVersion": 1}"#).at, "ociVersion");
}

#[test]
fn unknown_capabilities_are_warned_about_and_not_granted() {
    let (spec, warn) = accepted(&with_process(
        r#""capabilities": {"bounding": ["CAP_KILL", "CAP_FROM_TOMORROW"], "effective": ["CAP_FROM_TOMORROW"]}"#,
    ));
    let process = spec.process().as_ref().unwrap();
    let capabilities = process.capabilities().as_ref().unwrap();
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
    assert!(capabilities.effective().as_ref().unwrap().is_empty());
    assert_eq!(
        warn,
        [
            r#"process.capabilities.bounding: ignoring unknown capability "CAP_FROM_TOMORROW""#,
            r#"process.capabilities.effective: ignoring unknown capability "CAP_FROM_TOMORROW""#
        ]
    );
    assert_eq!(
        refused(&with_process(r#""capabilities": {"bounding": ["CAP_KILL", 7]}"#)).at,
        "process.capabilities.bounding[1]"
    );
}

#[test]
fn nulls_and_duplicates_parse_as_go_reads_them() {
    let (spec, _) = accepted(
        r#"{"ociVersion": "1.0.0", "root": {"path": "old"}, "root": {"path": null, "path": "new", "readonly": null},
            "mounts": null, "hooks": null, "annotations": null, "vm": null, "hostname": null,
            "process": {"cwd": "/", "user": null, "args": null, "env": null, "capabilities": {"ambient": null},
                "scheduler": null, "rlimits": null},
            "linux": {"namespaces": null, "resources": {"devices": [{"allow": true, "type": "", "access": null}],
                "memory": {"limit": null}, "pids": {"limit": null}}, "seccomp": null}}"#,
    );
    assert_eq!(spec.root().as_ref().unwrap().path(), Path::new("new"));
    assert!(spec.mounts().is_none());
    let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    assert!(resources.devices().as_ref().unwrap()[0].typ().is_none());
}

#[test]
fn a_null_among_the_users_own_keys_is_a_mistake() {
    for (members, at) in [
        (r#""annotations": {"a.b": null}"#, "annotations.a.b"),
        (r#""linux": {"sysctl": {"net.x": null}}"#, "linux.sysctl.net.x"),
        (r#""linux": {"netDevices": {"eth0": null}}"#, "linux.netDevices.eth0"),
    ] {
        assert_eq!(refused(&with(members)).at, at);
    }
}

#[test]
fn scheduler_flags_go_by_the_specifications_names() {
    for flag in ["RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN"] {
        accepted(&with_process(&format!(
            r#""scheduler": {{"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_{flag}"]}}"#
        )));
    }
    let error = refused(&with_process(r#""scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}"#));
    assert_eq!(error.at, "process.scheduler.flags[0]");
}

#[test]
fn cpu_lists_may_have_blanks_and_may_be_empty() {
    let (spec, _) = accepted(&with_process(r#""execCPUAffinity": {"initial": "0-1, 3", "final": ""}"#));
    let affinity = spec.process().as_ref().unwrap().exec_cpu_affinity().as_ref().unwrap();
    assert_eq!(affinity.initial().as_deref(), Some("0-1,3"));
    assert_eq!(affinity.cpu_affinity_final().as_deref(), None);
    let (spec, _) = accepted(&with_process(r#""execCPUAffinity": {"initial": ", 1 - 2,, 4 ,"}"#));
    let affinity = spec.process().as_ref().unwrap().exec_cpu_affinity().as_ref().unwrap();
    assert_eq!(affinity.initial().as_deref(), Some("1-2,4"));
    assert_eq!(refused(&with_process(r#""execCPUAffinity": {"final": "1 2"}"#)).at, "process.execCPUAffinity.final");
    let error = refused(&with_process(r#""execCPUAffinity": {"initial": "one"}"#));
    assert_eq!(error.at, "process.execCPUAffinity.initial");
}

#[test]
fn an_unknown_name_is_answered_with_the_allowed_ones() {
    for (document, at, allowed) in [
        (
            with(r#""linux": {"namespaces": [{"type": "mount"}, {"type": "net"}]}"#),
            "linux.namespaces[1].type",
            "network",
        ),
        (
            with_process(r#""rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]"#),
            "process.rlimits[0].type",
            "RLIMIT_AS",
        ),
        (with(r#""linux": {"seccomp": {"defaultAction": "ALLOW"}}"#), "linux.seccomp.defaultAction", "SCMP_ACT_ALLOW"),
        (
            with(r#""linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X86"]}}"#),
            "linux.seccomp.architectures[0]",
            "SCMP_ARCH_X86",
        ),
        (
            with(r#""linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["LOG"]}}"#),
            "linux.seccomp.flags[0]",
            "SECCOMP_FILTER_FLAG_LOG",
        ),
        (
            with(
                r#""linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
                "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "EQ"}]}]}}"#,
            ),
            "linux.seccomp.syscalls[0].args[0].op",
            "SCMP_CMP_EQ",
        ),
        (with(r#""linux": {"personality": {"domain": "BSD"}}"#), "linux.personality.domain", "LINUX32"),
    ] {
        let error = refused(&document);
        assert_eq!(error.at, at);
        assert!(error.what.starts_with("unknown value"), "{error}");
        assert!(error.hint.as_ref().unwrap().contains(allowed), "{error}");
    }
}

#[test]
fn a_missing_property_is_named_by_its_own_path() {
    assert_eq!(refused(&with(r#""mounts": [{"type": "proc"}]"#)).to_string(), "mounts[0].destination: is required");
    assert_eq!(refused(&with(r#""process": {"args": ["sh"]}"#)).to_string(), "process.cwd: is required");
}

#[test]
fn wrong_types_are_named_in_the_words_of_json() {
    for (members, text) in [
        (r#""mounts": {}"#, "mounts: expected an array, found an object"),
        (r#""hostname": 3"#, "hostname: expected a string, found integer 3"),
        (r#""linux": []"#, "linux: expected an object, found an array"),
        (r#""process": {"cwd": "/", "user": [0, 0]}"#, "process.user: expected an object, found an array"),
        (r#""mounts": [["/proc", "proc"]]"#, "mounts[0]: expected an object, found an array"),
        (r#""process": "sh""#, r#"process: expected an object, found string "sh""#),
        (
            r#""linux": {"resources": {"memory": {"limit": 1.5}}}"#,
            "linux.resources.memory.limit: expected an integer from -9223372036854775808",
        ),
    ] {
        let error = refused(&with(members)).to_string();
        assert!(error.starts_with(text), "{error}");
    }
    for document in ["[]", "7", "null", "\"x\""] {
        assert!(refused(document).to_string().starts_with("(document): expected an object, found "));
    }
}

#[test]
fn a_huge_page_limit_of_all_ones_means_no_limit() {
    let (spec, _) = accepted(&with(
        r#""linux": {"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 18446744073709551615}]}}"#,
    ));
    let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    assert_eq!(resources.hugepage_limits().as_ref().unwrap()[0].limit(), i64::MAX);
}

#[test]
fn syntax_errors_have_line_and_column() {
    assert_eq!(refused("{\n  \"ociVersion\": \"1.0.0\",\n}").at, "line 3 column 1");
    assert_eq!(refused("").to_string(), "line 1 column 0: the configuration is not JSON: EOF while parsing a value");
    let error = parse(b"{\n \"a\": \"\xff\"}", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "line 2 column 8: the configuration is not UTF-8");
    let deep = "[".repeat(100_000);
    assert!(refused(&format!(r#"{{"x": {deep}"#)).what.contains("recursion limit"));
}

#[test]
fn a_pids_limit_that_is_not_given_is_none() {
    let limit = |pids: &str| {
        let (spec, _) = accepted(&with(&format!(r#""linux": {{"resources": {{"pids": {pids}}}}}"#)));
        spec.linux().as_ref()?.resources().as_ref()?.pids().map(|pids| pids.limit())
    };
    assert_eq!([limit("{}"), limit(r#"{"limit": null}"#), limit(r#"{"limit": 0}"#)], [None, None, Some(0)]);
}
