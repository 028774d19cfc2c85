//! The driver: operations in, completions out, with delays and partial sends, and cancellation at the
//! close of a socket, as a ring has them.

use std::io::ErrorKind;

use countersign_proto::limits::RECEIVE_BYTES;
use countersign_proto::{
    CloseManner, Completion, ConnectError, Connection, Op, OperationId, Side, WorkKind,
};

use super::World;
use super::agenda::Happening;
use crate::invariants::Verdict;
use crate::network::{End, Link, Read};
use crate::plan::nanos;
use crate::sabotage::Sabotage;
use crate::signer::Answer;
use crate::trace::Kind;
use crate::upstream::Manner;

impl World {
    pub(super) fn completion_delay(&mut self, index: usize) -> u64 {
        self.sessions[index].random.within(0..=self.plan.completion_nanos)
    }

    pub(super) fn submit(&mut self, index: usize, op: Op) -> Verdict {
        let delay = self.completion_delay(index);
        let session = &mut self.sessions[index];
        let authorized = session.connection.as_ref().is_some_and(Connection::is_authorized);
        session.ledger.asked(self.agenda.now, authorized, &op)?;
        match op {
            Op::Receive(side) => {
                session.near[side as usize].receiving = true;
                self.note(index, Kind::ReceiveAsked, 0, &side);
                self.wake_near(index, side);
                if self.sabotage == Sabotage::ReceivesTwice {
                    self.sessions[index].ledger.asked(
                        self.agenda.now,
                        false,
                        &Op::Receive(side),
                    )?;
                }
            }
            Op::Send(side, buffer) => {
                let length = buffer.remaining().len();
                session.near[side as usize].sending = Some(buffer);
                self.note(index, Kind::SendAsked, length, &side);
                self.agenda.after(delay, Happening::SendNow(index, side));
            }
            Op::Shutdown(side) => {
                self.note(index, Kind::ShutdownAsked, 0, &side);
                self.agenda.after(delay, Happening::ShutDownNow(index, side));
            }
            Op::Connect(address) => {
                self.note(index, Kind::ConnectAsked, 0, &address);
                let late = nanos(self.plan.limits.connect_timeout);
                let upstream = self.sessions[index].plan.upstream.as_ref();
                let delay = match upstream.map(|plan| (plan.manner, plan.key % 2)) {
                    Some((Manner::AnswersTooLate, 0)) => return Ok(()),
                    Some((Manner::AnswersTooLate, _)) => late + delay,
                    _ => delay,
                };
                self.agenda.after(delay, Happening::ConnectAnswered(index));
            }
            Op::Perform(operation, work) => {
                let kind = work.kind();
                self.note(index, Kind::PerformAsked, 0, &kind);
                self.see(suspended_for(kind));
                let session = &mut self.sessions[index];
                let (now, temper) = (self.agenda.now, &self.plan.temper);
                let answers =
                    session.signer.take(temper, &mut session.random, now, operation, *work);
                for (delay, operation, answer) in answers {
                    self.agenda.after(delay, Happening::Performed(index, operation, answer));
                }
            }
            Op::Close(side, manner) => self.close(index, side, manner),
        }
        Ok(())
    }

    pub(super) fn close(&mut self, index: usize, side: Side, manner: CloseManner) {
        self.note(index, Kind::CloseAsked, manner as usize, &(side, manner));
        let now = self.agenda.now;
        let delay = self.completion_delay(index);
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        near.closing = true;
        near.receive_is_due = false;
        near.blocked = false;
        // What is out is cancelled, as a ring does, and some drivers say so.
        let receiving = std::mem::take(&mut near.receiving);
        let sending = near.sending.take().is_some();
        let says_so = session.random.percent(self.plan.late_completions);
        if receiving && says_so {
            self.agenda.after(delay, Happening::LateReceive(index, side));
        }
        if sending && says_so {
            self.agenda.after(delay, Happening::LateSend(index, side));
        }
        let gently = manner == CloseManner::Graceful
            || (self.sabotage == Sabotage::PassesTruncationForAnEnd && side == Side::Upstream);
        let rudely = self.sabotage == Sabotage::ResetsInsteadOfAlert && side == Side::Client;
        if let Some(link) = &mut session.links[side as usize] {
            if gently && !rudely {
                link.close(End::Near, now);
            } else {
                link.reset(End::Near, now);
            }
        }
        self.see(match (side, manner) {
            (Side::Client, CloseManner::Graceful) => "client_closed_gracefully",
            (Side::Client, CloseManner::Reset) => "client_was_reset",
            (Side::Upstream, CloseManner::Graceful) => "upstream_closed_gracefully",
            (Side::Upstream, CloseManner::Reset) => "upstream_was_reset",
        });
        if self.sabotage != Sabotage::LosesCloses {
            self.agenda.after(2 * delay + 1, Happening::Closed(index, side));
        }
        self.follow(index, side);
    }

    pub(super) fn receive_now(&mut self, index: usize, side: Side) -> Verdict {
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        let Some(link) = &mut session.links[side as usize] else { return Ok(()) };
        if near.closing || !near.receive_is_due {
            return Ok(());
        }
        let most = match session.random.percent(70) {
            true => RECEIVE_BYTES,
            false => session.random.size(1..=RECEIVE_BYTES),
        };
        let read = link.read(End::Near, most);
        near.receive_is_due = false;
        near.receiving = false;
        if read == Read::Reset {
            self.note(index, Kind::ReceiveFailed, 0, &side);
            let session = &mut self.sessions[index];
            session.ledger.receive_failed(side);
            session.ledger.broke(side);
            let reset = ErrorKind::ConnectionReset;
            return self.complete(index, Completion::ReceiveFailed(side, reset));
        }
        let bytes = if let Read::Bytes(bytes) = read { bytes } else { Vec::new() };
        session.ledger.received(side, now, bytes.len());
        self.note(index, Kind::Received, bytes.len(), &side);
        self.see_progress(index);
        self.complete(index, Completion::Received(side, &bytes))?;
        self.wake_far(index, side);
        Ok(())
    }

