//! `docs/spec-coverage.md`: every property of config.json with the tests that prove it. The properties come from the
//! specification's schemas, the tests from the `Proves:` comments beside them; `hack/spec-coverage` writes the file.
//! Nothing here runs a runtime. And `hack/vm.d/brief`, which names tests too.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Value;

const FILE: &str = "docs/spec-coverage.md";

/// Set by `hack/spec-coverage`: write the file instead of comparing it.
const UPDATE: &str = "UPDATE_SPEC_COVERAGE";

/// Sections for other systems: one row each.
const FOREIGN: &[&str] = &["freebsd", "solaris", "vm", "windows", "zos"];

const MARK: &str = "/// Proves:";

const INTRODUCTION: &str = "\
# Coverage of the specification

Every property that the OCI runtime specification 1.3.0 has in `config.json`, taken from its JSON Schemas, and the tests
that prove what oarlock makes of it. `[]` is an element of a list, `*` a key of the user's own.

Tests in `integration/` show an effect, from inside a container or on the host; what a host lacks for one it says by a
`SKIP` line. Tests in `src/` show a decision, where few hosts could show an effect, or the mistakes.

Written by `hack/spec-coverage` from the `Proves:` comments beside the tests; a test fails when it is out of date, when a
property has no test, or when a comment names a property that there is not.
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_file_that_the_security_model_names_exists() {
    let model = fs::read_to_string(root().join("docs/security.md")).unwrap();
    // What stands in backquotes and begins like a path of ours.
    let named = model
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| ["src/", "integration/", "hack/"].iter().any(|dir| text.starts_with(dir)));
    let missing: Vec<&str> = named.filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let promises = model.lines().filter(|line| line.starts_with("| ") && line.contains("`src/"));
    let unproven: Vec<&str> = promises.filter(|line| !line.rsplit(" | ").next().unwrap().contains('`')).collect();
    assert!(unproven.is_empty(), "{unproven:?}");
}

#[test]
fn every_property_of_the_specification_is_proven() {
    let properties = Properties::of_config();
    let (proofs, mut mistakes) = proofs();
    for (property, tests) in &proofs {
        if !properties.contains(property) {
            mistakes.extend(tests.iter().map(|test| format!("{}: there is no property {property:?}", test.name)));
        }
    }
    let unproven = properties.iter().filter(|property| !proofs.contains_key(*property));
    mistakes.extend(unproven.map(|property| format!("no test proves {property}")));
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    let text = document(&properties, &proofs);
    let path = root().join(FILE);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    assert!(fs::read_to_string(&path).is_ok_and(|old| old == text), "{FILE} is out of date: run hack/spec-coverage");
}

/// The leaves of a schema, as paths, in the order in which it has them.
struct Properties {
    files: BTreeMap<String, Value>,
    found: Vec<String>,
}

impl Properties {
    fn of_config() -> Vec<String> {
        let mut all = Self { files: BTreeMap::new(), found: Vec::new() };
        all.walk("config-schema.json", "", "");
        all.found
    }

    /// The node at a JSON pointer of a file.
    fn node(&mut self, file: &str, pointer: &str) -> Value {
        let document = self.files.entry(file.to_owned()).or_insert_with(|| {
            let path = root().join("integration/data/runtime-spec/schema").join(file);
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()
        });
        document.pointer(pointer).unwrap_or_else(|| panic!("{file}#{pointer}")).clone()
    }

    fn walk(&mut self, file: &str, pointer: &str, path: &str) {
        let node = self.node(file, pointer);
        if let Some(reference) = node["$ref"].as_str() {
            let (to, pointer) = reference.split_once('#').unwrap();
            return self.walk(if to.is_empty() { file } else { to }, pointer, path);
        }
        let before = self.found.len();
        for key in ["allOf", "anyOf"] {
            for i in 0..node[key].as_array().map_or(0, Vec::len) {
                self.walk(file, &format!("{pointer}/{key}/{i}"), path);
            }
        }
        for name in node["properties"].as_object().into_iter().flat_map(|properties| properties.keys()) {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if FOREIGN.contains(&below.as_str()) {
                self.found.push(below);
            } else {
                self.walk(file, &format!("{pointer}/properties/{name}"), &below);
            }
        }
        for (key, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
            let leaf = !node[key].is_object() || self.is_scalar(file, &format!("{pointer}/{key}"));
            if !leaf {
                self.walk(file, &format!("{pointer}/{key}"), &format!("{path}{suffix}"));
            }
        }
        if self.found.len() == before {
            self.found.push(path.to_owned());
        }
    }

