//! What `make build` and `make dist` built, in real engines (sysdig, which is unpacked where there is none;
//! Falco where there is one) and beside the programs that surround them. Replays of captures, no container of
//! a test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod http;
mod recorded;
mod tools;

mod artifact;
mod corpus;
mod docs_commands;
mod falco;
mod falcoctl;
mod replay;
mod replay_config;
mod replay_packages;
mod rival;
mod rules;
mod sidekick;
mod tuning;
