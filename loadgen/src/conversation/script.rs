//! A plain conversation of set sizes: what TCP alone costs under a handshake.

use super::note;
use crate::failure::Failure;
use crate::site::{Site, Stage};
use crate::wire::{Stopped, Wire};

pub(super) async fn work(site: &Site, wire: &mut Wire, turns: &[usize]) {
    while let Some(due) = site.next_start().await {
        match play(site, wire, turns).await {
            Ok(()) => {
                wire.reset();
                site.request_completed(due.elapsed(), 0);
            }
            Err(stopped) => note(site, wire, Stage::Request, stopped).await,
        }
    }
}

async fn play(site: &Site, wire: &mut Wire, turns: &[usize]) -> Result<(), Stopped> {
    const DOING: &str = "playing the script";
    wire.allow(site.plan.arguments.timeout);
    let connect = wire.connect(&site.sockets).await?;
    site.opened();
    site.connected(connect);
    for (number, size) in turns.iter().enumerate() {
        if number % 2 == 0 {
            wire.output.resize(*size, b'.');
            wire.send(DOING).await?;
            continue;
        }
        let mut left = *size;
        while left > 0 {
            if !wire.receive(DOING).await? {
                return Err(Failure::closed(DOING).into());
            }
            left = left.saturating_sub(wire.input.len());
        }
    }
    Ok(())
}
