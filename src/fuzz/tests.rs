//! Every input that is kept, through its target: seeds, and whatever once made a target fail.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{TARGETS, config, json};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/fuzz.d")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Every string and every property's name in it, one after the other: the document with a NUL byte at the beginning, in the
/// middle or at the end of that one.
fn with_a_nul(document: &Value, run: impl Fn(&Value)) {
    for at in [|_| 0, |length| length / 2, |length: usize| length] {
        for nth in 0.. {
            let (mut document, mut left) = (document.clone(), nth);
            let Some(text) = insert_nul(&mut document, &mut left, at) else { break };
            // Told with the output of a test that fails.
            println!("{text:?}");
            run(&document);
        }
    }
}

/// The text that has one now; `None` if there are not so many.
fn insert_nul(value: &mut Value, left: &mut usize, at: fn(usize) -> usize) -> Option<String> {
    let mut spoilt = |text: &str| match left.checked_sub(1) {
        Some(less) => {
            *left = less;
            None
        }
        None => {
            let (before, after) = text.split_at(text.floor_char_boundary(at(text.len())));
            Some(format!("{before}\0{after}"))
        }
    };
    match value {
        Value::String(text) => {
            *text = spoilt(text)?;
            Some(text.clone())
        }
        // They are alike, and profiles of seccomp have hundreds.
        Value::Array(items) => items.iter_mut().take(5).find_map(|item| insert_nul(item, left, at)),
        Value::Object(fields) => {
            if let Some((name, spoilt)) = fields.keys().find_map(|name| Some((name.clone(), spoilt(name)?))) {
                let value = fields.remove(&name)?;
                fields.insert(spoilt.clone(), value);
                return Some(spoilt);
            }
            fields.values_mut().find_map(|value| insert_nul(value, left, at))
        }
        _ => None,
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn no_nul_byte_of_a_config_reaches_the_kernel() {
    let seeds = entries(&kept().join("seeds/fields")).into_iter();
    let changed = seeds.map(|path| json::changed(json::base(), &text(&path)));
    let whole = entries(&kept().join("seeds/config")).into_iter();
    let whole = whole.map(|path| serde_json::from_str(&text(&path)).unwrap());
    for document in changed.chain(whole) {
        // Or another mistake would hide what becomes of the byte.
        assert!(config::everywhere(&document) > 0, "{document}");
        with_a_nul(&document, |document| _ = config::everywhere(document));
    }
}

/// What is not JSON, but has a text in lines or in a form of its own.
const TEXTS: &[&str] = &["mount-options", "lists", "cgroup-path", "sysctl", "annotations", "gvariant", "update-flags"];

#[test]
fn no_nul_byte_of_a_text_with_a_form_of_its_own_reaches_the_kernel() {
    for (name, target) in TARGETS.iter().filter(|(name, _)| TEXTS.contains(name)) {
        for path in entries(&kept().join("seeds").join(name)) {
            println!("{}", path.display());
            let seed = fs::read(path).unwrap();
            for at in 0..=seed.len() {
                println!("{at}");
                let (before, after) = seed.split_at(at);
                target(&[before, b"\0", after].concat());
            }
        }
    }
}

#[test]
fn no_nul_byte_of_a_document_for_a_running_container_reaches_the_kernel() {
    for path in entries(&kept().join("seeds/update")) {
        for document in text(&path).split("\n=\n") {
            let document = serde_json::from_str(document).unwrap();
            with_a_nul(&document, |document| config::update(document.to_string().as_bytes()));
        }
    }
    for (target, run) in [("process", config::process as fn(&[u8])), ("hot-mounts", config::hot_mounts)] {
        for path in entries(&kept().join("seeds").join(target)) {
            let document = serde_json::from_str(&text(&path)).unwrap();
            with_a_nul(&document, |document| run(document.to_string().as_bytes()));
        }
    }
}

#[test]
fn every_input_that_is_kept_passes_its_target() {
    for (name, target) in TARGETS {
        let seeds = entries(&kept().join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for path in seeds.into_iter().chain(entries(&kept().join("crashes").join(name))) {
            // Told with the output of a test that fails.
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn whatever_is_kept_is_some_targets() {
    for kind in ["seeds", "crashes"] {
        for dir in entries(&kept().join(kind)) {
            let name = dir.file_name().unwrap().to_str().unwrap();
            assert!(TARGETS.iter().any(|(known, _)| *known == name), "{}", dir.display());
        }
    }
}

#[test]
fn every_target_has_its_number_of_runs() {
    let runs = text(&kept().join("runs"));
    let lines = runs.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, runs)| {
            assert!(runs.parse::<u32>().is_ok(), "{name}");
            name
        })
        .collect();
    assert_eq!(names, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
