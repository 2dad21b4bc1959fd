//! A real distribution's root file system: glibc, apt, PAM and bash, not busybox.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::harness::sockets::FdReceiver;
use crate::harness::terminal::Terminal;
use crate::harness::{Bundle, base, json};

/// A Debian minbase, made once a run and shared by all tests, read-only: `TEST_DEBIAN`, if that is set.
fn root() -> Option<&'static PathBuf> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(|| {
        if let Some(made) = std::env::var_os("TEST_DEBIAN") {
            return Some(made.into());
        }
        let root = base::dir().join("debian");
        let made = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "bookworm"])
            .arg(&root)
            .stdin(Stdio::null())
            .status();
        made.is_ok_and(|status| status.success()).then_some(root)
    })
    .as_ref()
}

/// A bundle of it, with a /tmp and a /run to write to, and Docker's capabilities less CAP_NET_RAW.
fn debian() -> Option<Bundle> {
    let mut bundle = Bundle::new();
    bundle.set("/root/path", root()?.to_str()?).set("/root/readonly", true);
    bundle.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]).mount("/run", "tmpfs", "tmpfs", &[]);
    for set in ["bounding", "effective", "permitted"] {
        let all = bundle.at(&format!("/process/capabilities/{set}"));
        if let Some(names) = all.as_array_mut() {
            names.retain(|name| name != "CAP_NET_RAW");
        }
    }
    Some(bundle)
}

#[test]
fn debian_runs_its_package_manager_and_shell() {
    let Some(mut bundle) = debian() else { skip!("mmdebstrap cannot make a Debian root here") };
    bundle.args(&["bash", "-c", "apt-get --version | head -n 1; echo ${BASH_VERSION%%.*}; dpkg -s bash | grep Status"]);
    let output = bundle.run().ok();
    let lines = output.lines();
    assert!(lines[0].starts_with("apt "), "{output}");
    assert_eq!(lines[1..], ["5", "Status: install ok installed"], "{output}");
}

#[test]
fn su_becomes_another_user_and_back_is_no_way() {
    let Some(mut bundle) = debian() else { skip!("mmdebstrap cannot make a Debian root here") };
    bundle.args(&["su", "-s", "/bin/bash", "-c", "id -un; grep CapEff /proc/self/status; cat /etc/shadow", "nobody"]);
    let output = bundle.run().code_is(1);
    assert_eq!(output.lines()[0], "nobody", "{output}");
    assert_eq!(output.field("CapEff:"), "0000000000000000", "{output}");
    assert!(output.stderr.contains("/etc/shadow: Permission denied"), "{output}");
}

#[test]
fn a_raw_socket_as_ping_opens_it_takes_a_capability() {
    let Some(mut bundle) = debian() else { skip!("mmdebstrap cannot make a Debian root here") };
    let program = "use Socket; socket(my $s, PF_INET, SOCK_RAW, 1) ? print qq(open\\n) : print qq($!\\n)";
    bundle.args(&["perl", "-e", program]);
    bundle.run().ok().prints("Operation not permitted");
    for set in ["bounding", "effective", "permitted"] {
        bundle.push(&format!("/process/capabilities/{set}"), json!("CAP_NET_RAW"));
    }
    bundle.run().ok().prints("open");
}

#[test]
fn an_interactive_shell_works_over_the_console_socket() {
    let Some(mut bundle) = debian() else { skip!("mmdebstrap cannot make a Debian root here") };
    bundle.args(&["bash", "--norc", "-i"]).set("/process/terminal", true);
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    // Job control is what a shell without a controlling terminal complains about.
    terminal.type_line("sleep 100 & jobs; kill %1; wait; echo status $((40 + 2))");
    let text = terminal.read_until("status 42");
    assert!(text.contains("Running"), "{text}");
    assert!(!text.contains("no job control"), "{text}");
    terminal.type_line("exit 5");
    terminal.read_all();
    assert_eq!(container.wait(), 5);
}
