//! The kernel's few formats of numbers in cgroup files. A file that is not there has no numbers: that is never an error.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;

use super::Hugetlb;
use crate::cgroup::file;

/// `None` where the file, or by now the cgroup, is missing, or the kernel does not offer it (PSI booted off).
pub fn text(dir: &Path, name: &str) -> Result<Option<String>> {
    match file::read(&dir.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(e) if file::is_gone(e.errno) || e.errno == Errno::EOPNOTSUPP => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// One number: `max` is [`u64::MAX`]; a negative one (a counter that raced) is 0.
pub fn value(text: &str) -> Result<u64> {
    match text.trim() {
        "max" => Ok(u64::MAX),
        negative if negative.starts_with('-') => Ok(0),
        number => number.parse().with_context(|| format!("{number:?} is no number")),
    }
}

/// A file of one number; 0 where it is missing.
pub fn number(dir: &Path, name: &str) -> Result<u64> {
    text(dir, name)?.map_or(Ok(0), |text| value(&text).with_context(|| name.to_owned()))
}

/// Numbers with blanks between them.
pub fn numbers(dir: &Path, name: &str) -> Result<Vec<u64>> {
    let text = text(dir, name)?.unwrap_or_default();
    text.split_whitespace().map(value).collect::<Result<_>>().with_context(|| name.to_owned())
}

/// Lines of `key number`.
pub fn keyed(dir: &Path, name: &str) -> Result<BTreeMap<String, u64>> {
    let text = text(dir, name)?.unwrap_or_default();
    let line = |line: &str| {
        let (key, number) = line.split_once(' ').with_context(|| format!("{line:?} is not \"key number\""))?;
        Ok((key.to_owned(), value(number)?))
    };
    text.lines().map(line).collect::<Result<_>>().with_context(|| name.to_owned())
}

/// The number of `key`; 0 where it is missing.
pub fn key(of: &BTreeMap<String, u64>, key: &str) -> u64 {
    of.get(key).copied().unwrap_or_default()
}

/// A list such as `0-3,5` (cpuset(7)).
pub fn list(dir: &Path, name: &str) -> Result<Vec<u16>> {
    let text = text(dir, name)?.unwrap_or_default();
    let mut all = Vec::new();
    for item in text.trim().split(',').filter(|item| !item.is_empty()) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let parse = |n: &str| n.parse::<u16>().with_context(|| format!("{name}: {item:?} is no range"));
        all.extend(parse(first)?..=parse(last)?);
    }
    Ok(all)
}

/// Every huge page size of a directory: `entry` is asked with `hugetlb.2MB`, or `hugetlb.2MB.rsvd` where the kernel
/// counts reservations (Linux 5.7), and with the plain name.
pub fn hugetlb(
    dir: &Path,
    usage_suffix: &str,
    entry: impl Fn(&str, &str) -> Result<Hugetlb>,
) -> Result<BTreeMap<String, Hugetlb>> {
    let mut all = BTreeMap::new();
    for file in crate::sys::again::read_dir(dir).into_iter().flatten().flatten() {
        let name = file.file_name();
        let Some(size) = name.to_str().and_then(|n| n.strip_prefix("hugetlb.")?.strip_suffix(usage_suffix)) else {
            continue;
        };
        if size.contains('.') {
            continue;
        }
        let plain = format!("hugetlb.{size}");
        let reserved = format!("{plain}.rsvd");
        let counts = dir.join(format!("{reserved}{usage_suffix}")).exists();
        all.insert(size.to_owned(), entry(if counts { &reserved } else { &plain }, &plain)?);
    }
    Ok(all)
}
