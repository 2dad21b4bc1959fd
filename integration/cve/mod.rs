//! Published holes of container runtimes: for each, the black-box test that would have caught it, named by its CVE. They
//! drive a runtime binary from outside, so any runtime can be put to them; `hack/cve` runs them on builds that lack the
//! guard in question, and on old peers, to see that they fail there.

mod binary;
mod capabilities;
mod cgroup;
mod descriptors;
mod dev;
mod host;
mod lists;
mod masked;
mod procfs;
mod races;
mod swap;
mod targets;
mod tracing;
mod user_namespace;
mod users;

use host::Host;
