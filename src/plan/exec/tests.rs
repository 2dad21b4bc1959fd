use super::super::compile as compile_container;
use super::super::testing::{error, namespaces, options, spec, v1, v2};
use super::*;
use serde_json::{Value, json};

/// What the container with this `process` keeps for `exec`.
fn base(extra: Value) -> Base {
    let mut process = json!({ "cwd": "/home", "args": ["init"], "env": ["PATH=/bin", "A=1"],
        "user": { "uid": 1, "gid": 2, "additionalGids": [3], "umask": 7 }, "oomScoreAdj": 5,
        "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
        "capabilities": { "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"] } });
    process.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let document = spec(json!({ "root": { "path": "rootfs" }, "process": process,
        "linux": { "namespaces": namespaces(&["pid", "mount"]) } }));
    let options = crate::plan::Options {
        listen_fds: 1,
        listen_fd_names: Some("a".into()),
        notify_socket: Some("/x".into()),
        ..options()
    };
    Base::of(&compile_container(&document, &options, &v1(), &mut Vec::new()).unwrap())
}

fn with(flags: &Flags<'_>) -> Result<Process> {
    compile(&base(json!({})), None, flags)
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn document(extra: Value) -> oci_spec::runtime::Process {
    let mut process = json!({ "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } });
    process.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(process).unwrap()
}

#[test]
fn by_flags_it_is_like_the_containers_own() {
    let args = words(&["ls", "-l"]);
    let process = with(&Flags { args: &args, ..Flags::default() }).unwrap();
    assert_eq!((process.args, process.terminal), (args, false));
    assert_eq!((process.uid, process.gid, process.additional_gids, process.umask), (1, 2, vec![3], 7));
    // Not init's sockets.
    assert_eq!(process.env, ["PATH=/bin", "A=1"]);
    assert_eq!((process.capabilities.bounding, process.oom_score_adj, process.rlimits.len()), (1, Some(5), 1));
}

#[test]
fn a_record_tells_the_same_after_it_was_written() {
    let base = base(json!({}));
    let text = serde_json::to_string(&base).unwrap();
    let read: Base = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert_eq!(read.namespaces, 0x2002_0000);
}

#[test]
fn flags_overrule() {
    let (args, env, gids, caps) = (words(&["sh"]), words(&["A=2", "B=3"]), words(&["4"]), words(&["net_raw"]));
    let flags = Flags {
        tty: true,
        user: Some("10:11"),
        env: &env,
        additional_gids: &gids,
        cwd: Some(Path::new("/tmp")),
        caps: &caps,
        no_new_privs: true,
        args: &args,
        listen_fds: 2,
        listen_fd_names: Some("x:y"),
        ..Flags::default()
    };
    for document in
        [None, Some(document(json!({ "env": ["PATH=/bin", "A=1"], "capabilities": { "bounding": ["CHOWN"] } })))]
    {
        let process = compile(&base(json!({})), document.as_ref(), &flags).unwrap();
        assert!(process.terminal && process.no_new_privileges);
        assert_eq!((process.uid, process.gid, process.cwd), (10, 11, PathBuf::from("/tmp")));
        assert_eq!(process.env, ["PATH=/bin", "A=2", "B=3", "LISTEN_FDS=2", "LISTEN_FDNAMES=x:y"]);
        let sets = process.capabilities;
        assert_eq!((sets.bounding, sets.inheritable, sets.ambient), (1 << 13 | 1, 0, 0));
    }
}

#[test]
fn what_a_document_leaves_out_is_the_containers() {
    let base = base(json!({ "apparmorProfile": "p" }));
    let process = compile(&base, Some(&document(json!({}))), &Flags::default()).unwrap();
    assert_eq!((process.uid, process.gid, process.umask, process.oom_score_adj), (0, 0, 7, Some(5)));
    assert_eq!((process.capabilities.bounding, process.rlimits.len()), (1, 1));
    assert_eq!(process.apparmor_profile.as_deref(), Some("p"));
    assert!(process.env.is_empty() && process.additional_gids.is_empty());
    let none = document(json!({ "capabilities": {} }));
    let process = compile(&base, Some(&none), &Flags::default()).unwrap();
    assert_eq!(process.capabilities, crate::plan::process::Capabilities::default());
}

#[test]
fn processors_are_the_documents_or_the_containers() {
    let base = base(json!({ "execCPUAffinity": { "initial": "0-2", "final": "1" } }));
    let lists = |extra: Value| {
        let process = compile(&base, Some(&document(extra)), &Flags::default()).unwrap();
        let affinity = process.exec_affinity.unwrap();
        [affinity.initial, affinity.last].map(|mask| mask.map_or_else(String::new, |mask| mask.to_string()))
    };
    assert_eq!(lists(json!({})), ["0-2", "1"]);
    assert_eq!(lists(json!({ "execCPUAffinity": {} })), ["0-2", "1"]);
    assert_eq!(lists(json!({ "execCPUAffinity": { "final": "7" } })), ["", "7"]);
    let args = words(&["sh"]);
    let process = compile(&base, None, &Flags { args: &args, ..Flags::default() }).unwrap();
    assert_eq!(process.exec_affinity, base.process.unwrap().exec_affinity);
}

#[test]
fn ids_are_numbers_and_nothing_else() {
    let args = words(&["sh"]);
    let user = |user| with(&Flags { user: Some(user), args: &args, ..Flags::default() }).map(|p| (p.uid, p.gid));
    assert_eq!(user("0"), Ok((0, 2)));
    assert_eq!(user("4294967294:0"), Ok((4_294_967_294, 0)));
    for wrong in ["", ":", ":1", "1:", "-1", "+1", "1x", "root", "1:1:1", "4294967295", "4294967296", "0x1", " 1"] {
        assert!(error(user(wrong)).starts_with("--user: "), "{wrong:?}");
    }
    let gids = words(&["1,2"]);
    let flags = Flags { additional_gids: &gids, args: &args, ..Flags::default() };
    assert!(error(with(&flags)).starts_with("--additional-gids: "));
}

#[test]
fn mistakes_in_flags_are_named_by_them() {
    let args = words(&["sh"]);
    let (env, caps) = (words(&["A"]), words(&["CAP_X"]));
    let (label, profile) = ("a\nb".to_owned(), "a\0b".to_owned());
    for (flags, at) in [
        (Flags { env: &env, ..Flags::default() }, "--env"),
        (Flags { caps: &caps, ..Flags::default() }, "--cap"),
        (Flags { cwd: Some(Path::new("tmp")), ..Flags::default() }, "--cwd"),
        (Flags { process_label: Some(&label), ..Flags::default() }, "--process-label"),
        (Flags { apparmor: Some(&profile), ..Flags::default() }, "--apparmor"),
    ] {
        assert!(error(with(&Flags { args: &args, ..flags })).starts_with(at), "{at}");
    }
    assert!(error(with(&Flags::default())).contains("args must not be empty"));
}

#[test]
fn a_sub_cgroup_is_below_the_containers() {
    let place = |facts| {
        let document = spec(json!({ "root": { "path": "r" }, "linux": { "cgroupsPath": "/c" } }));
        compile_container(&document, &options(), &facts, &mut Vec::new()).unwrap().cgroup.place
    };
    let (one, two) = (place(v1()), place(v2()));
    let sub = |given: &[&str], place: &Place| sub_cgroup(&words(given), place);
    let paths = |place: Place| -> Vec<String> {
        place.v1.iter().chain(&place.v2).map(|dir| dir.below.display().to_string()).collect()
    };
    assert_eq!(sub(&[], &one), Ok(None));
    assert_eq!(paths(sub(&["/a/b"], &one).unwrap().unwrap()), ["c/a/b", "c/a/b", "c/a/b"]);
    assert_eq!(paths(sub(&["cpuacct:a", "systemd:b"], &one).unwrap().unwrap()), ["c/a", "c", "c/b"]);
    assert_eq!(paths(sub(&["a"], &two).unwrap().unwrap()), ["c/a"]);
    assert_eq!(paths(sub(&["/"], &two).unwrap().unwrap()), ["c"]);
    for wrong in [&["../d"][..], &["a/.."], &["pids:a"], &["cpu:a", "b"], &["cpu:a", "cpu:b"], &[",cpu:a"], &[":a"]] {
        assert!(error(sub(wrong, &one)).starts_with("--cgroup: "), "{wrong:?}");
    }
    assert!(sub(&["memory:a"], &two).is_err());
}
