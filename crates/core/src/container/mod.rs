//! Which container a thread belongs to, and what is mounted in it.
//!
//! `id`, `mountinfo`, `overlay` and `volume` are pure parsers: bytes in, values out. `live` looks at a
//! container on this host, `registry` remembers them all.

pub mod declared;
pub mod directories;
pub mod id;
pub mod identity;
mod image_volume;
pub mod init_layer;
mod layers;
pub mod live;
pub mod main_program;
pub mod mounts;
pub mod namespaces;
pub mod records;
pub mod registry;
pub mod running;
pub mod users;
pub mod volume;
