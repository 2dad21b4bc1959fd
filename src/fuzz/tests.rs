//! Every input that is kept, through its target: seeds, and whatever once made a target fail.

use std::fs;
use std::path::{Path, PathBuf};

use super::TARGETS;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/fuzz.d")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
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
