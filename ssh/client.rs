//! What the server may ask of us and tell us, as russh calls it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use russh::{
    Channel, ChannelId, ChannelOpenFailure, Names,
    client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session as RusshSession},
    keys::{Certificate, PublicKey, PublicKeyOrCertificate},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    ask::WeakReport,
    doors::{Doors, Place, Visitor},
    limits,
    session::Closed,
};

/// The key that a server has proved to hold, and where our verdict goes.
pub(crate) struct Presented {
    pub(crate) key: ServerKey,
    pub(crate) verdict: oneshot::Sender<bool>,
}

pub(crate) enum ServerKey {
    Plain(PublicKey),
    Certified(Box<Certificate>),
}

/// What both sides agreed on in the first key exchange.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(crate) kex: String,
    pub(crate) cipher: String,
    pub(crate) host_key: String,
}

/// The server's words about a refused channel, which russh gives to nobody else.
pub(crate) type Refusal = Arc<Mutex<Option<String>>>;

/// The last text that the server sent during the login (RFC 4252, 5.4): where an account may not log in, sshd says
/// so by it before it ends the connection.
pub(crate) type LastWords = Arc<Mutex<Option<String>>>;

/// The link's end was the server's, without words.
pub(crate) const SERVER_CLOSED: &str = "the server closed it";

pub(crate) struct Client {
    pub(crate) report: WeakReport,
    pub(crate) presented: mpsc::Sender<Presented>,
    pub(crate) agreed: Arc<OnceLock<Agreed>>,
    pub(crate) refusal: Refusal,
    pub(crate) last_words: LastWords,
    pub(crate) ended: watch::Sender<Option<Closed>>,
    pub(crate) doors: Arc<Doors>,
    /// The host keys that the server says it has; a full queue drops them.
    pub(crate) announced: mpsc::Sender<Vec<PublicKey>>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => ServerKey::Plain(key.clone()),
            PublicKeyOrCertificate::Certificate(it) => ServerKey::Certified(Box::new(it.clone())),
        };
        let (verdict, decided) = oneshot::channel();
        if self.presented.send(Presented { key, verdict }).await.is_err() {
            return Ok(false);
        }
        Ok(decided.await.unwrap_or(false))
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        self.agreed.get_or_init(|| Agreed {
            kex: names.kex.as_ref().to_owned(),
            cipher: names.cipher.as_ref().to_owned(),
            host_key: names.key.to_string(),
        });
        Ok(())
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        if keys.len() <= limits::ANNOUNCED_KEYS {
            // Whoever wants them waits for them already.
            let _ = self.announced.try_send(keys);
        }
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut RusshSession) -> Result<(), russh::Error> {
        let text: String = banner.trim().chars().take(limits::LAST_WORDS).collect();
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.report.notice(banner.trim_end().to_owned());
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        reason: ChannelOpenFailure,
        description: &str,
        _: &str,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        let kind = match &reason {
            ChannelOpenFailure::AdministrativelyProhibited => "administratively prohibited",
            ChannelOpenFailure::ConnectFailed => "connect failed",
            ChannelOpenFailure::UnknownChannelType => "unknown channel type",
            ChannelOpenFailure::ResourceShortage => "resource shortage",
            ChannelOpenFailure::Other { .. } => "refused",
        };
        let text = format!("{kind}: {description}");
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }

    // russh accepts these by default. Nobody waits for those that were not asked for, and dropping the
    // handle refuses.
    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        let address = address.to_owned();
        let place = Place::Tcp { address, port };
        self.doors.knock(Visitor {
            channel,
            reply,
            place,
        });
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        let place = Place::Unix(path.to_owned());
        self.doors.knock(Visitor {
            channel,
            reply,
            place,
        });
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        let place = Place::Agent;
        self.doors.knock(Visitor {
            channel,
            reply,
            place,
        });
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut RusshSession,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        self.ended.send_replace(Some(match reason {
            DisconnectReason::ReceivedDisconnect(info) => Closed::ByServer(info.message),
            DisconnectReason::Error(error) => closed_by(&error),
        }));
        Ok(())
    }
}

/// Whether russh gave up because a text of the server is no UTF-8: it reads all of them strictly. A packet that is
/// damaged or of another shape is another error.
pub(crate) fn is_illegible(error: &russh::Error) -> bool {
    use russh::keys::ssh_encoding::Error::CharacterEncoding;
    matches!(error, russh::Error::SshEncoding(CharacterEncoding))
}

fn closed_by(error: &russh::Error) -> Closed {
    use std::io::ErrorKind;
    match error {
        error if is_illegible(error) => Closed::Illegible,
        russh::Error::KeepaliveTimeout => Closed::Silent,
        russh::Error::Disconnect | russh::Error::RecvError => Closed::ByUs,
        russh::Error::IO(error) => match error.kind() {
            ErrorKind::ConnectionAborted => Closed::ByUs,
            ErrorKind::UnexpectedEof => Closed::Lost(SERVER_CLOSED.to_owned()),
            _ => Closed::Lost(error.to_string()),
        },
        russh::Error::PacketAuth
        | russh::Error::PacketSize(_)
        | russh::Error::DecryptionError
        | russh::Error::Decompress(_)
        | russh::Error::Inconsistent
        | russh::Error::SshEncoding(_)
        | russh::Error::KexInit
        | russh::Error::Kex
        | russh::Error::WrongServerSig
        | russh::Error::StrictKeyExchangeViolation { .. } => Closed::Broken(error.to_string()),
        other => Closed::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use russh::{Error, keys::ssh_encoding};

    use super::closed_by;
    use crate::session::Closed;

    #[test]
    fn words_that_cannot_be_read_packets_that_are_broken_and_links_that_break_are_told_apart() {
        let illegible = ssh_encoding::Error::CharacterEncoding.into();
        assert_eq!(closed_by(&illegible), Closed::Illegible);
        for broken in [
            Error::PacketAuth,
            Error::PacketSize(1 << 30),
            Error::Inconsistent,
            ssh_encoding::Error::Length.into(),
        ] {
            assert_eq!(closed_by(&broken), Closed::Broken(broken.to_string()));
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let told = reset.to_string();
        assert_eq!(closed_by(&reset.into()), Closed::Lost(told));
        assert_eq!(closed_by(&Error::KeepaliveTimeout), Closed::Silent);
    }
}
