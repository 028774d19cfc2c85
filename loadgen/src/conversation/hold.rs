//! Many connections, open and idle: what they cost in memory.

use std::time::Instant;

use tokio::sync::Semaphore;

use super::note;
use super::session::Session;
use crate::failure::Failure;
use crate::plan::Work;
use crate::site::{Site, Stage};
use crate::wire::{Stopped, Wire};

/// Enough for what an idle connection may be told.
const INPUT_BYTES: usize = 512;

pub(super) async fn hold(site: &Site, wire: &mut Wire, opening: &Semaphore) {
    let opened = {
        let _permit = opening.acquire().await;
        if site.is_over() {
            return;
        }
        open(site, wire).await
    };
    let (stage, stopped) = match opened {
        Err(stopped) => stopped,
        Ok(mut session) => {
            wire.allow_all_time();
            wire.shrink(INPUT_BYTES);
            site.live.held.add(1);
            let stopped = idle(wire, &mut session).await;
            site.note_alive(&stopped);
            if matches!(stopped, Stopped::Failed(_)) {
                site.live.held.subtract(1);
            }
            (Stage::Other, stopped)
        }
    };
    note(site, wire, stage, stopped).await;
}

async fn open(site: &Site, wire: &mut Wire) -> Result<Session, (Stage, Stopped)> {
    let asks = match &site.plan.work {
        Work::Handshake { probe } => *probe,
        _ => true,
    };
    let first = if asks { &*site.plan.request } else { &[] };
    let opened = Session::open(site, wire, Instant::now(), first).await;
    let mut session = opened.map_err(|stopped| (Stage::Handshake, stopped))?;
    let asked = Instant::now();
    let ended = if asks {
        let answer = session.answer(site, wire).await;
        answer.and_then(|response| {
            site.request_completed(asked.elapsed(), response.body_bytes);
            let closes =
                || Failure::new("closed", "the server keeps no connection open after a response");
            if response.keeps_alive() { Ok(()) } else { Err(closes().into()) }
        })
    } else {
        session.await_ticket(site, wire).await
    };
    ended.map_err(|stopped| (session.stage(), stopped)).map(|()| session)
}

/// Waits for the run to be over.
async fn idle(wire: &mut Wire, session: &mut Session) -> Stopped {
    const DOING: &str = "it was held idle";
    loop {
        match wire.receive(DOING).await {
            Ok(true) => {}
            Ok(false) => return Failure::closed(DOING).into(),
            Err(stopped) => return stopped,
        }
        match session.channel.open(&wire.input, &mut |_| Ok(())) {
            Ok(false) => {}
            Ok(true) => return Failure::closed(DOING).into(),
            Err(failure) => return failure.into(),
        }
    }
}
