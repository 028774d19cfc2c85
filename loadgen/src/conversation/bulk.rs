//! Application data for as long as the run lasts, through rustls.

use super::note;
use super::session::Session;
use crate::failure::Failure;
use crate::site::{Site, Stage};
use crate::wire::{Stopped, Wire};

/// What is sealed and sent at one time; rustls buffers no more unless told to.
const CHUNK_BYTES: usize = 64 << 10;

const INPUT_BYTES: usize = 256 << 10;

pub(super) async fn upload(site: &Site, wire: &mut Wire) {
    let chunk = vec![b'.'; CHUNK_BYTES];
    while let Some(mut session) = next(site, wire).await {
        let stopped = loop {
            let sent = session.ask(wire, &chunk).await;
            match sent {
                Ok(()) => site.moved(CHUNK_BYTES as u64, 0),
                Err(stopped) => break stopped,
            }
        };
        // Whoever takes data until the end has accepted the client.
        if matches!(stopped, Stopped::Over) {
            session.confirm(site);
        }
        site.note_alive(&stopped);
        note(site, wire, stage(&session), stopped).await;
    }
}

pub(super) async fn download(site: &Site, wire: &mut Wire) {
    wire.shrink(INPUT_BYTES);
    while let Some(mut session) = next(site, wire).await {
        let stopped = loop {
            match receive(site, wire, &mut session).await {
                Ok(()) => session.confirm(site),
                Err(stopped) => break stopped,
            }
        };
        site.note_alive(&stopped);
        note(site, wire, stage(&session), stopped).await;
    }
}

/// Receives until application data has come.
async fn receive(site: &Site, wire: &mut Wire, session: &mut Session) -> Result<(), Stopped> {
    const DOING: &str = "downloading";
    let mut received = 0;
    while received == 0 {
        if !wire.receive(DOING).await? {
            return Err(Failure::closed(DOING).into());
        }
        let ended = session.channel.open(&wire.input, &mut |data| {
            received += data.len() as u64;
            Ok(())
        })?;
        if ended {
            return Err(Failure::closed(DOING).into());
        }
    }
    site.moved(0, received);
    Ok(())
}

async fn next(site: &Site, wire: &mut Wire) -> Option<Session> {
    loop {
        let due = site.next_start().await?;
        match Session::open(site, wire, due, &[]).await {
            Ok(session) => {
                wire.allow_all_time();
                return Some(session);
            }
            Err(stopped) => note(site, wire, Stage::Handshake, stopped).await,
        }
    }
}

/// A transfer is no request.
fn stage(session: &Session) -> Stage {
    if session.stage() == Stage::Handshake { Stage::Handshake } else { Stage::Other }
}
