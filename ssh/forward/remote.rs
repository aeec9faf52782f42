//! Forwardings that listen on the host.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use russh::ChannelOpenFailure;
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::{Board, Entered, State, local::Stream, relay, relay_channel, socks};
use crate::{
    channel,
    config::settings::{Endpoint, Forward, Forwarding, Target},
    doors::{Place, Visitor},
    exec::Pipe,
    limits,
    session::Session,
};

/// What can be done where a server does not listen: it tells no reason.
const HINT: &str = "look who has the port on the host, and whether its sshd_config lets you \
                    (AllowTcpForwarding, GatewayPorts, PermitListen; for a socket StreamLocalBindUnlink)";

/// Which forwarding a channel of the server belongs to.
pub(super) struct Route {
    place: Place,
    index: usize,
    target: Target,
}

/// Where a SOCKS client on the host may be connected to: `PermitRemoteOpen`.
type Permitted = Option<Arc<[(String, Option<u16>)]>>;

/// The forwardings that the host listens for, as far as it has agreed.
pub(super) type Routes = Arc<Mutex<Vec<Route>>>;

/// Serves what comes in on the host, if the configuration has any such forwarding.
pub(super) fn serve(
    tasks: &mut JoinSet<()>,
    session: &Arc<Session>,
    board: &Arc<Board>,
    forwarding: &Forwarding,
) -> Routes {
    let routes = Routes::default();
    if !forwarding.list.iter().any(|it| it.is_remote) {
        return routes;
    }
    let Some(mut visitors) = session.doors().open_forwarded() else {
        return routes;
    };
    let permitted: Permitted = forwarding.permit_remote_open.clone().map(Arc::from);
    let (session, board, known) = (Arc::clone(session), Arc::clone(board), Arc::clone(&routes));
    tasks.spawn(async move {
        let mut running = JoinSet::new();
        while let Some(visitor) = visitors.recv().await {
            while running.try_join_next().is_some() {}
            let found = {
                let routes = known.lock().unwrap_or_else(PoisonError::into_inner);
                let route = routes.iter().find(|it| it.place == visitor.place);
                route.map(|it| (it.index, it.target.clone()))
            };
            if let Some((index, target)) = found
                && let Some(entered) = board.enter(index)
            {
                let (session, permitted) = (Arc::clone(&session), permitted.clone());
                running.spawn(carry(visitor, session, target, permitted, entered));
            }
        }
    });
    routes
}

/// Asks the host to listen, and writes on the board whether it does.
pub(super) async fn start(
    routes: &Routes,
    session: &Session,
    board: &Board,
    index: usize,
    forward: &Forward,
) {
    let listening = match session.doors().claim(&forward.listen) {
        Some(place) => Ok(place),
        None => ask(session, &forward.listen).await,
    };
    match listening {
        Ok(place) => {
            let at = place.to_string();
            let target = forward.target.clone();
            let mut routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
            routes.push(Route { place, index, target });
            drop(routes);
            board.set(index, State::Listening(at));
        }
        Err(why) => board.set(index, State::Failed { why, hint: HINT }),
    }
}

async fn ask(session: &Session, listen: &Endpoint) -> Result<Place, String> {
    let denied = "the server refuses to listen: the port is taken, or it is not allowed";
    let slow = |_| {
        format!(
            "asking the server: no answer within {} s",
            limits::CHANNEL.as_secs()
        )
    };
    let place = match listen {
        Endpoint::Unix(path) => {
            let path = path.to_string_lossy().into_owned();
            let asked = session.handle().streamlocal_forward(path.as_str());
            let asked = timeout(limits::CHANNEL, asked).await.map_err(slow)?;
            asked.map_err(|_| denied.to_owned())?;
            Place::Unix(path)
        }
        Endpoint::Tcp { host, port } => {
            // As OpenSSH's client sends it; the empty one stands for all addresses (RFC 4254, 7.1).
            let address = match host.as_deref() {
                None => "localhost",
                Some("*") => "",
                Some(host) => host,
            };
            let asked = session.handle().tcpip_forward(address, u32::from(*port));
            let asked = timeout(limits::CHANNEL, asked).await.map_err(slow)?;
            let chosen = asked.map_err(|_| denied.to_owned())?;
            // Only for port 0 the server tells one.
            let port = if chosen == 0 { u32::from(*port) } else { chosen };
            let address = address.to_owned();
            Place::Tcp { address, port }
        }
    };
    session.doors().grant(listen.clone(), place.clone());
    Ok(place)
}

async fn carry(
    visitor: Visitor,
    session: Arc<Session>,
    target: Target,
    permitted: Permitted,
    entered: Entered,
) {
    let when_full = entered.when_full();
    let ties = session.ties();
    if target == Target::Socks {
        visitor.reply.accept().await;
        let (ends, drain) = channel::open_spooled(visitor.channel, ties, when_full);
        let mut pipe = ends.pipe;
        let serve = async move {
            // Dropping the pipe at the end closes the channel, for which the drain waits.
            socks_client(&mut pipe, permitted).await;
            drop(pipe);
        };
        tokio::join!(serve, drain.run());
        return;
    }
    let near = match &target {
        Target::Tcp { host, port } => connect_tcp(host, *port).await,
        Target::Unix(path) => match timeout(limits::CONNECT, UnixStream::connect(path)).await {
            Ok(connected) => connected.map(|it| Box::new(it) as Box<dyn Stream>),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
        Target::Socks => return,
    };
    let Ok(mut near) = near else {
        return visitor.reply.reject(ChannelOpenFailure::ConnectFailed).await;
    };
    visitor.reply.accept().await;
    relay_channel(visitor.channel, (ties, when_full), &mut near).await;
}

async fn socks_client(pipe: &mut Pipe, permitted: Permitted) {
    let Ok(wanted) = socks::request(pipe).await else {
        return;
    };
    let near = match is_permitted(permitted.as_deref(), &wanted.host, wanted.port) {
        true => connect_tcp(&wanted.host, wanted.port).await,
        false => Err(io::ErrorKind::PermissionDenied.into()),
    };
    let told = socks::reply(pipe, &wanted, near.is_ok()).await;
    if let (Ok(mut near), Ok(())) = (near, told) {
        relay(pipe, &mut near).await;
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
    let connected = timeout(limits::CONNECT, TcpStream::connect((host, port))).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn is_permitted(permitted: Option<&[(String, Option<u16>)]>, host: &str, port: u16) -> bool {
    let Some(permitted) = permitted else { return true };
    let fits = |it: &(String, Option<u16>)| {
        (it.0 == "*" || it.0.eq_ignore_ascii_case(host)) && it.1.is_none_or(|it| it == port)
    };
    permitted.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::is_permitted;

    #[test]
    fn permit_remote_open_names_hosts_and_ports() {
        let list = [("db".to_owned(), Some(5432)), ("web".to_owned(), None)];
        assert!(is_permitted(None, "any", 1));
        assert!(is_permitted(Some(&list), "DB", 5432) && is_permitted(Some(&list), "web", 8));
        assert!(!is_permitted(Some(&list), "db", 1) && !is_permitted(Some(&list), "x", 5432));
        assert!(!is_permitted(Some(&[]), "db", 5432));
    }
}
