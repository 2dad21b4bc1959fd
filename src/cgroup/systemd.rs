//! What is asked of systemd: to make a unit around init, to change its limits, to take a process in, to stop it. One
//! connection serves for one command; what happens when is in [`super`].

mod bus;
pub mod message;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::plan::cgroup::gvariant::Value;
use crate::plan::cgroup::{Property, Unit, UnitId};
pub(super) use bus::Bus;
use bus::TimedOut;
use message::{Call, ERROR, Message, RETURN, SIGNAL};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// What systemd calls a job that did what it should.
const DONE: &str = "done";

/// systemd's refusal: the name of the error, and its words.
#[derive(Debug)]
struct Refused {
    name: String,
    text: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.text.is_empty() { &self.name } else { &self.text })
    }
}

impl std::error::Error for Refused {}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// `a(sv)`.
fn list(properties: &[&Property]) -> Value {
    let pair = |name: &str, value: &Value| Value::Struct(vec![text(name), Value::Variant(Box::new(value.clone()))]);
    Value::Array("(sv)".into(), properties.iter().map(|property| pair(&property.name, &property.value)).collect())
}

impl Bus {
    fn ask(&mut self, member: &str, arguments: &[Value]) -> u32 {
        self.queue(&Call {
            destination: SYSTEMD,
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member,
            arguments,
        })
    }

    /// Sends what is queued; the answer to the call with that serial number. What comes before it is passed to `other`.
    fn answer(&mut self, serial: u32, mut other: impl FnMut(Message)) -> Result<Message> {
        self.flush()?;
        loop {
            let message = self.receive()?;
            match message.kind {
                RETURN if message.reply_serial == serial => return Ok(message),
                ERROR if message.reply_serial == serial => {
                    let words = message.texts()?.first().map(|words| (*words).to_owned()).unwrap_or_default();
                    return Err(Refused { name: message.error, text: words }.into());
                }
                _ => other(message),
            }
        }
    }

    /// The answer to a call that makes a job, and how the job ended. Its end can be told before anything else is.
    fn job(&mut self, serial: u32) -> Result<String> {
        let mut ended = Vec::new();
        let answer = self.answer(serial, |message| ended.extend(removed(&message)))?;
        let job = answer.texts()?.first().context("systemd names no job")?.to_string();
        loop {
            if let Some((_, result)) = ended.iter().find(|(path, _)| *path == job) {
                return Ok(result.clone());
            }
            let message = self.receive()?;
            ended.extend(removed(&message));
        }
    }

    /// Makes the unit with the process `pid` in it, and waits until it is there.
    ///
    /// Properties that this systemd is too old for, and that are in cgroup files as well, are left out. A unit of the same
    /// name that has failed is cleared away.
    pub fn start(&mut self, unit: &Unit, pid: i32) -> Result<()> {
        let name = &unit.id.name;
        let start = self.try_start(unit, pid);
        match start {
            Ok(result) if result == DONE => Ok(()),
            Ok(result) => {
                // Or the next container of that name would find a failed unit.
                let _ = self.reset_failed(name);
                bail!("linux.cgroupsPath: systemd could not start unit {name}: its job ended as {result:?}")
            }
            Err(error) => {
                if error.is::<TimedOut>() {
                    // It may yet get to the call: then this comes right after it.
                    self.ask("StopUnit", &[text(name), text("replace")]);
                    self.ask("ResetFailedUnit", &[text(name)]);
                    let _ = self.flush();
                }
                let exists = matches!(error.downcast_ref(), Some(Refused { name, .. }) if name == UNIT_EXISTS);
                let hint =
                    if exists { " (hint: another container has that name; choose another cgroupsPath)" } else { "" };
                Err(anyhow!("linux.cgroupsPath: systemd could not start unit {name}: {error:#}{hint}"))
            }
        }
    }

