//! `events`: the shape that clients of runc parse, the numbers in it, the stream and its end.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::harness::{Bundle, Fifo, Value, cgroup, json, sys};

/// The limits that are compared.
fn limited() -> Bundle {
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/pids", json!({"limit": 50}));
    bundle.set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000, "cpus": "0"}));
    if cgroup::has_v1("memory") || cgroup::has_v2("memory") {
        bundle.set("/linux/resources/memory", json!({"limit": 67_108_864, "reservation": 33_554_432}));
    }
    if cgroup::is_v2() {
        for controller in ["pids", "cpu", "cpuset"] {
            if !cgroup::has_v2(controller) {
                bundle.remove(if controller == "pids" { "/linux/resources/pids" } else { "/linux/resources/cpu" });
            }
        }
    }
    bundle
}

/// `events --stats` in full: one line of text.
#[track_caller]
fn stats_line(bundle: &Bundle) -> String {
    let output = bundle.rt.call(["events", "--stats", &bundle.id]).ok();
    assert_eq!(output.lines().len(), 1, "{output}");
    assert!(output.stdout.ends_with('\n'), "{output}");
    output.stdout.trim().to_owned()
}

/// runc beside the runtime under test, for a container of its own.
struct Runc<'b> {
    bundle: &'b Bundle,
    root: PathBuf,
}

impl<'b> Runc<'b> {
    fn new(bundle: &'b Bundle) -> Self {
        let this = Self { bundle, root: bundle.path("runc") };
        bundle.write();
        let dir = bundle.path("");
        // Streams that the container keeps open must not be ours to wait for.
        let made = this.command(&["run", "-d", "-b", dir.to_str().unwrap(), &bundle.id]).status();
        assert!(made.expect("runc").success());
        this
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.root).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn stats_line(&self) -> String {
        let output = self.command(&["events", "--stats", &self.bundle.id]).stdout(Stdio::piped()).output();
        String::from_utf8(output.expect("runc").stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Runc<'_> {
    fn drop(&mut self) {
        self.command(&["delete", "--force", &self.bundle.id]).status().ok();
    }
}

/// The keys of a document in their order, each with its path. `serde_json` would sort them: this reads the text.
fn keys(text: &str) -> Vec<String> {
    let (mut found, mut path, mut chars) = (Vec::new(), Vec::<String>::new(), text.chars().peekable());
    let mut last = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let word: String = chars.by_ref().take_while(|c| *c != '"').collect();
                if chars.peek() == Some(&':') {
                    found.push(format!("{}/{word}", path.join("/")));
                    last = word;
                }
            }
            '{' => path.push(std::mem::take(&mut last)),
            '}' => {
                path.pop();
            }
            _ => {}
        }
    }
    found
}

/// Keys that only say something when there was something: what two containers need not have in common.
fn is_optional(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    let often = ["usage", "max", "cache", "periods", "throttledPeriods", "throttledTime", "total"];
    let named =
        often.contains(&name) && !key.contains("/raw/") && !["/data/cpu/usage", "/data/memory/usage"].contains(&key);
    named || key.contains("/blkio/") || key.contains("/psi") || key.contains("/hugetlb/")
}

#[test]
fn the_statistics_are_runcs_field_by_field() {
    differs!("crun", "crun has no events");
    if Command::new("runc").arg("--version").output().is_err() {
        skip!("there is no runc to compare with");
    }
    let (ours, theirs) = (limited(), limited());
    let _container = ours.started();
    let runc = Runc::new(&theirs);
    let (our_line, their_line) = (stats_line(&ours), runc.stats_line());
    let fixed = |line: &str| -> Vec<String> { keys(line).into_iter().filter(|key| !is_optional(key)).collect() };
    assert_eq!(fixed(&our_line), fixed(&their_line), "\n{our_line}\n{their_line}");
    // Those that are there sometimes are in the same places.
    let (our_keys, their_keys) = (keys(&our_line), keys(&their_line));
    let common = |of: &[String], with: &[String]| -> Vec<String> {
        of.iter().filter(|key| with.contains(key)).cloned().collect()
    };
    assert_eq!(common(&our_keys, &their_keys), common(&their_keys, &our_keys), "\n{our_line}\n{their_line}");

    let (ours, theirs): (Value, Value) =
        (serde_json::from_str(&our_line).unwrap(), serde_json::from_str(&their_line).unwrap());
    // What depends on the limits and not on the moment is the same; the rest has the same type.
    for pointer in [
        "/type",
        "/data/cpuset",
        "/data/pids",
        "/data/memory/usage/limit",
        "/data/memory/usage/failcnt",
        "/data/memory/swap/limit",
        "/data/memory/kernel/limit",
        "/data/memory/kernelTCP",
        "/data/memory/raw/hierarchical_memory_limit",
        "/data/memory/raw/hierarchical_memsw_limit",
        "/data/intel_rdt",
        "/data/network_interfaces",
    ] {
        assert_eq!(ours.pointer(pointer), theirs.pointer(pointer), "{pointer}");
    }
    for key in fixed(&our_line).iter().filter(|key| !key.contains("/raw/")) {
        let (our, their) = (&ours.pointer(key), &theirs.pointer(key));
        let kind = |value: &Option<&Value>| value.map(std::mem::discriminant);
        assert_eq!(kind(our), kind(their), "{key}");
    }
    let length = |line: &Value, list: &str| line["data"]["cpu"]["usage"][list].as_array().map(Vec::len);
    for list in ["percpu", "percpu_kernel", "percpu_user"] {
        assert_eq!(length(&ours, list), length(&theirs, list), "{list}");
    }
}

