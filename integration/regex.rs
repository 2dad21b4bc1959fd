//! `kill --regex` and `delete --regex`: several containers at once, by their names.

use crate::harness::{Bundle, Container, is_oarlock};

/// Three bundles that share a state root: `ID-web-1`, `ID-web-2` and `ID-db`; and what their names begin with.
fn three() -> (String, [Bundle; 3]) {
    let mut bundles = [Bundle::waiting(), Bundle::waiting(), Bundle::waiting()];
    let (prefix, root) = (bundles[0].id.clone(), bundles[0].rt.root.clone());
    for (bundle, name) in bundles.iter_mut().zip(["web-1", "web-2", "db"]) {
        bundle.id = format!("{prefix}-{name}");
        bundle.rt.root.clone_from(&root);
        let place = bundle.cgroup();
        bundle.set("/linux/cgroupsPath", place);
    }
    (prefix, bundles)
}

#[test]
fn kill_reaches_every_container_that_matches_and_no_other() {
    differs!("runc", "runc has no --regex");
    let (prefix, bundles) = three();
    let [one, two, db] = bundles.each_ref().map(Bundle::started);
    bundles[0].rt.call(["kill", "--regex", &format!("^{prefix}-web-[0-9]$"), "KILL"]).ok();
    assert_eq!((one.wait(), two.wait()), (137, 137));
    assert_eq!(db.status(), "running");
    // As in crun, a part of the name will do.
    bundles[0].rt.call(["kill", "-r", &format!("{prefix}-d"), "KILL"]).ok();
    assert_eq!(db.wait(), 137);
}

#[test]
fn delete_removes_every_container_that_matches_and_no_other() {
    differs!("runc", "runc has no --regex");
    let (prefix, bundles) = three();
    let [one, two, db] = bundles.each_ref().map(Bundle::started);
    bundles[0].rt.call(["delete", "--force", "--regex", &format!("^{prefix}-(web-1|db)$")]).ok();
    let left = bundles[0].rt.call(["list", "--quiet"]).ok();
    assert_eq!(left.stdout.trim(), bundles[1].id);
    assert_eq!((one.wait(), db.wait()), (137, 137));
    two.kill("KILL").wait();
    bundles[0].rt.call(["delete", "-r", &prefix]).ok();
    assert_eq!(bundles[0].rt.call(["list", "--quiet"]).ok().stdout, "");
}

#[test]
fn one_that_fails_is_told_and_the_others_get_their_turn() {
    differs!("runc", "runc has no --regex");
    let (prefix, bundles) = three();
    let [one, two, db] = bundles.each_ref().map(Bundle::started);
    let stop = |container: &Container<'_>| container.kill("KILL").wait();
    stop(&one);
    stop(&db);
    let output = bundles[0].rt.call(["delete", "--regex", &prefix]);
    let words = format!("{}-web-2", prefix);
    assert!(output.stderr.contains(if is_oarlock() { &words } else { "not stopped" }), "{output}");
    if is_oarlock() {
        // crun reports success.
        assert_eq!((output.code, output.stderr.lines().count()), (1, 1), "{output}");
    }
    assert_eq!(bundles[0].rt.call(["list", "--quiet"]).ok().stdout.trim(), bundles[1].id);
    two.kill("KILL").wait();
}

#[test]
fn nothing_that_matches_is_no_error_and_no_expression_is_one() {
    differs!("runc", "runc has no --regex");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    for verb in ["kill", "delete"] {
        bundle.rt.call([verb, "--regex", "^no-such$"]).ok();
        if is_oarlock() {
            bundle.rt.call([verb, "--regex", "("]).names("--regex: \"(\": unmatched");
        }
    }
    assert_eq!(container.status(), "running");
    if is_oarlock() {
        bundle.rt.call(["kill", "--regex", ".", "SIGNONE"]).failed().says("unknown signal");
    }
}
