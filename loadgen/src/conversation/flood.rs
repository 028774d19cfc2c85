//! Much work for the server, little for the client.

use super::note;
use crate::arguments::Flood;
use crate::channel::Channel;
use crate::failure::Failure;
use crate::plan::Work;
use crate::site::{Begun, Site, Stage};
use crate::wire::{Stopped, Wire};

const GARBAGE_BYTES: usize = 64;

pub(super) async fn work(site: &Site, wire: &mut Wire) {
    let message = match message(site) {
        Ok(message) => message,
        Err(stopped) => return note(site, wire, Stage::Other, stopped).await,
    };
    while let Some(due) = site.next_start().await {
        match one(site, wire, &message).await {
            Ok(()) => {
                wire.reset();
                site.answered(due.elapsed());
            }
            Err(stopped) => note(site, wire, Stage::Other, stopped).await,
        }
    }
}

/// Sends the message and waits for the first bytes of the answer: before them the server has not paid.
async fn one(site: &Site, wire: &mut Wire, message: &[u8]) -> Result<(), Stopped> {
    wire.allow(site.plan.arguments.timeout);
    let connect = wire.connect(&site.sockets).await?;
    site.opened();
    site.connected(connect);
    wire.output.extend_from_slice(message);
    wire.send("flooding").await?;
    match wire.receive("waiting for the answer to a flood").await {
        // An alert, the end of the stream and a reset are answers.
        Ok(_) => Ok(()),
        Err(Stopped::Failed(failure)) if failure.kind == "reset" => Ok(()),
        Err(stopped) => Err(stopped),
    }
}

fn message(site: &Site) -> Result<Vec<u8>, Stopped> {
    let mut message = Vec::new();
    match (&site.plan.work, &site.plan.tls) {
        (Work::Flood(Flood::ClientHello), Some(plan)) => {
            let Begun { tls, .. } = site.begin_tls(plan)?;
            Channel::Tls(tls).flush(&mut message)?;
        }
        _ => {
            message.resize(GARBAGE_BYTES, 0);
            aws_lc_rs::rand::fill(&mut message)
                .map_err(|_| Failure::new("randomness", "there is no randomness"))?;
            // Not the first byte of any record type (RFC 9846, section 5.1).
            message[0] |= 0x80;
        }
    }
    Ok(message)
}