#[test]
fn the_statistics_are_what_the_host_says() {
    differs!("crun", "crun has no events");
    if !["memory", "pids", "cpu", "cpuset"].into_iter().all(cgroup::has) {
        skip!("the host lacks the memory, pids, cpu or cpuset controller");
    }
    let bundle = limited();
    let _container = bundle.started();
    let event: Value = serde_json::from_str(&stats_line(&bundle)).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id)));
    let data = &event["data"];
    let read = |controller, file| cgroup::read(controller, &bundle.cgroup(), file).parse::<u64>().unwrap();
    assert_eq!(data["pids"], json!({"current": 1, "limit": 50}));
    assert_eq!(data["memory"]["usage"]["limit"], 67_108_864);
    // The program sleeps: nothing moves. On v2 runc tells nothing of the cpuset.
    if cgroup::is_v2() {
        let stat = cgroup::read("", &bundle.cgroup(), "cpu.stat");
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap().parse::<u64>().unwrap();
        assert_eq!(data["cpu"]["usage"]["total"], usage * 1000);
        assert_eq!(data["memory"]["usage"]["max"], read("", "memory.peak"));
        return;
    }
    assert_eq!(data["cpuset"]["cpus"], json!([0]));
    assert_eq!(data["memory"]["raw"]["hierarchical_memory_limit"], 67_108_864);
    assert_eq!(data["cpu"]["usage"]["total"], read("cpuacct", "cpuacct.usage"));
    assert_eq!(data["memory"]["usage"]["max"], read("memory", "memory.max_usage_in_bytes"));
}

#[test]
fn time_spent_and_time_denied_are_counted() {
    differs!("crun", "crun has no events");
    if !cgroup::has("cpu") {
        skip!("the host has no cpu controller");
    }
    let mut bundle = Bundle::sh("while :; do :; done");
    // Less than a busy host gives at a time: however little the container gets, it is too much for some period.
    bundle.set("/linux/resources/cpu", json!({"quota": 1_000, "period": 10_000}));
    let container = bundle.started();
    let cpu = || serde_json::from_str::<Value>(&stats_line(&bundle)).unwrap()["data"]["cpu"].take();
    let end = sys::deadline();
    let told = |cpu: &Value| {
        let denied = ["periods", "throttledPeriods", "throttledTime"];
        denied.into_iter().all(|field| cpu["throttling"][field].as_u64() > Some(0))
            && cpu["usage"]["total"].as_u64() > Some(1_000_000)
    };
    while let cpu = cpu()
        && !told(&cpu)
    {
        assert!(Instant::now() < end, "{cpu}");
    }
    if !cgroup::is_v2() {
        container.call("pause", &[]).ok();
        let usage = &cpu()["usage"];
        let percpu = usage["percpu"].as_array().unwrap();
        assert_eq!(percpu.iter().filter_map(Value::as_u64).sum::<u64>(), usage["total"].as_u64().unwrap());
    }
}

#[test]
fn pressure_is_told_where_the_container_has_a_v2_cgroup() {
    only_oarlock!("runc tells it since 1.2, on v2 alone");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let v2 = cgroup::dirs(&bundle.cgroup()).into_iter().find(|dir| dir.join("cpu.pressure").exists());
    let event: Value = serde_json::from_str(&stats_line(&bundle)).unwrap();
    for part in ["cpu", "memory", "blkio"] {
        let psi = &event["data"][part]["psi"];
        if v2.is_none() {
            assert!(psi.is_null(), "{part}: {psi}");
            continue;
        }
        for which in ["some", "full"] {
            let names: Vec<&str> = psi[which].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["avg10", "avg300", "avg60", "total"], "{part} {which}");
        }
    }
}

