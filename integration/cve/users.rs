//! Users are numbers: CVE-2016-3697 (a name that looks like one), CVE-2026-30892 (a number that is none).

use crate::exec::exec;
use crate::harness::{Bundle, is_oarlock};

#[test]
fn cve_2016_3697_a_user_is_a_number_whatever_the_image_says() {
    let bundle = Bundle::waiting();
    bundle.file("etc/passwd", "1000:x:0:0::/:/bin/sh\n", 0o644);
    let _container = bundle.started();
    exec(&bundle, &["-u", "1000:1000"], &["id", "-u"]).ok().prints("1000");
}

#[test]
fn cve_2026_30892_what_is_no_id_is_refused() {
    differs!("crun", "crun 1.8.1 is older than the fix, and exits with 1 where it refuses");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for user in ["4294967295", "-1", "1x", ":1", "1:", "1:4294967295", "1:x", "", "root", "0x1", " 1", "4294967296"] {
        if !is_oarlock() && !matches!(user, "1x" | ":1" | "1:x" | "root") {
            continue;
        }
        let output = exec(&bundle, &[&format!("--user={user}")], &["true"]);
        assert_eq!(output.code, 255, "{user:?}: {output}");
    }
}
