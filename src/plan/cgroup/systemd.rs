//! The systemd driver: `linux.cgroupsPath` as a unit below a slice, and everything that systemd is to know of the container
//! as that unit's properties, so that one call makes it. Pure; [`crate::cgroup`] speaks with systemd.

pub mod gvariant;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::path::JOINED;
use super::{Dir, Limits, Out, Place, Result};
use crate::error::InputError;
use crate::host::Facts;
use crate::plan::Options;
use gvariant::Value;

pub use limits::of_limits;

const AT: &str = "linux.cgroupsPath";
/// What the names of annotations that set a property begin with.
pub const PROPERTY: &str = "org.systemd.property.";
/// crun's: a cgroup below the unit's for the container, so that it may have processes beside it in the unit.
const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// The longest name that systemd gives a unit.
const MAX_NAME: usize = 255;

/// A transient unit to be made around init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    #[serde(flatten)]
    pub id: UnitId,
    /// All but `PIDs`, which is known only when init exists.
    pub properties: Vec<Property>,
    /// The container's cgroup below the unit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
}

impl Unit {
    /// Whether systemd knows which devices are allowed; it takes all for allowed where it could not be told
    /// (`DevicePolicy=auto`).
    pub fn knows_devices(&self) -> bool {
        let strict = Value::Text(limits::STRICT.into());
        self.properties.iter().any(|property| property.name == limits::DEVICE_POLICY && property.value == strict)
    }
}

/// What later commands need of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitId {
    /// `runc-ID.scope`.
    pub name: String,
    /// It is the user's systemd that has it, not the system's.
    pub user: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    pub name: String,
    pub value: Value,
    /// Where it comes from in the input.
    pub json: String,
    /// A systemd that does not know it is told nothing: the limit is in a cgroup file as well.
    pub optional: bool,
}

impl Property {
    fn new(name: &str, value: Value, json: &str) -> Self {
        Self { name: name.into(), value, json: json.into(), optional: false }
    }

    fn optional(name: &str, value: Value, json: &str) -> Self {
        Self { optional: true, ..Self::new(name, value, json) }
    }
}

/// `slice:prefix:name`, taken apart.
struct Name {
    slice: String,
    /// The slice as directories, from the manager's own cgroup.
    slice_path: PathBuf,
    unit: String,
}

/// Reads `linux.cgroupsPath`; none given is runc's default.
fn name(given: Option<&Path>, options: &Options) -> Result<Name> {
    let default = if options.rootless { "user.slice" } else { "system.slice" };
    let text = given.map(|path| path.to_string_lossy().into_owned());
    let text = text.unwrap_or_else(|| format!(":runc:{}", options.id));
    let parts: Vec<&str> = text.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        let what = format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
        );
        return Err(InputError::new(AT, what).hint("such as system.slice:runc:NAME, or leave out --systemd-cgroup"));
    };
    let slice = if slice.is_empty() { default } else { slice };
    if name.ends_with(".slice") {
        return Err(InputError::new(AT, format!("{name:?} is a slice, which holds no processes of its own"))
            .hint("give a name without .slice"));
    }
    let unit = format!("{prefix}-{name}.scope");
    for part in [slice, &unit] {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.\\@".contains(c);
        if let Some(bad) = part.chars().find(|c| !legal(*c)) {
            return Err(InputError::new(AT, format!("{part:?} cannot be a unit of systemd: it has {bad:?}")));
        }
        if part.len() > MAX_NAME {
            return Err(InputError::new(AT, format!("the name of a unit of systemd has at most {MAX_NAME} bytes")));
        }
    }
    let slice_path = expand(slice).ok_or_else(|| {
        InputError::new(AT, format!("{slice:?} is no slice of systemd")).hint("such as a-b.slice, which is in a.slice")
    })?;
    Ok(Name { slice: slice.into(), slice_path, unit })
}

/// `a-b.slice` is below `a.slice`; `-.slice` is the root.
fn expand(slice: &str) -> Option<PathBuf> {
    let stem = slice.strip_suffix(".slice")?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Some(path);
    }
    let mut prefix = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return None;
        }
        prefix.push_str(part);
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Some(path)
}

/// Where systemd will put the container.
pub(super) fn place(spec: &Spec, given: Option<&Path>, options: &Options, facts: &Facts) -> Result<Place> {
    let name = name(given, options)?;
    let layout = &facts.cgroup;
    if options.rootless && !layout.v1.is_empty() {
        return Err(InputError::new("--systemd-cgroup", "without root it needs a host with cgroup v2")
            .hint("use the cgroupfs driver"));
    }
    let mut below = if options.rootless { user_manager(facts) } else { PathBuf::new() };
    below.push(&name.slice_path);
    below.push(&name.unit);
    below.extend(subgroup(spec)?);
    let dir = |controllers: &[String], mount: &Path| Dir {
        controllers: controllers.to_vec(),
        mount: mount.to_owned(),
        below: below.clone(),
    };
    let joined = layout.v1.iter().filter(|h| h.controllers.iter().any(|c| JOINED.contains(&c.as_str())));
    Ok(Place {
        kind: layout.kind(),
        v1: joined.map(|h| dir(&h.controllers, &h.mount)).collect(),
        v2: layout.v2.as_ref().map(|v2| dir(&v2.controllers, &v2.mount)),
        unit: None,
    })
}

