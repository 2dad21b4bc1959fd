//! `exec`: what the program is: its document, environment, ids, limits, descriptors, filter, keyring.

use crate::exec::{command, exec, refused, sh};
use crate::harness::{Bundle, Fifo, Output, json, sys};

/// `exec --process FILE`, with a document that names what is given on top of the least.
#[track_caller]
fn by_document(bundle: &Bundle, script: &str, extra: serde_json::Value) -> Output {
    let mut document = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["sh", "-c", script],
        "env": ["PATH=/bin", "FROM=document"] });
    document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let path = bundle.path("process.json");
    std::fs::write(&path, document.to_string()).unwrap();
    exec(bundle, &["--process", path.to_str().unwrap()], &[])
}

#[test]
fn it_is_an_ordinary_process_without_anything_of_the_runtimes() {
    let mut bundle = Bundle::waiting();
    bundle.add_probe();
    let _container = bundle.started();
    let output = exec(&bundle, &[], &["/probe", "self"]).ok();
    for (key, value) in [("dumpable=", "1"), ("keepcaps=", "0"), ("pdeathsig=", "0"), ("personality=", "0")] {
        assert_eq!(output.field(key), value, "{key} {output}");
    }
    let mut command = command(&bundle, &[], &["/probe", "fds"]);
    let pipes = (0..4).map(|_| std::io::pipe().unwrap().0.into()).collect();
    sys::pass_fds(&mut command, pipes);
    let output = bundle.rt.finish(command).ok();
    let fds: Vec<&str> = output.lines().iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(fds, ["0", "1", "2"], "{output}");
    let mut command = self::command(&bundle, &[], &["grep", "Sig", "/proc/self/status"]);
    sys::ignore_and_block(&mut command, libc::SIGTERM);
    let output = bundle.rt.finish(command).ok();
    for key in ["SigIgn:", "SigBlk:"] {
        assert_eq!(u64::from_str_radix(output.field(key), 16).unwrap(), 0, "{output}");
    }
}

#[test]
fn preserved_descriptors_are_the_programs() {
    let mut bundle = Bundle::waiting();
    bundle.add_probe();
    let _container = bundle.started();
    let (read, mut write) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut write, b"passed").unwrap();
    let mut command = command(&bundle, &["--preserve-fds", "1"], &["sh", "-c", "/probe fds; /probe read 3"]);
    sys::pass_fds(&mut command, vec![read.into(), write.into()]);
    let output = bundle.rt.finish(command).ok();
    assert!(output.stdout.ends_with("passed") && !output.stdout.contains("\n4 "), "{output}");
}

#[test]
fn sockets_of_activation_are_told_to_the_program_by_its_own_pid() {
    differs!("runc", "runc says 1, whatever the program's pid is");
    differs!("crun", "crun passes no sockets to exec");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let command = command(&bundle, &[], &["sh", "-c", "test $LISTEN_PID = $$ && echo $LISTEN_FDS"]);
    let mut command = bundle.rt.after("export LISTEN_FDS=1 LISTEN_PID=$$", &command);
    sys::pass_fds(&mut command, vec![std::io::pipe().unwrap().0.into()]);
    bundle.rt.finish(command).ok().prints("1");
}

#[test]
fn the_environment_is_the_containers_and_the_flags() {
    differs!("crun", "crun's variables replace the container's, PATH with them");
    let mut bundle = Bundle::waiting();
    bundle.push("/process/env", json!("A=container")).push("/process/env", json!("B=container"));
    let _container = bundle.started();
    let script = "echo $A $B $C $HOME";
    sh(&bundle, &["-e", "B=flag", "-e", "C=x=y z"], script).ok().prints("container flag x=y z /root");
}

#[test]
fn the_working_directory_is_the_containers_unless_given() {
    differs!("crun", "crun does not take the container's");
    let mut bundle = Bundle::waiting();
    bundle.set("/process/cwd", "/var");
    let _container = bundle.started();
    exec(&bundle, &[], &["pwd"]).ok().prints("/var");
    exec(&bundle, &["--cwd", "/tmp"], &["pwd"]).ok().prints("/tmp");
    refused(exec(&bundle, &["--cwd", "/missing"], &["pwd"]), "/missing");
}

#[test]
fn the_user_and_groups_are_the_containers_unless_given() {
    differs!("crun", "crun does not take the container's user");
    let mut bundle = Bundle::waiting();
    bundle.set("/process/user", json!({ "uid": 11, "gid": 12, "additionalGids": [13] }));
    let _container = bundle.started();
    let ids = |flags: &[&str]| sh(&bundle, flags, "grep -E '^(Uid|Gid|Groups)' /proc/self/status").ok();
    let same = |id: &str| [id; 4].join("\t");
    for (flags, uid, gid, groups) in [
        (&[][..], "11", "12", "13"),
        (&["-u", "1"], "1", "12", "13"),
        (&["--user", "1:2"], "1", "2", "13"),
        (&["-u", "1:2", "--additional-gids", "3", "--additional-gids", "4"], "1", "2", "3 4 13"),
    ] {
        let output = ids(flags);
        assert_eq!(output.field("Uid:"), same(uid), "{output}");
        assert_eq!(output.field("Gid:"), same(gid), "{output}");
        assert_eq!(output.field("Groups:"), groups, "{output}");
    }
}