    fn try_start(&mut self, unit: &Unit, pid: i32) -> Result<String> {
        let pid = u32::try_from(pid).context("internal error: a negative pid")?;
        let pids = Property {
            name: "PIDs".into(),
            value: Value::Array("u".into(), vec![Value::Uint32(pid)]),
            json: String::new(),
            optional: false,
        };
        let mut properties: Vec<&Property> = unit.properties.iter().chain([&pids]).collect();
        let mut cleared = false;
        loop {
            let auxiliary = Value::Array("(sa(sv))".into(), Vec::new());
            let serial =
                self.ask("StartTransientUnit", &[text(&unit.id.name), text("replace"), list(&properties), auxiliary]);
            let error = match self.job(serial) {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let Some(refused) = error.downcast_ref::<Refused>() else { return Err(error) };
            if refused.name == UNIT_EXISTS && !cleared {
                cleared = true;
                self.reset_failed(&unit.id.name)?;
            } else if let Some(unknown) = unknown(refused, &properties) {
                properties.remove(unknown);
            } else {
                return Err(error);
            }
        }
    }

    /// Changes properties until the next boot. Those that are unknown to this systemd are left out.
    pub fn set(&mut self, unit: &UnitId, properties: &[Property]) -> Result<()> {
        let mut properties: Vec<&Property> = properties.iter().collect();
        while !properties.is_empty() {
            let runtime = Value::Bool(true);
            let serial = self.ask("SetUnitProperties", &[text(&unit.name), runtime, list(&properties)]);
            let Err(error) = self.answer(serial, drop) else { return Ok(()) };
            match error.downcast_ref().and_then(|refused| unknown(refused, &properties)) {
                Some(unknown) => drop(properties.remove(unknown)),
                None => return Err(error).with_context(|| format!("systemd could not change unit {}", unit.name)),
            }
        }
        Ok(())
    }

    /// Moves a process into the unit's cgroup, or into one below it.
    pub fn attach(&mut self, unit: &UnitId, below: &Path, pid: i32) -> Result<()> {
        let pid = u32::try_from(pid).context("internal error: a negative pid")?;
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid)]);
        let serial = self.ask("AttachProcessesToUnit", &[text(&unit.name), text(&below.to_string_lossy()), pids]);
        self.answer(serial, drop).with_context(|| format!("systemd could not move a process to unit {}", unit.name))?;
        Ok(())
    }

    /// Stops the unit and clears away what it failed of, so that systemd forgets it. One that is gone is no error.
    pub fn stop(&mut self, unit: &UnitId) -> Result<()> {
        let stop = self.ask("StopUnit", &[text(&unit.name), text("replace")]);
        // At once, for one that has failed already; one that runs has no process left that could make it fail.
        self.ask("ResetFailedUnit", &[text(&unit.name)]);
        let context = || format!("systemd could not stop unit {}", unit.name);
        match self.job(stop) {
            // Another's job took its place: what counts is that the cgroup is gone, which is seen to next.
            Ok(result) if result == DONE || result == "canceled" => Ok(()),
            Ok(result) => Err(anyhow!("its job ended as {result:?}")).with_context(context),
            Err(error) => match error.downcast_ref() {
                Some(Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
                _ => Err(error).with_context(context),
            },
        }
    }

    fn reset_failed(&mut self, name: &str) -> Result<()> {
        let serial = self.ask("ResetFailedUnit", &[text(name)]);
        match self.answer(serial, drop) {
            Err(error) if !error.is::<Refused>() => Err(error),
            // It was not there, or had not failed.
            _ => Ok(()),
        }
    }
}

/// The job that has ended, and how.
fn removed(message: &Message) -> Option<(String, String)> {
    if message.kind != SIGNAL || message.member != "JobRemoved" {
        return None;
    }
    // Number, path, unit, result.
    let texts = message.texts().ok()?;
    Some((texts.first()?.to_string(), texts.get(2)?.to_string()))
}

/// Which of the properties this systemd does not have, or not with such a value. It says so by name.
fn unknown(refused: &Refused, properties: &[&Property]) -> Option<usize> {
    let words = || refused.text.split(|c: char| !c.is_ascii_alphanumeric());
    properties.iter().position(|property| property.optional && words().any(|word| word == property.name))
}

/// Where a process is in a hierarchy, below its mount: v2's (`""`) or a v1 one; `None` where that cannot be told from here.
pub(super) fn cgroup_of(pid: i32, hierarchy: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let line = text.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(hierarchy)?.strip_prefix(":/"))?;
    let path = Path::new(line);
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (plain && !path.as_os_str().is_empty()).then(|| path.to_owned())
}
