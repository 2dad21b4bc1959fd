//! Guards against published holes that a build for tests can be told to leave out, so that the tests of these holes
//! (`integration/cve/`) can be seen to fail: a test that nothing fails proves nothing. `hack/cve` does so, guard by guard.
//!
//! Only with the feature `weakened`, which no release has: without it [`lacks`] is `false` to the compiler, and the code
//! behind it is not in the binary.

#[cfg(all(feature = "weakened", not(debug_assertions)))]
compile_error!("the feature `weakened` is for tests: never in a release build");

/// A guard, and the holes that it closes (docs/security.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The runtime's own binary is behind a read-only mount: CVE-2019-5736.
    SealedBinary,
    /// Nobody keeps the descriptor by which that mount could be made writable: CVE-2019-5736.
    ClosedSeal,
    /// The descriptors of the host are closed early: CVE-2024-21626, CVE-2016-9962.
    ClosedDescriptors,
    /// The working directory is inside the root: CVE-2024-21626.
    CwdInside,
    /// A process on its way in cannot be traced: CVE-2016-9962.
    Undumpable,
    /// What is below `/proc` is written through a procfs of our own: CVE-2019-16884, CVE-2025-52881.
    PrivateProcfs,
    /// Little may be mounted over inside `/proc`: CVE-2019-16884, CVE-2025-52881.
    ProcTargets,
    /// proc and sysfs are mounted on ordinary directories: CVE-2019-19921, CVE-2023-27561, CVE-2025-54867.
    OrdinaryDirectories,
    /// Paths are resolved with the root as the limit: CVE-2021-30465, CVE-2024-45310, CVE-2025-24965, CVE-2026-41579.
    RootfsBounds,
    /// What was checked is what is used: the same holes, by a race.
    OneLookup,
    /// Files are masked by the host's `/dev/null`: CVE-2025-31133.
    RealNull,
    /// A symlink at `/dev/console` is not followed: CVE-2025-52565.
    ConsoleLink,
    /// Capabilities are those asked for: CVE-2022-24769, CVE-2022-29162, CVE-2025-27612.
    ExactCapabilities,
    /// Users are numbers: CVE-2016-3697, CVE-2026-30892.
    NumericUsers,
    /// A rootless container without a cgroup namespace gets the host's cgroups read-only: CVE-2023-25809.
    RootlessCgroups,
    /// However long, a list is taken as a whole: CVE-2021-43784.
    WholeLists,
    /// In a user namespace the mounts of the host keep their locks.
    LockedMounts,
}

/// The descriptor that [`Guard::ClosedSeal`] leaves open.
pub const KEPT_SEAL: i32 = 200;

/// Whether this build has been told, by `OARLOCK_WITHOUT`, to do without the guard.
#[cfg(feature = "weakened")]
pub fn lacks(guard: Guard) -> bool {
    // `CwdInside,ClosedDescriptors`
    std::env::var("OARLOCK_WITHOUT").is_ok_and(|names| names.split(',').any(|name| name == format!("{guard:?}")))
}

/// No build for users leaves out a guard.
#[cfg(not(feature = "weakened"))]
#[inline(always)]
pub const fn lacks(_: Guard) -> bool {
    false
}
