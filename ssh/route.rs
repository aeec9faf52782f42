//! The hops to a host: `ProxyJump` lists, and the jump hosts' own.

use crate::{
    config::{
        ConfigError, Problem, Query, Resolved,
        settings::{HostSettings, JumpHost, Via},
    },
    limits,
};

/// The way to a host: first hop first, the target last. Never empty when it comes from [`route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub hops: Vec<HostSettings>,
}

/// Why there is no way to a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    #[error("reading the configuration of {host}: {source}")]
    Config { host: String, source: ConfigError },
    /// The names in the order in which they lead to each other; the last one closes the circle.
    #[error("ProxyJump leads in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    #[error("ProxyJump to {host}: more than {} hops", limits::HOPS)]
    TooLong { host: String },
}

/// Asks the configuration about the target and every jump host.
///
/// As in OpenSSH, the first host of a `ProxyJump` list is reached as its own settings say, and every
/// other one through the host before it. A hop with a hop before it gets [`Via::Direct`] in place of
/// its own route. The problems are those of all hops.
///
/// # Errors
///
/// The configuration of a hop is unusable, or the hops form a circle or are more than eight.
pub fn route(
    query: &Query,
    resolve: &mut dyn FnMut(&Query) -> Result<Resolved, ConfigError>,
) -> Result<(Route, Vec<Problem>), RouteError> {
    let mut way = Way {
        hops: Vec::new(),
        problems: Vec::new(),
        names: Vec::new(),
        resolve,
    };
    let target = way.settings(query)?;
    way.reach(target)?;
    Ok((Route { hops: way.hops }, way.problems))
}

struct Way<'a> {
    hops: Vec<HostSettings>,
    problems: Vec<Problem>,
    /// From the target to the hop that is being reached.
    names: Vec<String>,
    resolve: &'a mut dyn FnMut(&Query) -> Result<Resolved, ConfigError>,
}

impl Way<'_> {
    fn settings(&mut self, query: &Query) -> Result<HostSettings, RouteError> {
        let resolved = (self.resolve)(query).map_err(|source| RouteError::Config {
            host: query.host.clone(),
            source,
        })?;
        for problem in resolved.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        Ok(resolved.settings)
    }

    /// Adds the hops to a host, and the host.
    fn reach(&mut self, mut settings: HostSettings) -> Result<(), RouteError> {
        let name = format!("{}:{}", settings.host_name, settings.port);
        let circle = self.names.contains(&name);
        self.names.push(name);
        if circle {
            return Err(RouteError::Cycle(self.names.clone()));
        }
        if let Via::Jump(jumps) = &settings.route {
            let jumps = jumps.clone();
            let mut jumps = jumps.iter();
            if let Some(first) = jumps.next() {
                let first = self.settings(&query(first))?;
                self.reach(first)?;
            }
            for jump in jumps {
                let next = self.settings(&query(jump))?;
                self.add(next)?;
            }
            settings.route = Via::Direct;
        }
        self.names.pop();
        self.add(settings)
    }

    fn add(&mut self, mut settings: HostSettings) -> Result<(), RouteError> {
        if self.hops.len() == limits::HOPS {
            return Err(RouteError::TooLong { host: settings.alias });
        }
        if !self.hops.is_empty() {
            settings.route = Via::Direct;
        }
        self.hops.push(settings);
        Ok(())
    }
}

fn query(jump: &JumpHost) -> Query {
    Query {
        host: jump.host.clone(),
        user: jump.user.clone(),
        port: jump.port,
    }
}
