//! What tokens do wrong, one after the other, to an engine that is not restarted: who was connected stays, each handshake that
//! fails is counted with its reason, and once the token does right again clients are let in again.

mod beside;
mod crowd;
mod load;
mod one;
mod pins;
mod scene;
mod trouble;
