//! Connect, handshake, one small request, reset.

use std::time::Instant;

use super::note;
use super::session::Session;
use crate::site::{Site, Stage};
use crate::wire::Wire;

pub(super) async fn work(site: &Site, wire: &mut Wire, probe: bool) {
    while let Some(due) = site.next_start().await {
        one(site, wire, due, probe).await;
    }
}

async fn one(site: &Site, wire: &mut Wire, due: Instant, probe: bool) {
    let first = if probe { &*site.plan.request } else { &[] };
    let mut session = match Session::open(site, wire, due, first).await {
        Ok(session) => session,
        Err(stopped) => return note(site, wire, Stage::Handshake, stopped).await,
    };
    let asked = Instant::now();
    let ended = if probe {
        let answer = session.answer(site, wire).await;
        answer.map(|response| site.request_completed(asked.elapsed(), response.body_bytes))
    } else {
        session.await_ticket(site, wire).await
    };
    match ended {
        Ok(()) => wire.reset(),
        Err(stopped) => note(site, wire, session.stage(), stopped).await,
    }
}