    /// A list of texts is one property, not two.
    fn is_scalar(&mut self, file: &str, pointer: &str) -> bool {
        let node = self.node(file, pointer);
        if let Some(reference) = node["$ref"].as_str() {
            let (to, pointer) = reference.split_once('#').unwrap();
            return self.is_scalar(if to.is_empty() { file } else { to }, pointer);
        }
        ["properties", "items", "allOf", "anyOf"].iter().all(|key| node[*key].is_null())
    }
}

struct Proof {
    /// As libtest has it.
    name: String,
    file: PathBuf,
}

/// The tests by the property that they prove, and what is wrong with the comments.
fn proofs() -> (BTreeMap<String, Vec<Proof>>, Vec<String>) {
    let (mut proofs, mut mistakes) = (BTreeMap::<String, Vec<Proof>>::new(), Vec::new());
    let mut files = Vec::new();
    for directory in ["integration", "src"] {
        sources(&root().join(directory), &mut files);
    }
    files.sort();
    for path in files {
        let file = path.strip_prefix(root()).unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().map(str::trim).enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(first) = line.strip_prefix(MARK) else { continue };
            let mut list = first.to_owned();
            let after = loop {
                let line = lines.next().map_or("", |(_, line)| line);
                match line.strip_prefix("///") {
                    Some(more) => list.push_str(more),
                    None => break line,
                }
            };
            let function = lines.next().and_then(|(_, line)| line.strip_prefix("fn ")?.split('(').next());
            let (Some(function), "#[test]") = (function, after) else {
                mistakes.push(format!("{}:{}: stands at no test", file.display(), number + 1));
                continue;
            };
            for property in expand(&list) {
                let name = format!("{}::{function}", module(&file));
                proofs.entry(property).or_default().push(Proof { name, file: file.clone() });
            }
        }
    }
    (proofs, mistakes)
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `integration/cgroups.rs` is `cgroups`, `src/plan/exec/tests.rs` is `plan::exec`.
fn module(file: &Path) -> String {
    let parts = file.with_extension("");
    let parts: Vec<&str> = parts.iter().skip(1).map(|part| part.to_str().unwrap()).collect();
    parts.iter().filter(|part| !["tests", "mod"].contains(part)).copied().collect::<Vec<_>>().join("::")
}

/// The properties of a list, with `a.{b,c}` for `a.b, a.c`.
fn expand(list: &str) -> Vec<String> {
    let mut depth = 0;
    let items = list.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    items.map(str::trim).filter(|item| !item.is_empty()).flat_map(braces).collect()
}

fn braces(item: &str) -> Vec<String> {
    let Some((head, rest)) = item.split_once('{') else { return vec![item.to_owned()] };
    let (names, tail) = rest.split_once('}').unwrap_or_else(|| panic!("{item:?}: a brace that is not closed"));
    names.split(',').flat_map(|name| braces(&format!("{head}{}{tail}", name.trim()))).collect()
}

fn document(properties: &[String], proofs: &BTreeMap<String, Vec<Proof>>) -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut sections: Vec<(&str, Vec<&String>)> = Vec::new();
    for property in properties {
        let section = section(property);
        match sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, members)) => members.push(property),
            None => sections.push((section, vec![property])),
        }
    }
    for (section, members) in sections {
        write!(text, "\n## {section}\n\n| property | tests |\n|---|---|\n").unwrap();
        for property in members {
            let links = proofs[property].iter().map(|proof| format!("[{}](../{})", proof.name, proof.file.display()));
            writeln!(text, "| `{property}` | {} |", links.collect::<Vec<_>>().join("<br>")).unwrap();
        }
    }
    text
}

fn section(property: &str) -> &str {
    for section in ["linux.resources", "linux.seccomp"] {
        if property.starts_with(section) {
            return section;
        }
    }
    match property.split(['.', '[']).next().unwrap() {
        foreign if FOREIGN.contains(&foreign) => "other systems",
        "process" => "process",
        "mounts" => "mounts",
        "hooks" => "hooks",
        "linux" => "linux",
        _ => "the container",
    }
}

#[test]
fn lists_are_expanded() {
    assert_eq!(expand("a, b.{c,d}[].{e,f}, "), ["a", "b.c[].e", "b.c[].f", "b.d[].e", "b.d[].f"]);
    assert_eq!(module(Path::new("src/plan/exec/tests.rs")), "plan::exec");
}

/// hack/vm.d/brief: a filter that no test answers to any more would be missed by nobody.
#[test]
fn what_runs_in_the_virtual_machine_is_there() {
    let list = fs::read_to_string(root().join("hack/vm.d/brief")).expect("hack/vm.d/brief");
    let tests = std::process::Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let tests = String::from_utf8_lossy(&tests.stdout);
    let filters = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_whitespace().nth(1));
    let missing: Vec<&str> = filters.filter(|filter| !tests.contains(filter)).collect();
    assert!(missing.is_empty(), "hack/vm.d/brief names no test by {missing:?}");
}
