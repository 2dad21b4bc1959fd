use super::*;

/// A directory tree in the place of resctrl: what the kernel would do to it, the tests do.
struct Tree {
    directory: tempfile::TempDir,
    resctrl: Resctrl,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let resctrl = Resctrl { root: directory.path().to_owned() };
        let tree = Self { directory, resctrl };
        tree.file("schemata", "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n");
        tree.file("mon_groups/.keep", "");
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The kernel's files in a group do not keep it from being removed.
    fn empty(&self, group: &str) {
        for entry in fs::read_dir(self.path(group)).unwrap().flatten() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn wanted(group: &str, named: bool, schemata: &[&str]) -> IntelRdt {
    let schemata = schemata.iter().map(ToString::to_string).collect();
    IntelRdt { group: group.into(), named, schemata, monitoring: false }
}

/// Proves: linux.intelRdt.{schemata,l3CacheSchema,memBwSchema}
#[test]
fn a_container_gets_a_group_of_its_own_that_goes_with_it() {
    let tree = Tree::new();
    let wanted = wanted("id", false, &["L3:0=f", "MB:0=20"]);
    let group = tree.resctrl.place(&wanted, "id").unwrap();
    assert!(!tree.path("id").exists() && group.own);
    tree.resctrl.make(&wanted, &group).unwrap();
    assert_eq!(tree.text("id/schemata"), "L3:0=f\nMB:0=20\n");
    group.add(42).unwrap();
    assert_eq!(tree.text("id/tasks"), "42");
    let text = serde_json::to_string(&group).unwrap();
    assert_eq!(serde_json::from_str::<Group>(&text).unwrap(), group);
    let taken = tree.resctrl.place(&wanted, "id").unwrap_err().to_string();
    assert!(taken.starts_with("linux.intelRdt: ") && taken.contains("is there already"), "{taken}");
    tree.resctrl.set(&group, &["L3:0=3".to_owned()]).unwrap();
    assert_eq!(group.shares().unwrap(), ["L3:0=3"]);
    tree.empty("id");
    group.remove().unwrap();
    assert!(!tree.path("id").exists());
    group.remove().unwrap();
    assert!(is_gone(&group.add(42).unwrap_err()));
}

/// Proves: linux.intelRdt.closID
#[test]
fn a_group_that_is_named_is_shared_and_left() {
    let tree = Tree::new();
    let none = tree.resctrl.place(&wanted("gold", true, &[]), "id").unwrap_err().to_string();
    assert!(none.starts_with("linux.intelRdt.closID: ") && none.contains("no such group"), "{none}");
    tree.file("gold/schemata", "    MB:0= 50;1= 50\n    L3:0=0ff;1=00f\n");
    for schemata in [&[][..], &["L3:0=ff;1=f"], &["L3:1=0x0F"], &["MB:0=50", "L3:0=ff"]] {
        let group = tree.resctrl.place(&wanted("gold", true, schemata), "id").unwrap();
        assert!(!group.own, "{schemata:?}");
        tree.resctrl.make(&wanted("gold", true, schemata), &group).unwrap();
        group.add(7).unwrap();
        assert_eq!(tree.text("gold/tasks"), "7");
        group.remove().unwrap();
        assert_eq!(tree.text("gold/schemata"), "    MB:0= 50;1= 50\n    L3:0=0ff;1=00f\n");
    }
    for schemata in [&["L3:0=f"][..], &["L3:2=ff"], &["L2:0=ff"], &["MB:0=50", "L3:0=1"]] {
        let error = tree.resctrl.place(&wanted("gold", true, schemata), "id").unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt: ") && error.contains(schemata.last().unwrap()), "{error}");
    }
    let root = tree.resctrl.place(&wanted("", true, &[]), "id").unwrap();
    assert_eq!((root.path.as_path(), root.own), (tree.directory.path(), false));
}

#[test]
fn a_group_that_is_named_and_not_there_is_made_with_its_shares() {
    let tree = Tree::new();
    let wanted = wanted("gold", true, &["L3:0=f"]);
    let group = tree.resctrl.place(&wanted, "id").unwrap();
    tree.resctrl.make(&wanted, &group).unwrap();
    assert_eq!((group.own, tree.text("gold/schemata")), (true, "L3:0=f\n".to_owned()));
}

/// Proves: linux.intelRdt.enableMonitoring
#[test]
fn a_monitoring_group_is_the_containers_own_wherever_it_is() {
    let tree = Tree::new();
    let wanted = IntelRdt { monitoring: true, ..wanted("", true, &[]) };
    let group = tree.resctrl.place(&wanted, "id").unwrap();
    tree.resctrl.make(&wanted, &group).unwrap();
    group.add(42).unwrap();
    assert_eq!((tree.text("tasks"), tree.text("mon_groups/id/tasks")), ("42".to_owned(), "42".to_owned()));
    tree.empty("mon_groups/id");
    group.remove().unwrap();
    assert!(!tree.path("mon_groups/id").exists() && tree.path("schemata").exists());
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let tree = Tree::new();
    fs::remove_dir_all(tree.path("mon_groups")).unwrap();
    let wanted = IntelRdt { monitoring: true, ..wanted("id", false, &[]) };
    let group = tree.resctrl.place(&wanted, "id").unwrap();
    let error = format!("{:#}", tree.resctrl.make(&wanted, &group).unwrap_err());
    assert!(error.starts_with("linux.intelRdt: mkdir("), "{error}");
    assert!(!tree.path("id").exists());
    // What another has made meanwhile is not ours to remove.
    let wanted = super::tests::wanted("gold", true, &["L3:0=f"]);
    let group = tree.resctrl.place(&wanted, "id").unwrap();
    fs::create_dir(tree.path("gold")).unwrap();
    tree.resctrl.make(&wanted, &group).unwrap_err();
    assert!(tree.path("gold").exists());
}

#[test]
fn statistics_have_runcs_shape() {
    let tree = Tree::new();
    for (name, text) in [
        ("info/L3/cbm_mask", "7ff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("info/MB/delay_linear", "1\n"),
        ("info/MB/min_bandwidth", "10\n"),
        ("info/MB/num_closids", "8\n"),
        ("id/schemata", "    MB:0= 20;1= 70\n    L3:0=7f0;1=01f\n"),
        ("id/mon_data/mon_L3_01/mbm_total_bytes", "Unavailable\n"),
        ("id/mon_data/mon_L3_00/mbm_total_bytes", "9\n"),
        ("id/mon_data/mon_L3_00/mbm_local_bytes", "5\n"),
        ("id/mon_data/mon_L3_00/llc_occupancy", "123\n"),
        ("id/mon_data/mon_L3_01/llc_occupancy", "0\n"),
    ] {
        tree.file(name, text);
    }
    let group = Group { path: tree.path("id"), own: true, monitoring: None };
    assert_eq!(
        serde_json::to_string(&tree.resctrl.stats(&group)).unwrap(),
        concat!(
            r#"{"l3_cache_info":{"cbm_mask":"7ff","min_cbm_bits":1,"num_closids":16},"#,
            r#""l3_cache_schema_root":"L3:0=7ff;1=7ff","l3_cache_schema":"L3:0=7f0;1=01f","#,
            r#""mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":10,"num_closids":8},"#,
            r#""mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0= 20;1= 70","#,
            r#""mbm_stats":[{"mbm_total_bytes":9,"mbm_local_bytes":5},{}],"#,
            r#""cmt_stats":[{"llc_occupancy":123},{"llc_occupancy":0}]}"#
        )
    );
    let bare = Tree::new();
    let group = Group { path: bare.path("id"), own: true, monitoring: None };
    assert_eq!(serde_json::to_string(&bare.resctrl.stats(&group)).unwrap(), "{}");
}

#[test]
fn every_process_is_gathered_and_those_that_come_meanwhile() {
    let tree = Tree::new();
    tree.file("id/tasks", "");
    let group = Group { path: tree.path("id"), own: true, monitoring: None };
    let (rounds, added) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
    let pids = || {
        added.borrow_mut().push(tree.text("id/tasks"));
        rounds.set(rounds.get() + 1);
        Ok(if rounds.get() == 1 { vec![4, 5] } else { vec![5, 6] })
    };
    super::change::gather(&group, pids).unwrap();
    assert_eq!(*added.borrow(), ["", "5", "6"]);
}
