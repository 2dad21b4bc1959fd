//! oarlock, an OCI container runtime: argv → seal? → cli → exit code. docs/architecture.md draws the flow.

// Where a process begins is `sys/entry.rs`, which calls `cli::main`. Tests have a beginning of their own.
#![cfg_attr(not(test), no_main)]
// A fuzzer calls only what it tries.
#![cfg_attr(fuzzing, allow(dead_code))]

mod bundle;
mod cgroup;
mod cli;
mod doctor;
mod error;
mod features;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod hooks;
mod host;
mod init;
mod join;
mod launch;
mod log;
mod plan;
mod program;
mod rdt;
mod review;
mod safe;
mod seccomp;
mod state;
mod sync;
mod sys;
mod trace;
mod weak;

/// Never called: tests have a beginning of their own. It tells the compiler that what only the program calls is called.
#[cfg(test)]
fn main() {
    sys::entry::run();
}
