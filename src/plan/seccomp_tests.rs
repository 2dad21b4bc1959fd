//! What profiles become, and what is refused.

use serde_json::{Value, json};

use super::*;

fn compiled(profile: &Value) -> (Result<Filter>, Vec<String>) {
    let profile: LinuxSeccomp = serde_json::from_value(profile.clone()).expect("a profile");
    let mut warn = Vec::new();
    (compile(&profile, "linux.seccomp", around(false), &mut warn), warn)
}

fn around(no_new_privs: bool) -> Surroundings<'static> {
    Surroundings { no_new_privs, bundle: Path::new("/bundle"), receiver: None }
}

fn filter(profile: &Value) -> Filter {
    compiled(profile).0.expect("a good profile")
}

fn refusal(profile: &Value) -> String {
    compiled(profile).0.expect_err("a bad profile").to_string()
}

fn with_rule(rule: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

#[test]
fn every_action_is_read_and_an_errno_is_eperm_unless_given() {
    let cases = [
        (json!({"defaultAction": "SCMP_ACT_KILL"}), Action::KillThread),
        (json!({"defaultAction": "SCMP_ACT_KILL_THREAD"}), Action::KillThread),
        (json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"}), Action::KillProcess),
        (json!({"defaultAction": "SCMP_ACT_TRAP"}), Action::Trap),
        (json!({"defaultAction": "SCMP_ACT_LOG"}), Action::Log),
        (json!({"defaultAction": "SCMP_ACT_ALLOW"}), Action::Allow),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/agent"}), Action::Notify),
        (json!({"defaultAction": "SCMP_ACT_ERRNO"}), Action::Errno(1)),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}), Action::Errno(38)),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 0}), Action::Errno(0)),
        (json!({"defaultAction": "SCMP_ACT_TRACE"}), Action::Trace(1)),
        (json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65535}), Action::Trace(65535)),
    ];
    for (profile, action) in cases {
        assert_eq!(filter(&profile).program.default, action, "{profile}");
    }
    let rule = with_rule(json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}));
    assert_eq!(filter(&rule).program.rules[0].action, Action::Errno(13));
}

