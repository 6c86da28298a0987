//! Judging files: where each comes from, whether its content is the image's, what a script or binary it is.

pub mod accounts;
pub mod binary;
pub mod change;
pub mod compare;
pub mod environment;
pub mod judge;
pub mod origin;
pub mod packaged;
pub mod port;
pub mod runtime;
pub mod script;
pub mod traits;
pub mod work;
