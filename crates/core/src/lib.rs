//! Containers, the images they were made from, and what differs: everything that needs no Falco.
//!
//! From the bottom up: [`host`] reads the system, [`image`] knows what an image holds, [`packages`] which
//! package owns what, [`command`] what a command line does, [`container`] what runs and what was declared of
//! it, [`policy`] what users allow, [`network`] whom it talks to, [`verdict`] judges one thing, [`scan`] a
//! whole container, [`content`] finds the image's content at other paths.

#![deny(unsafe_code)]

pub mod command;
pub mod container;
pub mod content;
pub mod host;
pub mod image;
pub mod network;
pub mod packages;
pub mod policy;
pub mod scan;
pub mod verdict;
