//! `process.scheduler` and `process.ioPriority` as the kernel's numbers.

use oci_spec::runtime::{IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag, LinuxSchedulerPolicy};

use super::super::Result;
use super::Scheduler;
use crate::error::InputError;

/// The bits of an I/O priority below its class (linux/ioprio.h).
const IOPRIO_CLASS_SHIFT: i32 = 13;

/// `SCHED_*` of linux/sched.h; `None` for what Linux reserves and has never had.
fn policy(policy: LinuxSchedulerPolicy) -> Option<u32> {
    Some(match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => return None,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    })
}

/// `SCHED_FLAG_*` of linux/sched.h.
fn flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// # Errors
/// What sched_setattr(2) would answer with EINVAL.
pub fn scheduler(given: &oci_spec::runtime::Scheduler) -> Result<Scheduler> {
    use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedRr};
    let at = |field: &str| format!("process.scheduler.{field}");
    let chosen = *given.policy();
    let policy = policy(chosen).ok_or_else(|| InputError::new(at("policy"), format!("Linux has no {chosen}")))?;
    let nice = given.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(InputError::new(at("nice"), format!("{nice} is not from -20 to 19")));
    }
    let priority = given.priority().unwrap_or(0);
    let realtime = matches!(chosen, SchedFifo | SchedRr);
    if !realtime && priority != 0 {
        return Err(InputError::new(at("priority"), "is for SCHED_FIFO and SCHED_RR alone"));
    }
    if realtime && !(1..=99).contains(&priority) {
        return Err(InputError::new(at("priority"), format!("{priority} is not from 1 to 99")));
    }
    let (runtime, deadline, period) =
        (given.runtime().unwrap_or(0), given.deadline().unwrap_or(0), given.period().unwrap_or(0));
    if chosen == SchedDeadline {
        let until = if period == 0 { deadline } else { period };
        if runtime > deadline || deadline > until {
            let what = format!("runtime {runtime} <= deadline {deadline} <= period {until} does not hold");
            return Err(InputError::new(at("runtime"), what));
        }
    } else {
        for (field, value) in [("runtime", runtime), ("deadline", deadline), ("period", period)] {
            if value != 0 {
                return Err(InputError::new(at(field), "is for SCHED_DEADLINE alone"));
            }
        }
    }
    Ok(Scheduler {
        policy,
        flags: given.flags().iter().flatten().fold(0, |flags, one| flags | flag(*one)),
        nice,
        priority: priority.unsigned_abs(),
        runtime,
        deadline,
        period,
    })
}

/// # Errors
/// A priority that is not from 0 to 7.
pub fn io_priority(given: &LinuxIOPriority) -> Result<i32> {
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let priority = given.priority();
    let level = i32::try_from(priority)
        .ok()
        .filter(|level| (0..=7).contains(level))
        .ok_or_else(|| InputError::new("process.ioPriority.priority", format!("{priority} is not from 0 to 7")))?;
    Ok(class << IOPRIO_CLASS_SHIFT | level)
}
