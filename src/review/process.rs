//! What the program may do: capabilities, no_new_privs, seccomp, security modules, what runs beside it as root.

use caps::Capability::{
    self, CAP_AUDIT_WRITE, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_MKNOD,
    CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SETFCAP, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_CHROOT,
};

use super::{Review, Severity};
use crate::plan::namespaces::Kind;
use crate::plan::process::Process;

/// Capabilities that are the host's root by another name, and why (capabilities(7)).
const PRIVILEGED: &[(Capability, &str)] = &[
    (Capability::CAP_SYS_ADMIN, "mounts, namespaces and devices of the host"),
    (Capability::CAP_SYS_MODULE, "code of its own in the kernel"),
    (Capability::CAP_SYS_RAWIO, "I/O ports and raw memory"),
    (Capability::CAP_SYS_BOOT, "another kernel by kexec_load"),
    (Capability::CAP_DAC_READ_SEARCH, "any file of the file systems that it has mounts of, by open_by_handle_at"),
    (Capability::CAP_BPF, "programs in the kernel"),
    (Capability::CAP_PERFMON, "the memory of the kernel and of every process"),
    (Capability::CAP_MAC_ADMIN, "the host's security policy"),
    (Capability::CAP_MAC_OVERRIDE, "nothing that the host's security policy forbids"),
];

/// What Docker and containerd give to every container.
const USUAL: [Capability; 14] = [
    CAP_AUDIT_WRITE,
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_KILL,
    CAP_MKNOD,
    CAP_NET_BIND_SERVICE,
    CAP_NET_RAW,
    CAP_SETFCAP,
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    CAP_SYS_CHROOT,
];

pub(super) fn look(review: &mut Review<'_>) {
    if let Some(process) = &review.plan.process {
        capabilities(review, process);
        privileges(review, process);
        security_modules(review, process);
    }
    seccomp(review);
    hooks(review);
}

fn capabilities(review: &mut Review<'_>, process: &Process) {
    // The bounding set counts: a set-id or file-capability program in the image raises what is in there.
    let sets = &process.capabilities;
    let held = sets.bounding | sets.permitted | sets.inheritable | sets.ambient;
    let has = |capability: &Capability| held & capability.bitmask() != 0;
    let at = "process.capabilities";
    for (capability, allows) in PRIVILEGED.iter().filter(|(capability, _)| has(capability)) {
        let severity = review.unless_mapped(Severity::Danger);
        let what = match severity {
            Severity::Danger => format!("{capability} without a user namespace gives the program {allows}"),
            _ => format!("{capability}, though of a user namespace only, opens much of the kernel to attack"),
        };
        review.add(severity, "privileged-capability", at, what, format!("drop {capability} from every set"));
    }
    if has(&Capability::CAP_SYS_PTRACE) && !review.plan.namespaces.has(Kind::Pid) {
        let what = "CAP_SYS_PTRACE in the host's pid namespace: the program may take over any process of the host";
        let severity = review.unless_mapped(Severity::Danger);
        review.add(
            severity,
            "trace-host-processes",
            at,
            what,
            "drop it, or add {\"type\": \"pid\"} to linux.namespaces",
        );
    }
    if has(&Capability::CAP_NET_ADMIN) && !review.plan.namespaces.has(Kind::Network) {
        let what = "CAP_NET_ADMIN in the host's network namespace: the program may change the host's network";
        let severity = review.unless_mapped(Severity::Danger);
        review.add(
            severity,
            "change-host-network",
            at,
            what,
            "drop it, or add {\"type\": \"network\"} to linux.namespaces",
        );
    }
    let mut unusual: Vec<Capability> = caps::all().into_iter().filter(|capability| has(capability)).collect();
    unusual.retain(|capability| !USUAL.contains(capability) && PRIVILEGED.iter().all(|(other, _)| other != capability));
    unusual.sort_by_key(Capability::index);
    if !unusual.is_empty() {
        let names: Vec<String> = unusual.iter().map(ToString::to_string).collect();
        let what = format!("{} are more than container managers give by default", names.join(", "));
        let severity = review.unless_mapped(Severity::Warning);
        review.add(severity, "more-capabilities", at, what, "drop those that the program does not need");
    }
    if sets.ambient != 0 || sets.inheritable != 0 {
        let what = "inheritable and ambient capabilities pass to programs that were not meant to have them";
        review.add(Severity::Note, "inherited-capabilities", at, what, "leave both sets empty");
    }
}

fn privileges(review: &mut Review<'_>, process: &Process) {
    if !process.no_new_privileges {
        review.add(
            Severity::Note,
            "new-privileges",
            "process.noNewPrivileges",
            "a set-id program in the image may raise the privileges of the container's user",
            "set it to true",
        );
    }
}

fn security_modules(review: &mut Review<'_>, process: &Process) {
    let hint = "name a profile, such as the container manager's default";
    if review.modules.apparmor && process.apparmor_profile.as_deref().is_none_or(|profile| profile == "unconfined") {
        let what = "the host has AppArmor, and the program is not confined by it";
        review.add(Severity::Warning, "no-apparmor", "process.apparmorProfile", what, hint);
    }
    if review.modules.selinux && process.selinux_label.is_none() {
        let what = "the host has SELinux, and the program keeps the label of the runtime";
        review.add(
            Severity::Warning,
            "no-selinux",
            "process.selinuxLabel",
            what,
            "give it a label of a container type",
        );
    }
}

fn seccomp(review: &mut Review<'_>) {
    match &review.plan.seccomp {
        None => review.add(
            Severity::Warning,
            "no-seccomp",
            "linux.seccomp",
            "there is no seccomp profile: every system call of the kernel can be reached",
            "give a profile that allows what is needed, such as Docker's default",
        ),
        Some(filter) if filter.program.default.permits() => review.add(
            Severity::Note,
            "permissive-seccomp",
            "linux.seccomp.defaultAction",
            "calls that no rule names are carried out, those of later kernels too",
            "allow by name, and refuse by default with SCMP_ACT_ERRNO",
        ),
        Some(_) => {}
    }
}

fn hooks(review: &mut Review<'_>) {
    let hooks = &review.plan.hooks;
    let outside = [&hooks.prestart, &hooks.create_runtime, &hooks.poststart, &hooks.poststop];
    let found: Vec<_> = outside.into_iter().flatten().map(|hook| (hook.at.clone(), hook.path.clone())).collect();
    for (at, path) in found {
        let what = format!("{} runs on the host with the runtime's privileges", path.display());
        review.add(Severity::Note, "hook-on-host", at, what, "make sure that only root may change it");
    }
}