/// The cgroup of the user's systemd: the one that we are in ourselves, or by its conventional name.
fn user_manager(facts: &Facts) -> PathBuf {
    let own = facts.cgroup.v2.as_ref().and_then(|v2| v2.own.as_deref()).unwrap_or(Path::new("/"));
    let own = own.strip_prefix("/").unwrap_or(own);
    let ours = own.ancestors().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("user@") && name.ends_with(".service")
    });
    let uid = facts.outer_uid;
    ours.map_or_else(|| format!("user.slice/user-{uid}.slice/user@{uid}.service").into(), Path::to_owned)
}

fn subgroup(spec: &Spec) -> Result<Option<String>> {
    let annotations = spec.annotations().as_ref();
    let Some(name) = annotations.and_then(|all| all.get(SUBGROUP)).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name.contains(['/', '\0', '\n']) || name.starts_with('.') {
        let at = format!("annotations[{SUBGROUP:?}]");
        return Err(InputError::new(at, format!("{name:?} is not the name of a cgroup")).hint("such as container"));
    }
    Ok(Some(name.clone()))
}

/// The unit with all its properties. Where two say the same, the later one counts: what is always set, then the
/// annotations, then the limits.
pub(super) fn unit(
    spec: &Spec,
    given: Option<&Path>,
    options: &Options,
    facts: &Facts,
    limits: &Limits,
    out: &Out,
) -> Result<Unit> {
    let name = name(given, options)?;
    let mut properties = always(&name, options, facts);
    properties.extend(annotations(spec)?);
    properties.extend(limits::of_limits(limits));
    if !options.rootless {
        properties.extend(limits::of_devices(spec, &facts.device_names, out)?);
    }
    Ok(Unit {
        id: UnitId { name: name.unit, user: options.rootless },
        properties: last_of_each(properties),
        subgroup: subgroup(spec)?,
    })
}

fn always(name: &Name, options: &Options, facts: &Facts) -> Vec<Property> {
    let text = |text: &str| Value::Text(text.into());
    let io = if facts.cgroup.v1.is_empty() { "IOAccounting" } else { "BlockIOAccounting" };
    let accounting = ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"];
    let mut all = vec![
        Property::new("Description", text(&format!("oarlock container {}", options.id)), AT),
        Property::new("Slice", text(&name.slice), AT),
        // What is below the unit's cgroup is ours and the container's.
        Property::new("Delegate", Value::Bool(true), AT),
        // Or the unit would be stopped with sysinit.target, before its client is.
        Property::new("DefaultDependencies", Value::Bool(false), AT),
    ];
    // So that the controllers are there from the start: the kernel does not charge what was used before.
    all.extend(accounting.map(|name| Property::optional(name, Value::Bool(true), AT)));
    all
}

/// `org.systemd.property.NAME`, in the order of their names.
fn annotations(spec: &Spec) -> Result<Vec<Property>> {
    let given: BTreeMap<_, _> = spec.annotations().iter().flatten().collect();
    let mut all = Vec::new();
    for (key, text) in given {
        let Some(name) = key.strip_prefix(PROPERTY) else { continue };
        let at = format!("annotations[{key:?}]");
        if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(InputError::new(at, format!("{name:?} is not the name of a property of systemd")));
        }
        if name == "PIDs" {
            return Err(InputError::new(at, "is the runtime's to set"));
        }
        // Documented as …Sec, known on the bus as …USec.
        let seconds = name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U'));
        let value = match seconds {
            Some(_) => gvariant::parse_seconds(text),
            None => gvariant::parse(text),
        };
        let value = value.map_err(|why| {
            let hint = "GVariant's text form: true, uint64 5, 'text', ['a', 'b']";
            InputError::new(&at, format!("{text:?} is not a value: {why}")).hint(hint)
        })?;
        let name = seconds.map_or_else(|| name.to_owned(), |stem| format!("{stem}USec"));
        all.push(Property { name, value, json: at, optional: false });
    }
    Ok(all)
}

fn last_of_each(properties: Vec<Property>) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::with_capacity(properties.len());
    for property in properties {
        all.retain(|earlier| earlier.name != property.name);
        all.push(property);
    }
    all
}
