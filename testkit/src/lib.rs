//! What drift's demo and tests need around the plugin: the engine, the rules, real containers.

pub mod live;