#[test]
fn limits_umask_and_scheduling_are_the_containers() {
    differs!("crun", "crun 1.8.1 takes none of them from the container");
    let mut bundle = Bundle::waiting();
    bundle.set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }, { "type": "RLIMIT_FSIZE", "soft": 4096, "hard": 4096 }]));
    bundle.set("/process/oomScoreAdj", 234);
    let _container = bundle.started();
    let script = "cat /proc/self/oom_score_adj; grep -E 'core file|file size' /proc/self/limits";
    let output = sh(&bundle, &[], script).ok();
    let lines: Vec<String> =
        output.lines().iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["234", "Max file size 4096 4096 bytes", "Max core file size 1 2 bytes"]);
    let output =
        by_document(&bundle, script, json!({ "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 1 }] })).ok();
    assert!(output.stdout.contains("unlimited            unlimited"), "{output}");
}

#[test]
fn the_umask_is_the_containers() {
    differs!("crun", "crun 1.8.1 takes 022");
    differs!("runc", "runc 1.1.5 takes 022");
    let mut bundle = Bundle::waiting();
    bundle.set("/process/user/umask", 0o27);
    let _container = bundle.started();
    sh(&bundle, &[], "umask").ok().prints("0027");
    by_document(&bundle, "umask", json!({})).ok().prints("0027");
    by_document(&bundle, "umask", json!({ "user": { "uid": 0, "gid": 0, "umask": 0o77 } })).ok().prints("0077");
}

#[test]
fn a_document_says_all_that_it_names() {
    let mut bundle = Bundle::waiting();
    bundle.push("/process/env", json!("A=container")).set("/process/noNewPrivileges", true);
    let _container = bundle.started();
    let script = "pwd; echo $FROM$A; grep -E '^(Uid|NoNewPrivs|CapBnd)' /proc/self/status";
    let extra = json!({ "cwd": "/tmp", "user": { "uid": 5, "gid": 6 }, "noNewPrivileges": false,
        "capabilities": { "bounding": ["CAP_CHOWN"] } });
    let output = by_document(&bundle, script, extra).ok();
    assert_eq!(output.lines()[..2], ["/tmp", "document"], "{output}");
    assert_eq!((output.field("NoNewPrivs:"), output.field("CapBnd:")), ("0", "0000000000000001"), "{output}");
    assert!(output.field("Uid:").starts_with("5\t"), "{output}");
}

#[test]
fn mistakes_in_a_document_are_named() {
    differs!("crun", "crun 1.8.1 takes a relative working directory");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let path = bundle.path("process.json");
    for (document, text) in [
        (json!({ "cwd": "tmp", "args": ["true"], "user": { "uid": 0, "gid": 0 } }), "wd"),
        (json!({ "cwd": "/", "args": [], "user": { "uid": 0, "gid": 0 } }), "args"),
        (json!([]), ""),
    ] {
        std::fs::write(&path, document.to_string()).unwrap();
        refused(exec(&bundle, &["--process", path.to_str().unwrap()], &[]), text);
    }
    refused(exec(&bundle, &["--process", "/missing"], &[]), "no such file or directory");
}

#[test]
fn the_containers_seccomp_filter_holds_for_it() {
    let mut bundle = Bundle::waiting();
    bundle.set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }] }),
    );
    for no_new_privileges in [false, true] {
        bundle.set("/process/noNewPrivileges", no_new_privileges);
        let _container = bundle.started();
        let script = "mkdir /tmp/x 2>/dev/null || echo refused; grep Seccomp: /proc/self/status";
        let output = sh(&bundle, &[], script).ok();
        assert_eq!(output.lines()[0], "refused", "{output}");
        assert_eq!(output.field("Seccomp:"), "2");
    }
}

#[test]
fn it_shares_the_containers_session_keyring() {
    differs!("crun", "crun 1.8.1 joins no keyring in exec");
    let mut bundle = Bundle::new();
    bundle.add_probe();
    bundle.script("/probe keyring >/inits; exec sleep 1000");
    let mut fifo = Fifo::new(&bundle.rootfs("fifo"));
    bundle.script("/probe keyring >/inits; echo up >/fifo; exec sleep 1000");
    let _container = bundle.started();
    fifo.line();
    let output = exec(&bundle, &[], &["/probe", "keyring"]).ok();
    assert_eq!(output.stdout, std::fs::read_to_string(bundle.rootfs("inits")).unwrap());
}
