//! Handles that a hostile root file system or a racing neighbour cannot redirect: the rootfs, procfs, our own binary.

pub mod procfs;
pub mod rootfs;
pub mod seal;
