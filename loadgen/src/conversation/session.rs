//! A connection over which application data can go, and whether the server has accepted the client yet.

use std::time::Instant;

use crate::channel::Channel;
use crate::failure::Failure;
use crate::http::Response;
use crate::site::{Begun, Ended, Site, Stage};
use crate::wire::{Stopped, Wire};

/// An open connection.
pub(super) struct Session {
    pub(super) channel: Channel,
    /// The handshake, until the server has shown that it accepts the client.
    unconfirmed: Option<Ended>,
}

impl Session {
    /// Connects and shakes hands. `first` leaves together with the client's last flight, or alone where there
    /// is no TLS. Latency counts from `due`.
    pub(super) async fn open(
        site: &Site,
        wire: &mut Wire,
        due: Instant,
        first: &[u8],
    ) -> Result<Self, Stopped> {
        // Before a connection is made in vain: the clients may be used up.
        let begun = site.plan.tls.as_ref().map(|plan| site.begin_tls(plan)).transpose()?;
        wire.allow(site.plan.arguments.timeout);
        let connect = wire.connect(&site.sockets).await?;
        site.opened();
        let Some(Begun { tls, offered }) = begun else {
            site.connected(connect);
            wire.output.extend_from_slice(first);
            wire.send("sending the request").await?;
            return Ok(Self { channel: Channel::Plain, unconfirmed: None });
        };
        let mut channel = Channel::Tls(tls);
        wire.output.clear();
        channel.flush(&mut wire.output)?;
        wire.send("sending the ClientHello").await?;
        shake_hands(wire, &mut channel, first).await?;
        let ended = Ended { connect, handshake: due.elapsed(), offered };
        Ok(Self { channel, unconfirmed: Some(ended) })
    }

    /// The server has shown that it accepts the client.
    pub(super) fn confirm(&mut self, site: &Site) {
        if let (Some(ended), Channel::Tls(tls)) = (self.unconfirmed.take(), &self.channel) {
            site.handshake_confirmed(&ended, tls);
        }
    }

    /// What has failed if something fails now.
    pub(super) fn stage(&self) -> Stage {
        if self.unconfirmed.is_some() { Stage::Handshake } else { Stage::Request }
    }

    /// Sends a request.
    pub(super) async fn ask(&mut self, wire: &mut Wire, request: &[u8]) -> Result<(), Stopped> {
        self.channel.seal(request, &mut wire.output)?;
        wire.send("sending the request").await
    }

    /// Reads one response to its end. Its first byte confirms the handshake.
    pub(super) async fn answer(
        &mut self,
        site: &Site,
        wire: &mut Wire,
    ) -> Result<Response, Stopped> {
        const DOING: &str = "waiting for the response";
        let mut response = Response::default();
        while !response.is_complete() {
            if !wire.receive(DOING).await? {
                response.end()?;
                break;
            }
            let ended = self.channel.open(&wire.input, &mut |data| response.take(data))?;
            if response.has_begun() {
                self.confirm(site);
            }
            if ended && !response.is_complete() {
                response.end()?;
            }
            self.channel.flush(&mut wire.output)?;
            if !wire.output.is_empty() {
                wire.send(DOING).await?;
            }
        }
        response.success()?;
        Ok(response)
    }

    /// Waits until the server has shown without being asked that it accepts the client: by a ticket (TLS
    /// 1.3), or by its Finished (TLS 1.2), which has come already.
    pub(super) async fn await_ticket(
        &mut self,
        site: &Site,
        wire: &mut Wire,
    ) -> Result<(), Stopped> {
        const DOING: &str = "waiting for a ticket (leave out --no-probe if the server sends none)";
        while !self.has_proof() {
            if !wire.receive(DOING).await? {
                return Err(Failure::closed(DOING).into());
            }
            self.channel.open(&wire.input, &mut |_| Ok(()))?;
        }
        self.confirm(site);
        Ok(())
    }

    fn has_proof(&self) -> bool {
        match &self.channel {
            Channel::Plain => true,
            Channel::Tls(tls) => {
                tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2)
                    || tls.tls13_tickets_received() > 0
            }
        }
    }
}

async fn shake_hands(wire: &mut Wire, channel: &mut Channel, first: &[u8]) -> Result<(), Stopped> {
    const DOING: &str = "waiting for the server's part of the handshake";
    loop {
        if !wire.receive(DOING).await? {
            return Err(Failure::closed(DOING).into());
        }
        let opened = channel.open(&wire.input, &mut |_| Ok(()));
        if let Err(failure) = opened {
            // Tells the server why, as any client does. What comes of it does not matter.
            drop(channel.flush(&mut wire.output));
            drop(wire.send(DOING).await);
            return Err(failure.into());
        }
        let Channel::Tls(tls) = &*channel else { return Ok(()) };
        let done = !tls.is_handshaking();
        if done && !first.is_empty() {
            channel.seal(first, &mut wire.output)?;
        } else {
            channel.flush(&mut wire.output)?;
        }
        if !wire.output.is_empty() {
            wire.send("sending the client's part of the handshake").await?;
        }
        if done {
            return Ok(());
        }
    }
}