/// `events` that goes on, its lines read one by one.
struct Stream {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Stream {
    /// Until its timer is set it has not looked at the container, and would rightly find a dead one not running.
    fn wait_for_its_timer(&self) {
        let end = sys::deadline();
        let has_timer = || {
            let fds = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
            fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|link| link.ends_with("anon_inode:[timerfd]"))
        };
        while !has_timer() {
            assert!(Instant::now() < end, "events sets no timer");
            std::thread::yield_now();
        }
    }

    fn new(bundle: &Bundle, interval: &str) -> Self {
        let mut command = bundle.rt.command(["events", "--interval", interval, &bundle.id]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next event; `None` at the end.
    #[track_caller]
    fn next(&mut self) -> Option<Value> {
        if self.lines.buffer().is_empty() {
            assert!(sys::wait_readable(self.lines.get_ref().as_fd(), sys::DEADLINE), "no event came");
        }
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
    }

    /// Reads to the end.
    #[track_caller]
    fn end(&mut self) {
        let end = sys::deadline();
        while self.next().is_some() {
            assert!(Instant::now() < end, "the stream does not end");
        }
    }

    /// The next event of a type; those of the other are passed over.
    #[track_caller]
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before {kind:?}"));
            if event["type"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_stream_repeats_and_ends_with_the_container() {
    differs!("crun", "crun has no events");
    differs!("runc", "runc's stream ends when the cgroup is removed");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let mut stream = Stream::new(&bundle, "50ms");
    for _ in 0..3 {
        let event = stream.next().unwrap();
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id)));
        assert!(event["data"]["cpu"].is_object());
    }
    container.kill("KILL");
    stream.end();
    assert!(stream.child.wait().unwrap().success());
}

#[test]
fn the_stream_of_a_long_interval_ends_at_once_too() {
    differs!("crun", "crun has no events");
    differs!("runc", "runc's stream ends when the cgroup is removed");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let mut stream = Stream::new(&bundle, "1h30m");
    stream.wait_for_its_timer();
    container.kill("KILL");
    assert_eq!(stream.next(), None);
    assert!(stream.child.wait().unwrap().success());
}

#[test]
fn memory_that_runs_out_is_an_event() {
    differs!("crun", "crun has no events");
    if cgroup::is_v2() && !cgroup::has_v2("memory") || !cgroup::is_v2() && !cgroup::has_v1("memory") {
        skip!("the host has no memory controller here");
    }
    let mut bundle = Bundle::new();
    let mut ask = Fifo::new(&bundle.rootfs("ask"));
    bundle.script("exec 3<>/ask; while read line <&3; do dd if=/dev/zero of=/dev/null bs=64M count=1; done");
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    if !cgroup::is_v2() && !cgroup::file("memory", "/", "memory.memsw.limit_in_bytes").exists() {
        bundle.remove("/linux/resources/memory/swap");
    }
    let _container = bundle.started();
    let mut stream = Stream::new(&bundle, "20ms");
    // It has begun to listen before the first statistics.
    stream.next_of("stats");
    for _ in 0..2 {
        ask.tell("again");
        assert_eq!(stream.next_of("oom"), json!({"type": "oom", "id": bundle.id}));
    }
}

#[test]
fn memory_that_ends_the_container_is_an_event_before_the_end() {
    differs!("crun", "crun has no events");
    differs!("runc", "runc's stream ends when the cgroup is removed");
    if cgroup::is_v2() && !cgroup::has_v2("memory") || !cgroup::is_v2() && !cgroup::has_v1("memory") {
        skip!("the host has no memory controller here");
    }
    let mut bundle = Bundle::new();
    let mut ask = Fifo::new(&bundle.rootfs("ask"));
    bundle.script("read line < /ask; exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216}));
    let container = bundle.started();
    let mut stream = Stream::new(&bundle, "20ms");
    stream.next_of("stats");
    ask.tell("go");
    stream.next_of("oom");
    stream.end();
    assert_eq!(container.wait(), 137);
}

#[test]
fn an_interval_is_written_as_go_writes_it() {
    differs!("crun", "crun has no events");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for interval in ["5s", "100ms", "1m30s", "1.5h", "2us"] {
        bundle.rt.call(["events", "--stats", "--interval", interval, &bundle.id]).ok();
    }
    for interval in ["5", "x", "-1s", "0s", "5 s", ""] {
        let flag = format!("--interval={interval}");
        bundle.rt.call(["events", "--stats", &flag, &bundle.id]).names("--interval");
    }
}

#[test]
fn a_stopped_or_missing_container_has_no_events() {
    differs!("crun", "crun has no events");
    let bundle = Bundle::sh("true");
    let container = bundle.started();
    container.wait();
    for flags in [&["--stats"][..], &[]] {
        let output = bundle.rt.call([&["events"], flags, &[&bundle.id]].concat()).failed();
        output.says(&format!("container with id {} is not running", bundle.id));
    }
    bundle.rt.call(["events", "missing"]).failed().says("container does not exist");
}
