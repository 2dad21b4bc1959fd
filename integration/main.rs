//! Black-box tests: they drive a runtime binary from outside and look at what its containers see and what the
//! host keeps. One test binary, so that it links once; README.md says how to point it at another runtime.

#[macro_use]
mod harness;

mod annotations;
mod bad_input;
mod cgroups;
mod check;
mod cli;
mod coverage;
mod cve;
mod debian;
mod delegation;
mod descriptors;
mod devices;
mod events;
mod exec;
mod exec_process;
mod exec_security;
mod exec_tty;
mod filesystems;
mod hooks;
mod hot_mounts;
mod idmap;
mod inherited;
mod kill;
mod lifecycle;
mod links;
mod logs;
mod masked;
mod mounts;
mod namespaces;
mod netdevices;
mod no_cgroup;
mod pause;
mod plan;
mod privileges;
mod process;
mod ps;
mod regex;
mod regressions;
mod resources;
mod rootfs;
mod rootless;
mod run;
mod scheduling;
mod schema;
mod seccomp;
mod seccomp_notify;
mod state;
mod systemd;
mod systemd_absent;
mod systemd_limits;
mod tty;
mod update;
mod uts;
