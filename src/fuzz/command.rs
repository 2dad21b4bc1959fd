//! What stands on the command line: flags with values of their own form, and the line as a whole.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::config::sound;
use super::holds;
use crate::bundle;
use crate::cli::line::Line;
use crate::cli::{duration, signal};
use crate::plan::exec::{self, Base, Flags};
use crate::plan::update;
use crate::plan::{Plan, testing};
use crate::state;

/// Words with a NUL byte between them, as the kernel has them.
fn words(data: &[u8]) -> Vec<String> {
    data.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// User, groups, working directory, capabilities, labels, sub-cgroup and environment of `exec`, then the program.
pub fn exec_flags(data: &[u8]) {
    let words = words(data);
    let word = |i: usize| words.get(i).filter(|word| !word.is_empty());
    let list = |i: usize| word(i).map(|word| word.split('\n').map(str::to_owned).collect()).unwrap_or_default();
    let (groups, caps, env, cgroups): (Vec<_>, Vec<_>, Vec<_>, Vec<_>) = (list(1), list(3), list(7), list(6));
    let flags = Flags {
        tty: data.len().is_multiple_of(2),
        user: word(0).map(String::as_str),
        additional_gids: &groups,
        cwd: word(2).map(Path::new),
        caps: &caps,
        process_label: word(4),
        apparmor: word(5),
        env: &env,
        args: words.get(8..).unwrap_or_default(),
        listen_fds: u32::from(data.len().is_multiple_of(3)),
        ..Flags::default()
    };
    let plan: Plan = sound();
    match exec::compile(&Base::of(&plan), None, &flags) {
        Ok(process) => {
            // What is asked for is what comes: nothing that cannot be read becomes root.
            let asked = flags.user.map(|user| user.split(':').next().unwrap_or_default().parse());
            assert!(asked.is_none_or(|uid| uid == Ok(process.uid)), "{flags:?}");
            holds::process(&process);
        }
        Err(error) => holds::input_error(&error),
    }
    for facts in [testing::v1(), testing::v2()] {
        let spec = testing::spec(super::json::base());
        let plan =
            crate::plan::compile(&spec, &testing::options(), &facts, &mut Vec::new()).expect("the base is sound");
        match exec::sub_cgroup(&cgroups, &plan.cgroup.place) {
            Ok(place) => place.iter().for_each(holds::place),
            Err(error) => holds::input_error(&error),
        }
    }
}

/// The values of `update`'s flags, in the order of its table.
pub fn update_flags(data: &[u8]) {
    let words = words(data);
    let given: Vec<_> = update::FLAGS.iter().zip(words).filter(|(_, word)| !word.is_empty()).collect();
    if let Err(error) = update::schemata(&given) {
        holds::input_error(&error);
    }
    let document = match update::document(&given) {
        Ok(document) => document,
        Err(error) => return holds::input_error(&error),
    };
    match bundle::resources(document) {
        Ok(resources) => holds::update(None, &resources),
        Err(error) => holds::input_error(&error),
    }
}

/// A whole command line.
pub fn line(data: &[u8]) {
    let words = data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let line = Line::read(std::iter::once(OsString::from("oarlock")).chain(words));
    if !line.asks_for_version()
        && let Err(error) = line.check()
    {
        assert!(!error.to_string().is_empty());
    }
}

/// Signals, durations and container ids.
pub fn words_alone(data: &[u8]) {
    let word = String::from_utf8_lossy(data);
    match signal::parse(&word) {
        Ok(number) => assert!((0..=64).contains(&number)),
        Err(error) => holds::input_error(&error),
    }
    if let Err(error) = duration::parse("--interval", &word) {
        holds::input_error(&error);
    }
    match state::validate_id(&word) {
        // It becomes the name of a directory.
        Ok(()) => assert!(!word.contains('/') && !["", ".", ".."].contains(&&*word)),
        Err(error) => holds::error(&error),
    }
}
