//! `plan`: what a bundle compiles to, printed without making anything. Only oarlock has it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Bundle, Output};

/// The example documents of the runtime specification.
fn documents(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/data/runtime-spec").join(kind);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{paths:?}");
    paths
}

fn plan(document: &Path) -> Output {
    let bundle = Bundle::new();
    fs::copy(document, bundle.path("config.json")).unwrap();
    bundle.rt.call(["plan", bundle.path("").to_str().unwrap()])
}

#[test]
fn every_good_document_of_the_specification_compiles() {
    only_oarlock!("`plan` is oarlock's");
    for document in documents("good") {
        let output = plan(&document);
        if matches!(document.file_name().unwrap().to_str().unwrap(), "freebsd-example.json" | "zos-example.json") {
            // Understood, but on Linux a host name takes a UTS namespace, which other systems have not.
            output.names("hostname");
            continue;
        }
        assert_eq!(output.code, 0, "{}: {output}", document.display());
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn every_bad_document_of_the_specification_is_refused_with_its_place() {
    only_oarlock!("`plan` is oarlock's");
    for document in documents("bad") {
        let output = plan(&document);
        let name = document.file_name().unwrap().to_str().unwrap();
        let place = match name {
            "linux-hugepage.json" => "linux.resources.hugepageLimits",
            "linux-netdevice.json" => "linux.netDevices",
            "linux-rdma.json" => "linux.resources.rdma",
            "freebsd-vnet-disable.json" => "freebsd.jail.vnet",
            // Not JSON at all: the place is a line and a column.
            "invalid-json.json" => "line",
            other => panic!("a new document: say where {other} is wrong"),
        };
        output.names(place);
    }
}

#[test]
fn a_plan_is_printed_as_text_and_as_json_and_makes_nothing() {
    only_oarlock!("`plan` is oarlock's");
    let bundle = Bundle::new();
    bundle.write();
    let directory = bundle.path("");
    let text = bundle.rt.call(["plan", directory.to_str().unwrap()]).ok();
    assert!(text.stdout.contains("/proc"), "{text}");
    let json = bundle.rt.call(["plan", directory.to_str().unwrap(), "--format", "json"]).ok();
    assert!(json.json().is_object(), "{json}");
    bundle.rt.call(["plan", directory.to_str().unwrap(), "--format", "yaml"]).failed();
    bundle.rt.call(["list", "-q"]).ok().prints("");
}

#[test]
fn a_plan_of_a_wrong_config_is_refused_as_create_would() {
    only_oarlock!("`plan` is oarlock's");
    let mut bundle = Bundle::new();
    bundle.set("/mounts/0/destination", "relative").write();
    let directory = bundle.path("");
    bundle.rt.call(["plan", directory.to_str().unwrap()]).names("mounts[0].destination");
}
