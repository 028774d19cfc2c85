//! What one slot does on its connection, again and again until the run is over.

mod bulk;
mod flood;
mod handshake;
mod hold;
mod request;
mod script;
mod session;

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::plan::Work;
use crate::site::{Site, Stage};
use crate::wire::{Stopped, Watch, Wire};

/// After a connection that did not come about: whoever refuses one refuses the next as well, and spinning
/// would measure nothing.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// Works until there is nothing more to start.
pub(crate) async fn work(site: Rc<Site>, watch: Rc<Watch>) {
    let mut wire = Wire::new(watch);
    match &site.plan.work {
        Work::Handshake { probe } => handshake::work(&site, &mut wire, *probe).await,
        Work::Request { per_connection } => request::work(&site, &mut wire, *per_connection).await,
        Work::Upload => bulk::upload(&site, &mut wire).await,
        Work::Download => bulk::download(&site, &mut wire).await,
        Work::Tcp(turns) => script::work(&site, &mut wire, turns).await,
        Work::Flood(_) => flood::work(&site, &mut wire).await,
    }
    wire.reset();
}

/// Opens one connection and keeps it until the run is over. No more open at one time than the semaphore lets.
pub(crate) async fn hold(site: Rc<Site>, watch: Rc<Watch>, opening: Rc<Semaphore>) {
    let mut wire = Wire::new(watch);
    hold::hold(&site, &mut wire, &opening).await;
    wire.reset();
}

/// Counts what went wrong, closes the connection, and waits a moment if there was none.
async fn note(site: &Site, wire: &Wire, stage: Stage, stopped: Stopped) {
    wire.reset();
    let refused = matches!(&stopped, Stopped::Failed(failure)
        if matches!(&*failure.kind,
            "connect_refused" | "unreachable" | "out_of_ports" | "out_of_descriptors" | "no_socket" | "connect"));
    site.stopped(stage, stopped);
    if refused {
        tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
    }
}
