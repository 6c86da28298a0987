//! What a command line does: which argument is a script, and what a package manager is asked for.

mod grammar;
pub mod interpreter;
pub mod languages;
pub mod manager;
pub mod pipeline;
