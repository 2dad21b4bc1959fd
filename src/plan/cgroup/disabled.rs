//! `--cgroup-manager disabled`: no cgroup is made, joined or needed. What `linux.resources` asks for cannot be kept then,
//! which stands against making the container; `linux.cgroupsPath` names a place for nothing.

use oci_spec::runtime::Spec;

use super::{CgroupPlan, Limits, Options, Out, Place, Result, devices};
use crate::cgroup::layout::Layout;
use crate::error::InputError;

pub(super) fn compile(
    spec: &Spec,
    options: &Options,
    layout: &Layout,
    warn: &mut Vec<String>,
    obstacles: &mut Vec<InputError>,
) -> Result<CgroupPlan> {
    let refuse = |at| {
        InputError::new(at, "needs a cgroup, and --cgroup-manager disabled makes none")
            .hint("leave the limit out, or choose another cgroup manager")
    };
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    // Without a hierarchy every limit that amounts to one lacks its controller.
    let none = Layout::default();
    let mut out = Out::new("linux.resources", &none, warn);
    if let Some(resources) = resources {
        if resources.unified().as_ref().is_some_and(|files| !files.is_empty()) {
            out.obstacles.push(refuse("linux.resources.unified".to_owned()));
        } else {
            out.resources(resources, false)?;
        }
    }
    obstacles.extend(out.obstacles.drain(..).map(|lacking| refuse(lacking.at)));
    // Checked and left, as without privileges. No obstacle: every usual document denies all devices but a few, and
    // without cgroups nobody expects more than that the others are not there.
    devices::compile(spec, true, &mut out)?;
    if resources.and_then(|resources| resources.devices().as_ref()).is_some_and(|rules| !rules.is_empty()) {
        warn.push("linux.resources.devices: not enforced, since --cgroup-manager disabled makes no cgroup".to_owned());
    }
    let place = Place { kind: layout.kind(), v1: Vec::new(), v2: None, unit: None };
    Ok(CgroupPlan {
        delegate: super::delegate(spec, &place, obstacles)?,
        place,
        unit: None,
        limits: Limits::default(),
        owner: None,
        rootless: options.rootless,
        explicit: false,
    })
}
