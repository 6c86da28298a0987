//! What an event says: decoding of the kernel's events and of the engine's table of threads. No I/O.

pub mod exec;
pub mod file;
pub mod injection;
pub mod library;
pub mod open;
pub mod raw;
pub mod reading;
pub mod socket;
// The SDK's derive makes public items without docs.
#[allow(missing_docs)]
pub mod threads;
