//! What every test uses: a [`Bundle`] to edit, a [`Runtime`] to call, a [`Container`] to look at, and a check
//! that nothing stays on the host. No test sleeps: each waits for an event with a deadline.

pub mod agent;
pub mod base;
pub mod bundle;
pub mod cgroup;
pub mod container;
pub mod leak;
pub mod mounts;
pub mod runtime;
pub mod sockets;
pub mod sys;
pub mod systemd;
pub mod terminal;

pub use bundle::Bundle;
pub use container::{Container, Fifo};
pub use mounts::{HostMount, MountTable};
pub use runtime::{Output, Runtime, is_oarlock};
pub use serde_json::{Value, json};

/// Leaves the test, saying what this machine lacks for it.
macro_rules! skip {
    ($reason:expr) => {{
        fn here() {}
        $crate::harness::base::note_skip(std::any::type_name_of_val(&here), $reason);
        return;
    }};
}

/// Leaves the test when the runtime is the one named, whose known difference is the reason. With
/// `RUN_DIFFERENCES=1` the test runs all the same, to find out whether the mark is still true.
macro_rules! differs {
    ($runtime:expr, $reason:expr) => {
        if $crate::harness::runtime::name() == $runtime {
            fn here() {}
            $crate::harness::base::note_difference(std::any::type_name_of_val(&here), $reason);
            if std::env::var_os("RUN_DIFFERENCES").is_none() {
                return;
            }
        }
    };
}

/// Leaves the test unless the runtime is oarlock: for what no other runtime offers.
macro_rules! only_oarlock {
    ($reason:expr) => {
        if !$crate::harness::is_oarlock() {
            skip!($reason);
        }
    };
}

/// Leaves the test where systemd does not run.
macro_rules! need_systemd {
    () => {
        if !$crate::harness::systemd::running() {
            skip!("systemd does not run here");
        }
    };
}
