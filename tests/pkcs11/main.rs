//! The PKCS#11 test module (`tests/token`) as others see it: what it signs holds, and it misbehaves as it is told and
//! not otherwise. What the engine makes of that is tested in `tests/wire`.

mod caller;
mod faults;
mod losses;
mod pins;
mod programs;
mod signatures;
mod throughput;
