//! oarlock, an OCI container runtime: argv → seal? → cli → exit code. docs/architecture.md draws the flow.

mod bundle;
mod cgroup;
mod cli;
mod doctor;
mod error;
mod features;
mod hooks;
mod host;
mod init;
mod join;
mod launch;
mod log;
mod plan;
mod rdt;
mod review;
mod safe;
mod seccomp;
mod state;
mod sync;
mod sys;
mod weak;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