    /// Did a connection get on while another of its worker was suspended?
    pub(super) fn see_progress(&mut self, index: usize) {
        let session = &self.sessions[index];
        let is_suspended =
            session.connection.as_ref().is_some_and(|connection| connection.phase() == "suspended");
        if !is_suspended && self.workers[session.plan.worker].desk.stacks_in_use() > 0 {
            self.see("went_on_while_another_was_suspended");
        }
    }

    pub(super) fn send_now(&mut self, index: usize, side: Side) -> Verdict {
        let (now, delay) = (self.agenda.now, self.completion_delay(index));
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        let (Some(buffer), Some(link)) = (&mut near.sending, &mut session.links[side as usize])
        else {
            return Ok(());
        };
        let whole = buffer.remaining().len();
        let is_partial = whole > 1 && session.random.percent(self.plan.partial_sends);
        let most = if is_partial { session.random.size(1..=whole - 1) } else { whole };
        let mut bytes = buffer.remaining()[..most].to_vec();
        self.sabotage.damage(side, &mut bytes);
        match link.write(End::Near, now, &bytes) {
            None => {
                near.sending = None;
                session.ledger.send_failed(side);
                session.ledger.broke(side);
                self.note(index, Kind::SendFailed, 0, &side);
                return self.complete(index, Completion::SendFailed(side, ErrorKind::BrokenPipe));
            }
            Some(0) => {
                near.blocked = true;
                self.see("send_waited_for_room");
            }
            Some(taken) => {
                let lost =
                    self.sabotage == Sabotage::LosesBytesToUpstream && side == Side::Upstream;
                let taken = if lost { most } else { taken };
                buffer.advance(taken);
                near.taken = taken;
                if taken < whole {
                    self.see("partial_send");
                }
                self.agenda.after(delay, Happening::Sent(index, side));
                self.follow(index, side);
            }
        }
        Ok(())
    }

    pub(super) fn sent(&mut self, index: usize, side: Side) -> Verdict {
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        let near = &mut session.near[side as usize];
        let Some(buffer) = near.sending.take() else { return Ok(()) };
        let taken = std::mem::take(&mut near.taken);
        session.ledger.sent(side, now, taken, buffer.remaining().len());
        self.note(index, Kind::Sent, taken, &side);
        self.see_progress(index);
        self.complete(index, Completion::Sent(side, buffer))
    }

    pub(super) fn shut_down_now(&mut self, index: usize, side: Side) -> Verdict {
        let now = self.agenda.now;
        let session = &mut self.sessions[index];
        if session.near[side as usize].closing {
            return Ok(());
        }
        if let Some(link) = &mut session.links[side as usize] {
            link.shut_down(End::Near, now);
        }
        self.note(index, Kind::ShutDown, 0, &side);
        self.follow(index, side);
        self.complete(index, Completion::ShutDown(side))
    }

    pub(super) fn connect_answered(&mut self, index: usize) -> Verdict {
        let session = &mut self.sessions[index];
        let (Some(connection), Some(upstream)) = (&session.connection, &session.upstream) else {
            return Ok(());
        };
        let result = match upstream.plan.manner {
            Manner::Refuses => Err(ConnectError::Failed("connection refused".to_owned())),
            Manner::FindsNoRoom => Err(ConnectError::Full("the table is full".to_owned())),
            _ => Ok(()),
        };
        let is_awaited = connection.phase() == "expect_upstream";
        let kind = if result.is_ok() { Kind::Connected } else { Kind::ConnectFailed };
        if result.is_ok() && is_awaited {
            session.ledger.connected();
            let link = Link::new(session.plan.upstream_link, session.random.fork());
            session.links[Side::Upstream as usize] = Some(link);
        } else if !is_awaited {
            self.see("connected_too_late");
        }
        self.note(index, kind, 0, &is_awaited);
        self.complete(index, Completion::Connected(result))?;
        if is_awaited {
            self.wake_far(index, Side::Upstream);
        }
        Ok(())
    }

    pub(super) fn performed(
        &mut self,
        index: usize,
        operation: OperationId,
        answer: Answer,
    ) -> Verdict {
        let session = &mut self.sessions[index];
        let Some(outcome) = session.signer.answer(operation, answer) else { return Ok(()) };
        let Some(connection) = &session.connection else {
            self.see("answered_after_the_end");
            return Ok(());
        };
        let before = connection.phase();
        let must_change_nothing = answer == Answer::Stale || before != "suspended";
        if answer != Answer::Stale {
            session.ledger.performed();
        }
        self.note(index, Kind::Performed, answer as usize, &outcome);
        self.see(match (answer, before) {
            (Answer::Stale, "suspended") => "stale_answer_while_suspended",
            (Answer::Stale, _) => "answered_twice",
            (_, "suspended") => "answered",
            _ => "answered_too_late",
        });
        self.complete(index, Completion::Performed(operation, Box::new(outcome)))?;
        let after = self.sessions[index].connection.as_ref().map(Connection::phase);
        if must_change_nothing && after != Some(before) {
            return Err(format!("an answer too many brought it from {before} to {after:?}"));
        }
        Ok(())
    }
}

fn suspended_for(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Sign => "suspended_to_sign",
        WorkKind::VerifyChain => "suspended_to_verify_chain",
        WorkKind::VerifyPossession => "suspended_to_verify_possession",
        WorkKind::AskStatus => "suspended_to_ask_status",
        WorkKind::Agree => "suspended_to_agree",
    }
}
