//! The hops to a host.

use crate::config::settings::HostSettings;

/// The way to a host: first hop first, the target last. Never empty when it comes from
/// [`route`](crate::route()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub hops: Vec<HostSettings>,
}
