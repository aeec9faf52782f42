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

impl RouteError {
    /// What the user can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> String {
        match self {
            RouteError::Config { source, .. } => source.hint(),
            RouteError::Cycle(names) => {
                // The one before the last leads back.
                let name = names.iter().rev().nth(1).and_then(|it| it.rsplit_once(':'));
                let name = name.map_or("HOST", |it| it.0);
                format!(
                    "a `Host` block for {name} with `ProxyJump none`, above the one that counts, ends it (`codex hosts -G {name}` shows that one)"
                )
            }
            RouteError::TooLong { .. } => {
                format!(
                    "name at most {} jump hosts, or leave some to the jump hosts' own ssh",
                    limits::HOPS - 1
                )
            }
        }
    }
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
        let unusable = |source| RouteError::Config {
            host: query.host.clone(),
            source,
        };
        let resolved = (self.resolve)(query).map_err(unusable)?;
        if let Some(refusal) = resolved.refusal {
            return Err(unusable(refusal));
        }
        for problem in resolved.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        Ok(resolved.settings)
    }

    /// Adds the hops to a host, and the host.
    fn reach(&mut self, mut settings: HostSettings) -> Result<(), RouteError> {
        // By the name asked for: behind a bastion, its own address may be another host's.
        let name = format!("{}:{}", settings.alias, settings.port);
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

#[cfg(test)]
mod tests {
    use super::{Query, Route, RouteError, Via, route};
    use crate::config::{Sources, SystemWorld, resolve};

    /// The aliases of the hops, and how the first one is reached.
    fn hops(config: &str, host: &str) -> Result<(Vec<String>, Via), RouteError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, config).unwrap();
        let sources = Sources::file(&file);
        let mut world = SystemWorld::new();
        let (Route { hops }, _) = route(&Query::host(host), &mut |it| resolve(it, &sources, &mut world))?;
        let first = hops[0].route.clone();
        assert!(hops[1..].iter().all(|it| it.route == Via::Direct));
        Ok((
            hops.into_iter()
                .map(|it| format!("{}@{}:{}", it.user, it.host_name, it.port))
                .collect(),
            first,
        ))
    }

    #[test]
    fn jump_hosts_come_first_and_only_the_first_has_a_route_of_its_own() {
        let config = "User u\nHost target\n ProxyJump v@one:2201,two\nHost one\n HostName one.example\n \
                      ProxyJump zero\nHost two\n Port 2202\n ProxyCommand ignored\nHost zero\n ProxyCommand used\n";
        let (names, first) = hops(config, "target").unwrap();
        assert_eq!(
            names,
            ["u@zero:22", "v@one.example:2201", "u@two:2202", "u@target:22"]
        );
        assert_eq!(first, Via::Command("used".to_owned()));
    }

    #[test]
    fn a_command_that_cannot_be_run_leads_nowhere() {
        for config in ["ProxyCommand nc %d\n", "KnownHostsCommand relative\n"] {
            let refused = hops(config, "a").unwrap_err();
            assert!(matches!(refused, RouteError::Config { .. }), "{refused}");
        }
    }

    #[test]
    fn a_host_behind_a_bastion_may_have_the_bastions_address() {
        let config = "Host bastion vm\n HostName 10.0.0.1\n User u\nHost vm\n ProxyJump bastion\n";
        assert_eq!(hops(config, "vm").unwrap().0, ["u@10.0.0.1:22", "u@10.0.0.1:22"]);
    }

    #[test]
    fn a_circle_names_its_hops_and_long_chains_end() {
        let circle = hops("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", "a").unwrap_err();
        assert_eq!(
            circle.to_string(),
            "ProxyJump leads in a circle: a:22 -> b:22 -> a:22"
        );
        assert!(
            circle
                .hint()
                .starts_with("a `Host` block for b with `ProxyJump none`"),
            "{}",
            circle.hint()
        );
        let itself = hops("Host *\n ProxyJump bastion\n", "x").unwrap_err();
        assert!(
            matches!(&itself, RouteError::Config { host, .. } if host == "bastion"),
            "{itself}"
        );
        let long = hops("Host t\n ProxyJump a,b,c,d,e,f,g,h\n", "t").unwrap_err();
        assert!(matches!(long, RouteError::TooLong { .. }), "{long}");
        hops("Host t\n ProxyJump a,b,c,d,e,f,g\n", "t").unwrap();
    }
}
