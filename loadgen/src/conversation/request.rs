//! Requests on kept connections.

use std::time::Instant;

use super::note;
use super::session::Session;
use crate::site::{Site, Stage};
use crate::wire::{Stopped, Wire};

/// A connection and how often it was used.
struct Kept {
    session: Session,
    used: u64,
}

pub(super) async fn work(site: &Site, wire: &mut Wire, per_connection: u64) {
    let mut kept = None;
    if site.arrivals.is_some() {
        // What arrives should find connections, not make them.
        kept = open(site, wire, Instant::now()).await;
    }
    while let Some(due) = site.next_start().await {
        let mut current = match kept.take() {
            Some(current) => current,
            None => match open(site, wire, due).await {
                Some(current) => current,
                None => continue,
            },
        };
        let from = if site.arrivals.is_some() { due } else { Instant::now() };
        match exchange(site, wire, &mut current, from).await {
            Ok(true) if current.used != per_connection => kept = Some(current),
            Ok(_) => wire.reset(),
            Err(stopped) => {
                site.note_alive(&stopped);
                note(site, wire, current.session.stage(), stopped).await;
            }
        }
    }
    if kept.is_some() {
        site.note_alive(&Stopped::Over);
    }
}

async fn open(site: &Site, wire: &mut Wire, due: Instant) -> Option<Kept> {
    match Session::open(site, wire, due, &[]).await {
        Ok(session) => {
            wire.allow_all_time();
            Some(Kept { session, used: 0 })
        }
        Err(stopped) => {
            let is_tls = site.plan.tls.is_some();
            let stage = if is_tls { Stage::Handshake } else { Stage::Request };
            note(site, wire, stage, stopped).await;
            None
        }
    }
}

/// One request and its response; true if the connection can be used again.
async fn exchange(
    site: &Site,
    wire: &mut Wire,
    kept: &mut Kept,
    from: Instant,
) -> Result<bool, Stopped> {
    wire.allow(site.plan.arguments.timeout);
    kept.session.ask(wire, &site.plan.request).await?;
    let response = kept.session.answer(site, wire).await?;
    wire.allow_all_time();
    kept.used += 1;
    site.request_completed(from.elapsed(), response.body_bytes);
    Ok(response.keeps_alive())
}
