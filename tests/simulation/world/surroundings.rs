//! Those around the engine, and the network between.

use countersign_proto::Side;

use super::World;
use super::agenda::Happening;
use crate::client::Farewell;
use crate::invariants::{Verdict, check_client, check_upstream};
use crate::network::{End, Link};
use crate::upstream::{Ending, Manner, Upstream};

impl World {
    pub(super) fn client_turn(&mut self, index: usize) -> Verdict {
        self.touched = Some(index);
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        session.client_turn = false;
        let Some(link) = &mut session.links[Side::Client as usize] else { return Ok(()) };
        let expected = session.upstream.as_ref().map(Upstream::stream);
        let before = (session.client.key_updates, session.client.is_gone());
        let again = session.client.step(&mut session.random, link, now, expected)?;
        check_client(&session.client, session.upstream.as_ref())?;
        let updated = session.client.key_updates > before.0;
        let left = session.client.is_gone() && !before.1;
        if let Some(delay) = again {
            session.client_turn = true;
            self.agenda.after(delay, Happening::ClientTurn(index));
        }
        if updated {
            self.see("key_update");
        }
        if left {
            self.see_client(index);
        }
        self.follow(index, Side::Client);
        self.wake_near(index, Side::Client);
        Ok(())
    }

    pub(super) fn see_client(&mut self, index: usize) {
        let session = &self.sessions[index];
        let link = session.links[Side::Client as usize].as_ref();
        let has_cut = link.is_some_and(|link| link.has_cut);
        let has_delayed = link.is_some_and(|link| link.has_delayed);
        let client = &session.client;
        let farewell = client.plan.farewell;
        let (was_retried, has_reset) = (client.was_retried(), client.has_reset);
        let half_closed = farewell == Farewell::HalfClose && client.said_close_notify;
        let heard = client.alert.is_some();
        if has_cut {
            self.see("fragmented");
        }
        if has_delayed {
            self.see("delayed");
        }
        if was_retried {
            self.see("hello_retry_request");
        }
        if has_reset {
            self.see("client_reset_itself");
        }
        if half_closed {
            self.see("client_half_closed");
        }
        if heard {
            self.see("alert_heard");
        }
    }

    pub(super) fn upstream_turn(&mut self, index: usize) -> Verdict {
        self.touched = Some(index);
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        session.upstream_turn = false;
        let (Some(upstream), Some(link)) =
            (&mut session.upstream, &mut session.links[Side::Upstream as usize])
        else {
            return Ok(());
        };
        let was_gone = upstream.is_gone();
        let again = upstream.step(&mut session.random, link, now)?;
        check_upstream(&session.client, upstream)?;
        let left =
            (upstream.is_gone() && !was_gone).then_some((upstream.ended, upstream.plan.manner));
        if let Some(delay) = again {
            session.upstream_turn = true;
            self.agenda.after(delay, Happening::UpstreamTurn(index));
        }
        match left {
            Some((_, Manner::Resets)) => self.see("upstream_reset_itself"),
            Some((Some(Ending::Clean), Manner::HalfClosesEarly | Manner::Source)) => {
                self.see("upstream_half_closed");
            }
            Some((Some(Ending::Reset), _)) => self.see("upstream_heard_reset"),
            _ => {}
        }
        self.follow(index, Side::Upstream);
        self.wake_near(index, Side::Upstream);
        Ok(())
    }

    pub(super) fn arrive(&mut self, index: usize, side: Side) -> Verdict {
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        if near.arrival_at != Some(now) {
            return Ok(());
        }
        near.arrival_at = None;
        if let Some(link) = &mut session.links[side as usize] {
            link.arrive(now);
        }
        self.follow(index, side);
        self.wake_near(index, side);
        self.wake_far(index, side);
        Ok(())
    }

    /// Puts the next arrival of a link on the agenda.
    pub(super) fn follow(&mut self, index: usize, side: Side) {
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        let Some(at) = session.links[side as usize].as_ref().and_then(Link::next_arrival) else {
            return;
        };
        if near.arrival_at.is_none_or(|earlier| earlier > at) {
            near.arrival_at = Some(at);
            self.agenda.after(at.saturating_sub(self.agenda.now), Happening::Arrive(index, side));
        }
    }

    /// Lets operations go on that waited for the link.
    pub(super) fn wake_near(&mut self, index: usize, side: Side) {
        let (receive_delay, send_delay) =
            (self.completion_delay(index), self.completion_delay(index));
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        let Some(link) = &mut session.links[side as usize] else { return };
        if near.receiving && !near.receive_is_due && link.is_readable(End::Near) {
            near.receive_is_due = true;
            self.agenda.after(receive_delay, Happening::ReceiveNow(index, side));
        }
        if near.blocked && link.is_writable(End::Near) {
            near.blocked = false;
            self.agenda.after(send_delay, Happening::SendNow(index, side));
        }
    }

    /// Something may have changed for who is at the far end.
    pub(super) fn wake_far(&mut self, index: usize, side: Side) {
        let session = &mut self.sessions[index];
        match (side, &session.upstream) {
            (Side::Client, _) => {
                if !session.client_turn && !session.client.is_gone() {
                    session.client_turn = true;
                    let delay = session.client.pause(&mut session.random);
                    self.agenda.after(delay, Happening::ClientTurn(index));
                }
            }
            (Side::Upstream, Some(upstream)) => {
                if !session.upstream_turn && !upstream.is_gone() {
                    session.upstream_turn = true;
                    let delay = session.random.within(0..=upstream.plan.pause_nanos);
                    self.agenda.after(delay, Happening::UpstreamTurn(index));
                }
            }
            (Side::Upstream, None) => {}
        }
    }
}
