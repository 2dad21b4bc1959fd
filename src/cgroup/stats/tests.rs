//! The shape as runc writes it, and the kernel's formats read from files like the kernel's.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::plan::cgroup::Dir;

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
}

/// A stand-in for one v1 hierarchy's directory.
fn v1_dir(controllers: &[&str], dir: &Path) -> Dir {
    let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
    Dir { controllers, mount: dir.parent().unwrap().into(), below: dir.file_name().unwrap().into() }
}

#[test]
fn nothing_used_is_written_as_runc_writes_it() {
    let text = serde_json::to_string(&Stats::default()).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"#,
            r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
            r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"#,
            r#""sched_relax_domain_level":0},"#,
            r#""memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"#,
            r#""kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"#,
            r#""pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#
        )
    );
}

#[test]
fn everything_used_is_in_runcs_order() {
    let entry = MemoryEntry { limit: 1, usage: 2, max: 3, failcnt: 4 };
    let data = PsiData { avg10: 1.5, avg60: 2.0, avg300: 0.25, total: 9 };
    let psi = Some(Psi { some: data, full: PsiData::default() });
    let io = || vec![BlkioEntry { major: 8, minor: 1, op: "Read".into(), value: 5 }];
    let stats = Stats {
        cpu: Cpu {
            usage: CpuUsage {
                total: 1,
                percpu: vec![1],
                percpu_kernel: vec![2],
                percpu_user: vec![3],
                kernel: 4,
                user: 5,
            },
            throttling: Throttling { periods: 1, throttled_periods: 2, throttled_time: 3 },
            psi,
        },
        memory: Memory { cache: 1, usage: entry, raw: [("b".into(), 0), ("a".into(), 1)].into(), ..Memory::default() },
        pids: Pids { current: 1, limit: 2 },
        blkio: Blkio { io_service_bytes_recursive: io(), io_queued_recursive: io(), psi, ..Blkio::default() },
        hugetlb: [("2MB".to_owned(), Hugetlb { usage: 1, max: 2, failcnt: 3 })].into(),
        ..Stats::default()
    };
    let text = serde_json::to_string(&stats).unwrap();
    let pressure = r#""psi":{"some":{"avg10":1.5,"avg60":2,"avg300":0.25,"total":9},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}"#;
    let list = r#"[{"major":8,"minor":1,"op":"Read","value":5}]"#;
    for part in [
        r#"{"cpu":{"usage":{"total":1,"percpu":[1],"percpu_kernel":[2],"percpu_user":[3],"kernel":4,"user":5},"#,
        r#""throttling":{"periods":1,"throttledPeriods":2,"throttledTime":3},"#,
        r#""memory":{"cache":1,"usage":{"limit":1,"usage":2,"max":3,"failcnt":4},"#,
        r#""raw":{"a":1,"b":0}}"#,
        r#""pids":{"current":1,"limit":2}"#,
        &format!(r#""blkio":{{"ioServiceBytesRecursive":{list},"ioQueueRecursive":{list},{pressure}}}"#),
        r#""hugetlb":{"2MB":{"usage":1,"max":2,"failcnt":3}}"#,
        pressure,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn v1_files_are_read_whatever_the_scheduler_is() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("cpu.stat", "nr_periods 5\nnr_throttled 3\nthrottled_time 700\n"),
            ("cpuacct.usage", "1234\n"),
            ("cpuacct.usage_percpu", "1000 234 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 700 300\n1 200 34\n"),
            ("cpuacct.stat", "user 2\nsystem 1\n"),
            ("cpus", "0-2,5\n"),
            ("mems", "0\n"),
            ("sched_relax_domain_level", "-1\n"),
            ("memory.stat", "cache 4096\nrss 0\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "8192\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            ("blkio.bfq.sectors_recursive", ""),
            ("blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 0\n8:0 Total 1\nTotal 1\n"),
            ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 4096\nTotal 4096\n"),
            ("hugetlb.2MB.usage_in_bytes", "1\n"),
            ("hugetlb.2MB.max_usage_in_bytes", "2\n"),
            ("hugetlb.2MB.failcnt", "3\n"),
            ("hugetlb.2MB.rsvd.usage_in_bytes", "4\n"),
        ],
    );
    let mut stats = Stats::default();
    let all = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"];
    v1::read(&v1_dir(&all, dir.path()), &mut stats).unwrap();
    let found = serde_json::to_value(&stats).unwrap();
    assert_eq!(found["cpu"]["throttling"], json!({"periods": 5, "throttledPeriods": 3, "throttledTime": 700}));
    assert_eq!(
        found["cpu"]["usage"],
        json!({"total": 1234, "percpu": [1000, 234], "percpu_kernel": [300, 34], "percpu_user": [700, 200],
            "kernel": 10_000_000, "user": 20_000_000})
    );
    assert_eq!(found["cpuset"]["cpus"], json!([0, 1, 2, 5]));
    assert_eq!(found["cpuset"]["sched_relax_domain_level"], -1);
    assert_eq!(found["memory"]["cache"], 4096);
    assert_eq!(found["memory"]["usage"], json!({"limit": 9_223_372_036_854_771_712_u64, "usage": 8192, "failcnt": 0}));
    assert_eq!(found["pids"], json!({"current": 3}));
    let entry = |op, value| json!({"major": 8, "op": op, "value": value});
    let bytes = json!([entry("Read", 4096)]);
    let zero = json!({"major": 8, "op": "Write"});
    assert_eq!(found["blkio"]["ioServiceBytesRecursive"], bytes);
    assert_eq!(found["blkio"]["ioServicedRecursive"], json!([entry("Read", 1), zero, entry("Total", 1)]));
    assert_eq!(found["hugetlb"], json!({"2MB": {"usage": 4, "failcnt": 0}}));
}

#[test]
fn v2_files_are_told_in_v1s_terms() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("cpu.stat", "usage_usec 10\nuser_usec 7\nsystem_usec 3\nnr_periods 2\nnr_throttled 1\nthrottled_usec 5\n"),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=0.00 avg300=0.01 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
            ),
            ("memory.stat", "anon 10\nfile 4096\n"),
            ("memory.current", "100\n"),
            ("memory.max", "1000\n"),
            ("memory.peak", "200\n"),
            ("memory.swap.current", "50\n"),
            ("memory.swap.max", "500\n"),
            ("pids.current", "2\n"),
            ("pids.max", "64\n"),
            ("io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n7:0 \n"),
            ("hugetlb.1GB.current", "1\n"),
            ("hugetlb.1GB.rsvd.current", "2\n"),
            ("hugetlb.1GB.events", "max 3\n"),
        ],
    );
    let mut stats = Stats::default();
    v2::read(dir.path(), |_| true, &mut stats).unwrap();
    let found = serde_json::to_value(&stats).unwrap();
    assert_eq!(found["cpu"]["usage"], json!({"total": 10_000, "kernel": 3_000, "user": 7_000}));
    assert_eq!(found["cpu"]["throttling"], json!({"periods": 2, "throttledPeriods": 1, "throttledTime": 5_000}));
    assert_eq!(found["cpu"]["psi"]["some"], json!({"avg10": 1.5, "avg60": 0, "avg300": 0.01, "total": 77}));
    assert_eq!(found["cpu"]["psi"]["full"]["total"], 3);
    assert_eq!(found["memory"]["cache"], 4096);
    assert_eq!(found["memory"]["usage"], json!({"limit": 1000, "usage": 100, "max": 200, "failcnt": 0}));
    assert_eq!(found["memory"]["swap"], json!({"limit": 1500, "usage": 150, "failcnt": 0}));
    assert!(found["memory"].get("psi").is_none(), "{found}");
    assert_eq!(found["pids"], json!({"current": 2, "limit": 64}));
    let entry = |op: &str, value: u64| {
        if value == 0 { json!({"major": 8, "op": op}) } else { json!({"major": 8, "op": op, "value": value}) }
    };
    assert_eq!(found["blkio"]["ioServiceBytesRecursive"], json!([entry("Read", 4096), entry("Write", 0)]));
    assert_eq!(found["blkio"]["ioServicedRecursive"], json!([entry("Read", 1), entry("Write", 0)]));
    assert_eq!(found["hugetlb"], json!({"1GB": {"usage": 2, "failcnt": 3}}));
    // What v1 holds is not read here, pressure is.
    let mut hybrid = Stats::default();
    v2::read(dir.path(), |_| false, &mut hybrid).unwrap();
    assert_eq!(hybrid.cpu.usage, CpuUsage::default());
    assert_eq!(hybrid.cpu.psi, stats.cpu.psi);
}

#[test]
fn no_limit_of_memory_stays_none_with_swap() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("memory.current", "1\n"), ("memory.max", "max\n"), ("memory.swap.max", "7\n")]);
    let mut stats = Stats::default();
    v2::read(dir.path(), |_| true, &mut stats).unwrap();
    assert_eq!(stats.memory.swap.limit, u64::MAX);
}
