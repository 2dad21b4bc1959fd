//! Verbs on one container from many processes at once: each does what it was told or refuses in words for that, none is
//! stuck, and nothing is left.

use std::process::Command;

use crate::harness::runtime::Running;
use crate::harness::{Bundle, Output};

const ROUNDS: usize = 12;

/// Why a verb may refuse: another was faster.
const REFUSALS: &[&str] = &[
    "container does not exist",
    "container with given ID already exists",
    "the state directory was removed while it was being made",
    "container not running",
    "container paused",
    "container not paused",
    "something else has thawed it meanwhile",
    "cannot start a container that has stopped",
    "cannot start an already running container",
    "cannot start a container in the creating state",
    "cannot start a container in the paused state",
    "init died before it could start the program",
    "that is not stopped:",
    "cannot exec in a stopped container",
    "cannot exec in a paused container",
    "was killed by signal 9",
];

fn check(output: &Output) {
    if output.code == 0 {
        return;
    }
    // `exec` ends as its program does.
    let killed = output.code == 137 && output.command.contains("\"exec\"");
    let refused = REFUSALS.iter().any(|text| output.stderr.contains(text));
    assert!(killed || refused, "no such refusal: {output}");
}

/// Starts every command before the first is waited for.
fn all_at_once(bundle: &Bundle, verbs: &[&[&str]]) -> Vec<Output> {
    ended(started(bundle, verbs))
}

fn started(bundle: &Bundle, verbs: &[&[&str]]) -> Vec<Running> {
    let command = |words: &&[&str]| {
        let words: Vec<&str> = words.iter().map(|word| if *word == "ID" { bundle.id.as_str() } else { word }).collect();
        match words[..] {
            ["create", ..] => bundle.command(words[0], &words[1..]),
            _ => bundle.rt.command(&words),
        }
    };
    // Made before the first of them reads what is written for each.
    let commands: Vec<Command> = verbs.iter().map(command).collect();
    commands.into_iter().map(|command| bundle.rt.spawn(command)).collect()
}

/// All of them have ended before one can fail the test.
fn ended(running: Vec<Running>) -> Vec<Output> {
    let outputs: Vec<Output> = running.into_iter().map(Running::wait).collect();
    outputs.iter().for_each(check);
    outputs
}

#[test]
fn every_verb_at_once_on_one_container() {
    only_oarlock!("runc and crun take no lock: what they answer is anybody's guess");
    let bundle = Bundle::waiting();
    let verbs: &[&[&str]] = &[
        &["create"],
        &["start", "ID"],
        &["state", "ID"],
        &["exec", "ID", "true"],
        &["pause", "ID"],
        &["create"],
        &["kill", "ID", "KILL"],
        &["resume", "ID"],
        &["start", "ID"],
        &["state", "ID"],
        &["delete", "ID"],
        &["delete", "--force", "ID"],
    ];
    for round in 0..ROUNDS {
        // Each round in another order.
        let mut verbs = verbs.to_vec();
        verbs.rotate_left(round % 12);
        let mut running = started(&bundle, &verbs);
        let exec = running.remove(verbs.iter().position(|verb| verb[0] == "exec").unwrap());
        ended(running);
        bundle.rt.call(["list"]).ok();
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
        // If it was caught by a pause, it has been killed only now.
        ended(vec![exec]);
    }
}

#[test]
fn of_many_creates_at_once_one_wins() {
    only_oarlock!("runc and crun take no lock");
    let bundle = Bundle::waiting();
    for _ in 0..ROUNDS {
        let outputs = all_at_once(&bundle, &[["create"].as_slice(); 6]);
        assert_eq!(outputs.iter().filter(|output| output.code == 0).count(), 1);
        assert_eq!(bundle.rt.status(&bundle.id), "created");
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    }
}

#[test]
fn of_many_deletes_at_once_each_is_right() {
    only_oarlock!("runc and crun take no lock");
    let bundle = Bundle::waiting();
    for _ in 0..ROUNDS {
        bundle.rt.finish(bundle.command("create", &[])).ok();
        all_at_once(
            &bundle,
            &[
                &["start", "ID"],
                &["delete", "--force", "ID"],
                &["delete", "--force", "ID"],
                &["delete", "ID"],
                &["state", "ID"],
            ],
        );
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
        bundle.rt.call(["state", &bundle.id]).failed().says("container does not exist");
    }
}

#[test]
fn a_container_runs_or_does_not_while_it_is_paused_resumed_and_entered_at_once() {
    only_oarlock!("runc and crun take no lock");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    for _ in 0..ROUNDS {
        let mut running = started(
            &bundle,
            &[
                &["exec", "ID", "true"],
                &["exec", "ID", "true"],
                &["pause", "ID"],
                &["state", "ID"],
                &["resume", "ID"],
                &["ps", "ID"],
            ],
        );
        ended(running.split_off(2));
        // A program that was caught by a pause after the resume ends only now.
        bundle.rt.call(["resume", &bundle.id]);
        ended(running);
        assert_eq!(container.status(), "running");
    }
    container.delete_force();
}
