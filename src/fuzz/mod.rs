//! What is fuzzed: functions from arbitrary bytes to nothing, which neither panic nor take unbounded time or memory, and
//! check what must hold of whatever came of the bytes. `hack/fuzz` runs them under libFuzzer (a build with
//! `--cfg fuzzing`, whose `main` is libFuzzer's); the ordinary tests run them over every input that is kept in
//! `hack/fuzz.d/`. Not a part of any program that is released.

mod bytes;
mod command;
mod config;
mod holds;
mod json;
mod strings;
#[cfg(test)]
mod tests;

/// What one run of a target must not take longer than, or more memory than, is libFuzzer's to see: `hack/fuzz`.
type Target = fn(&[u8]);

/// By the names that `hack/fuzz` and the directories of inputs have.
const TARGETS: &[(&str, Target)] = &[
    ("config", config::whole),
    ("fields", config::fields),
    ("update", config::update),
    ("process", config::process),
    ("hot-mounts", config::hot_mounts),
    ("mount-options", strings::mount_options),
    ("lists", strings::lists),
    ("cgroup-path", strings::cgroup_path),
    ("sysctl", strings::sysctl),
    ("annotations", strings::annotations),
    ("gvariant", strings::gvariant),
    ("exec-flags", command::exec_flags),
    ("update-flags", command::update_flags),
    ("command-line", command::line),
    ("words", command::words_alone),
    ("state", bytes::state),
    ("dbus", bytes::dbus),
    ("wire", bytes::wire),
    ("proc", bytes::proc),
    ("seccomp", crate::seccomp::oracle::profile),
    ("seccomp-rules", crate::seccomp::oracle::made_up),
];

/// Runs the target that the environment names: libFuzzer knows but one.
#[cfg(fuzzing)]
pub fn run(data: &[u8]) {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    let target = CHOSEN.get_or_init(|| {
        let name = std::env::var("OARLOCK_FUZZ").expect("OARLOCK_FUZZ names a target");
        TARGETS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no target {name:?}")).1
    });
    target(data);
}
