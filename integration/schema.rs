//! What the runtime prints, against the specification's own JSON Schemas; and the schemas against the specification's
//! examples, so that it is known that they find mistakes.

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, Draft, SchemaIndex, Schemas};

use crate::harness::{Bundle, Fifo, Value, json};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/data/runtime-spec").join(name)
}

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// `config`, `features` or `state`.
    fn of(kind: &str) -> Self {
        let mut compiler = Compiler::new();
        // The files that are referred to do not say which draft they are.
        compiler.set_default_draft(Draft::V4);
        let mut schemas = Schemas::new();
        let path = data("schema").join(format!("{kind}-schema.json"));
        let index = compiler.compile(path.to_str().unwrap(), &mut schemas).unwrap_or_else(|error| panic!("{error}"));
        Self { schemas, index }
    }

    fn mistakes(&self, document: &Value) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|error| format!("{error:#}"))
    }

    #[track_caller]
    fn allows(&self, document: &Value) {
        if let Some(mistakes) = self.mistakes(document) {
            panic!("{mistakes}\nin {document:#}");
        }
    }
}

#[test]
fn the_schemas_tell_the_good_examples_from_the_bad() {
    for (kind, directory) in [("config", ""), ("features", "features"), ("state", "state")] {
        let schema = Schema::of(kind);
        for verdict in ["good", "bad"] {
            let mut seen = 0;
            for entry in fs::read_dir(data(directory).join(verdict)).unwrap() {
                let path = entry.unwrap().path();
                let document = serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap());
                let good = document.as_ref().is_ok_and(|document| schema.mistakes(document).is_none());
                assert_eq!(good, verdict == "good", "{}", path.display());
                seen += 1;
            }
            assert!(seen > 0, "{kind}: no {verdict} examples");
        }
    }
}

#[test]
fn features_is_a_features_document() {
    differs!("crun", "crun 1.8.1 has no such verb");
    let features = Bundle::new().rt.call(["features"]).ok().json();
    Schema::of("features").allows(&features);
}

/// The names that the specification has for something.
fn names(definition: &str) -> Vec<String> {
    let text = fs::read_to_string(data("schema/defs-linux.json")).unwrap();
    let names = serde_json::from_str::<Value>(&text).unwrap()["definitions"][definition]["enum"].clone();
    sorted(&names)
}

fn sorted(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = serde_json::from_value(list.clone()).unwrap_or_else(|_| panic!("{list}"));
    names.sort();
    names
}

#[test]
fn features_tells_every_name_that_the_specification_has() {
    only_oarlock!("others lag behind the specification, or run ahead");
    let features = Bundle::new().rt.call(["features"]).ok().json();
    for (list, definition) in [
        ("/namespaces", "NamespaceType"),
        ("/seccomp/actions", "SeccompAction"),
        ("/seccomp/operators", "SeccompOperators"),
        ("/seccomp/knownFlags", "SeccompFlag"),
        ("/memoryPolicy/modes", "MemoryPolicyMode"),
        ("/memoryPolicy/flags", "MemoryPolicyFlag"),
    ] {
        let told = sorted(features["linux"].pointer(list).unwrap_or_else(|| panic!("{list}: {features:#}")));
        assert_eq!(told, names(definition), "{list}");
    }
    // The library does not know them all.
    let (told, known) = (sorted(&features["linux"]["seccomp"]["archs"]), names("SeccompArch"));
    assert!(told.len() > 10 && told.iter().all(|name| known.contains(name)), "{told:?}");
    for switch in ["apparmor", "selinux", "intelRdt", "netDevices"] {
        assert_eq!(features["linux"][switch]["enabled"], true, "{switch}");
    }
    assert_eq!(
        (&features["linux"]["intelRdt"]["schemata"], &features["linux"]["intelRdt"]["monitoring"]),
        (&json!(true), &json!(true))
    );
}

#[test]
fn features_has_its_keys_in_runcs_order() {
    differs!("crun", "crun 1.8.1 has no such verb");
    let text = Bundle::new().rt.call(["features"]).ok().stdout;
    let top = [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ];
    let linux = [
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "netDevices",
    ];
    for (depth, order) in [(1, &top[..]), (2, &linux)] {
        let found = keys(&text, depth);
        let expected: Vec<&str> = order.iter().copied().filter(|name| found.contains(name)).collect();
        assert_eq!(found, expected);
    }
}

/// The keys at a depth of printed JSON, as they come; annotations, whose names have dots, left out.
fn keys(text: &str, depth: usize) -> Vec<&str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let step = indent(text.lines().nth(1).expect("several lines"));
    let lines = text.lines().filter(|line| indent(line) == depth * step);
    let keys = lines.filter_map(|line| line.trim_start().strip_prefix('"')?.split_once("\":"));
    keys.map(|(name, _)| name).filter(|name| !name.contains('.')).collect()
}

#[test]
fn spec_writes_a_configuration() {
    let schema = Schema::of("config");
    let bundle = Bundle::new();
    for flags in [&[][..], &["--rootless"]] {
        let directory = bundle.host_dir(&format!("spec{}", flags.len()));
        let mut command = bundle.rt.command(["spec"]);
        command.args(flags).arg("--bundle").arg(&directory);
        bundle.rt.finish(command).ok();
        let text = fs::read_to_string(directory.join("config.json")).unwrap();
        schema.allows(&serde_json::from_str(&text).unwrap());
    }
}

#[test]
fn state_is_a_state_document_at_every_status() {
    let schema = Schema::of("state");
    let mut bundle = Bundle::waiting();
    bundle.set("/annotations", json!({ "org.example.key": "value" }));
    let container = bundle.create();
    let check = |status: &str| {
        let state = container.state();
        assert_eq!(state["status"], status);
        schema.allows(&state);
    };
    check("created");
    container.start();
    check("running");
    container.kill("KILL").wait();
    check("stopped");
}

#[test]
fn hooks_get_a_state_document() {
    let schema = Schema::of("state");
    let mut bundle = Bundle::new();
    let mut told = Fifo::new(&bundle.path("told"));
    let (script, path) = (bundle.path("hook"), bundle.path("told"));
    // One line each: the document has no line breaks.
    fs::write(&script, format!("#!/bin/sh\n{{ cat; echo; }} >> {}\n", path.display())).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        bundle.push(&format!("/hooks/{kind}"), json!({ "path": script }));
    }
    bundle.run().ok();
    for _ in 0..4 {
        schema.allows(&serde_json::from_str(&told.line()).unwrap());
    }
}

#[test]
fn the_configurations_of_these_tests_are_the_specifications() {
    let mut bundle = Bundle::waiting();
    bundle.user_namespace();
    Schema::of("config").allows(&bundle.config);
}
