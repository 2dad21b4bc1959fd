//! Both documents are sound, private and alike; an existing file stays as it is.

use serde_json::{Value, json};

use super::*;
use crate::bundle::{OCI_VERSION, parse};

#[test]
fn both_documents_are_accepted_by_this_program_without_a_warning() {
    for document in [EXAMPLE.to_owned(), rootless(1000, 100)] {
        let mut warn = Vec::new();
        assert_eq!(parse(document.as_bytes(), &mut warn).unwrap().version(), OCI_VERSION);
        assert!(warn.is_empty());
    }
}

#[test]
fn the_rootless_document_differs_from_the_other_only_where_it_must() {
    let mut expected: Value = serde_json::from_str(EXAMPLE).unwrap();
    expected["mounts"][2]["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
    expected["mounts"][5] = json!({"destination": "/sys", "type": "none", "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
    let linux = expected["linux"].as_object_mut().unwrap();
    linux.remove("resources");
    linux.insert("uidMappings".into(), json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
    linux.insert("gidMappings".into(), json!([{"containerID": 0, "hostID": 100, "size": 1}]));
    let namespaces = linux["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(json!({"type": "user"}));
    assert_eq!(serde_json::from_str::<Value>(&rootless(1000, 100)).unwrap(), expected);
}

#[test]
fn cve_2022_29162_no_capability_is_inheritable_or_ambient() {
    for document in [EXAMPLE, ROOTLESS] {
        assert!(!document.contains("inheritable") && !document.contains("ambient"));
    }
}

#[test]
fn an_existing_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(CONFIG);
    write_new(&dir.path().join(CONFIG), "--bundle", EXAMPLE).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("{\n\t\"ociVersion\""));
    fs::write(&file, "mine").unwrap();
    let error = write_new(&dir.path().join(CONFIG), "--bundle", EXAMPLE).unwrap_err();
    assert_eq!(error.what, "File config.json exists. Remove it first");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let error = write_new(&dir.path().join("missing").join(CONFIG), "--bundle", EXAMPLE).unwrap_err();
    assert!(error.what.ends_with("no such file or directory"), "{error}");
}
