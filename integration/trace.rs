//! `--trace` and `plan --timings`: where the time of each verb went.

use std::fs;

use crate::harness::{Bundle, Value, json};

/// The events in the file: the array may lack its end (Chrome's trace format).
fn events(text: &str) -> Vec<Value> {
    let text = text.trim_end().trim_end_matches(',');
    serde_json::from_str(&format!("{text}]")).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn names(events: &[Value], verb: &str, thread: &str) -> Vec<String> {
    let of = events.iter().filter(|event| event["cat"] == json!(verb) && event["tid"] == json!(thread));
    of.map(|event| event["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_phase_of_parent_and_child_is_timed_and_shown() {
    only_oarlock!("--trace is oarlock's");
    let bundle = Bundle::waiting();
    let file = bundle.path("trace.json");
    let trace = ["--trace", file.to_str().unwrap()];
    let _container = bundle.create_with(&trace);
    bundle.rt.call(["start", "--trace", trace[1], &bundle.id]).ok();
    bundle.rt.call(["exec", "--trace", trace[1], &bundle.id, "true"]).ok();
    bundle.rt.call(["delete", "--trace", trace[1], "--force", &bundle.id]).ok();
    let text = fs::read_to_string(&file).unwrap();
    let events = events(&text);
    let init = names(&events, "create", "init");
    for phase in ["namespaces", "rootfs", "mounts", "dev", "paths", "pivot", "process"] {
        assert!(init.iter().any(|name| name == phase), "{phase}: {init:?}");
    }
    let runtime = names(&events, "create", "runtime");
    for phase in ["compile", "cgroup", "clone", "wait for init", "create"] {
        assert!(runtime.iter().any(|name| name == phase), "{phase}: {runtime:?}");
    }
    assert!(names(&events, "start", "runtime").contains(&"release init".to_owned()));
    assert!(names(&events, "exec", "process").contains(&"enter".to_owned()));
    assert!(names(&events, "delete", "runtime").contains(&"remove cgroup".to_owned()));
    // One clock for both processes, whatever their namespaces: a part lies within the whole.
    let time = |event: &Value| (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
    let (start, took) = time(events.iter().find(|event| event["name"] == json!("create")).unwrap());
    for event in events.iter().filter(|event| event["tid"] == json!("init")) {
        let (at, length) = time(event);
        assert!(at >= start && length >= 0.0 && at <= start + took, "{event}");
    }
    let shown = bundle.rt.call(["plan", "--timings", trace[1]]).ok();
    for line in ["create: ", "start: ", "exec: ", "delete: "] {
        assert!(shown.stdout.lines().any(|shown| shown.starts_with(line)), "{line}: {shown}");
    }
    assert!(shown.stdout.contains("init     mounts"), "{shown}");
}

#[test]
fn the_program_does_not_inherit_the_trace() {
    only_oarlock!("--trace is oarlock's");
    let bundle = Bundle::sh("ls -l /proc/self/fd");
    let file = bundle.path("trace.json");
    let output = bundle.run_with(&["--trace", file.to_str().unwrap()]).ok();
    assert!(!output.stdout.contains("trace.json"), "{output}");
    assert!(fs::metadata(&file).unwrap().len() > 2);
}

#[test]
fn a_trace_that_cannot_be_written_or_read_is_refused() {
    only_oarlock!("--trace is oarlock's");
    let bundle = Bundle::sh("true");
    bundle.refused_with(&["--trace", "/nonexistent/file"]).names("--trace");
    let file = bundle.file("no-trace", "hello\n", 0o644);
    bundle.rt.call(["plan", "--timings", file.to_str().unwrap()]).names("--timings");
}