/// Proves: linux.seccomp.{listenerPath,listenerMetadata}
#[test]
fn bad_profiles_are_refused_by_json_path() {
    let cases = [
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.listenerPath: is missing"),
        (
            json!({"defaultAction": "SCMP_ACT_NOTIFY", "defaultErrnoRet": 1, "listenerPath": "/agent"}),
            "linux.seccomp.defaultErrnoRet: SCMP_ACT_NOTIFY returns no errno",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet: SCMP_ACT_KILL returns no errno",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095}),
            "linux.seccomp.defaultErrnoRet: 4095 is more than 4094",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "linux.seccomp.listenerMetadata: is for an agent, and none is named",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/a\0b"}),
            "linux.seccomp.listenerPath: has a NUL byte",
        ),
        (with_rule(json!({"names": [], "action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names: is empty"),
        (with_rule(json!({"names": ["a", ""], "action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names[1]: "),
        (
            with_rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.listenerPath: is missing, and SCMP_ACT_NOTIFY needs an agent to ask",
        ),
        (
            with_rule(json!({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
            "linux.seccomp.syscalls[0].errnoRet: 65536 is more than 65535",
        ),
        (
            with_rule(json!({"names": ["read"], "action": "SCMP_ACT_LOG",
                             "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})),
            "linux.seccomp.syscalls[0].args[0].index: 6 is not",
        ),
    ];
    for (profile, message) in cases {
        let refusal = refusal(&profile);
        assert!(refusal.starts_with(message), "{profile}: {refusal}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_machines_own_architecture_is_always_served_and_foreign_byte_orders_never() {
    let archs = |list: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": list});
    assert_eq!(filter(&json!({"defaultAction": "SCMP_ACT_ALLOW"})).program.architectures, [Arch::ScmpArchX86_64]);
    assert_eq!(filter(&archs(json!([]))).program.architectures, [Arch::ScmpArchX86_64]);
    assert_eq!(
        filter(&archs(json!(["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]))).program.architectures,
        [Arch::ScmpArchX86_64, Arch::ScmpArchX86]
    );
    assert_eq!(
        refusal(&archs(json!(["SCMP_ARCH_X86", "SCMP_ARCH_S390X"]))),
        "linux.seccomp.architectures[1]: SCMP_ARCH_S390X has another byte order than this machine"
    );
}

#[test]
fn flags_default_to_spec_allow_and_an_empty_list_means_none() {
    let flags = |list: Value| filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": list})).flags;
    assert_eq!(filter(&json!({"defaultAction": "SCMP_ACT_ALLOW"})).flags, 4);
    assert_eq!(flags(json!([])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])), 6);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), 0, "one thread has nobody to synchronise with");
}

#[test]
fn conditions_on_different_arguments_are_joined_and_on_the_same_one_alternatives() {
    let arg = |index, value, op| json!({"index": index, "value": value, "valueTwo": 5, "op": op});
    let any_of = |args: Value| {
        let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": args});
        filter(&with_rule(rule)).program.rules[0].any_of.clone()
    };
    let (first, second) = (
        Condition { arg: 0, is: Comparison::Masked { mask: 7, value: 5 } },
        Condition { arg: 1, is: Comparison::Greater(u64::MAX) },
    );
    let masked = arg(0, 7u64, "SCMP_CMP_MASKED_EQ");
    assert_eq!(any_of(json!([])), Vec::<Vec<Condition>>::new());
    assert_eq!(any_of(json!([masked, arg(1, u64::MAX, "SCMP_CMP_GT")])), [[first, second]]);
    assert_eq!(
        any_of(json!([masked, arg(1, u64::MAX, "SCMP_CMP_GT"), masked])),
        [vec![first], vec![second], vec![first]]
    );
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO",
                      "args": [{"index": 0, "value": 1, "valueTwo": 5, "op": "SCMP_CMP_EQ"}]});
    assert_eq!(
        compiled(&with_rule(rule)).1,
        ["linux.seccomp.syscalls[0].args[0].valueTwo: means nothing to SCMP_CMP_EQ"]
    );
    let refuses_execve = "linux.seccomp: the profile refuses execve, so the container's program cannot be started";
    assert_eq!(compiled(&json!({"defaultAction": "SCMP_ACT_ERRNO"})).1, [refuses_execve]);
    assert_eq!(compiled(&with_rule(json!({"names": ["execve"], "action": "SCMP_ACT_KILL"}))).1, [refuses_execve]);
}

#[test]
fn without_no_new_privs_the_filter_is_loaded_while_capabilities_are_held() {
    let profile: LinuxSeccomp = serde_json::from_value(json!({"defaultAction": "SCMP_ACT_ALLOW"})).unwrap();
    let load = |nnp| compile(&profile, "linux.seccomp", around(nnp), &mut Vec::new()).unwrap().load;
    assert_eq!((load(false), load(true)), (Load::BeforeCapabilities, Load::Last));
}

/// The listener of a profile that has these rules and listens on `agent` in the bundle.
fn listener_of(default: &str, rules: Value) -> Option<Listener> {
    filter(&json!({"defaultAction": default, "listenerPath": "agent", "syscalls": rules})).listener
}

#[test]
fn a_listener_is_kept_only_where_the_agent_is_asked() {
    let rule = |action: &str, name: &str| json!({"names": [name], "action": action});
    assert_eq!(listener_of("SCMP_ACT_ALLOW", json!([rule("SCMP_ACT_ERRNO", "mkdir")])), None);
    let asked = listener_of("SCMP_ACT_ALLOW", json!([rule("SCMP_ACT_NOTIFY", "mkdir")])).unwrap();
    assert_eq!((asked.path, asked.asks_about_sendmsg), ("/bundle/agent".into(), false));
    for (default, rules, asks_about_sendmsg) in [
        ("SCMP_ACT_ALLOW", json!([rule("SCMP_ACT_NOTIFY", "sendmsg")]), true),
        ("SCMP_ACT_NOTIFY", json!([]), true),
        ("SCMP_ACT_NOTIFY", json!([rule("SCMP_ACT_ALLOW", "sendmsg")]), false),
        (
            "SCMP_ACT_NOTIFY",
            json!([{"names": ["sendmsg"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]),
            true,
        ),
    ] {
        assert_eq!(listener_of(default, rules).unwrap().asks_about_sendmsg, asks_about_sendmsg);
    }
}

#[test]
fn with_a_listener_the_filter_is_loaded_while_the_parent_is_there() {
    let profile = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/agent",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]});
    let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    let compile = |nnp| compile(&profile, "linux.seccomp", around(nnp), &mut Vec::new()).unwrap();
    assert_eq!((compile(false).load, compile(true).load), (Load::BeforeCapabilities, Load::BeforeStart));
    assert_eq!(compile(true).flags, FLAG_WAIT_KILLABLE_RECV);
    // The kernel refuses the flag where there is no listener.
    let (alone, warn) =
        compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}));
    assert_eq!((alone.unwrap().flags, warn.len()), (0, 1));
}
