//! What was declared of a container: by its image, and by whoever deployed it. Read from the files that
//! runtimes keep on the node; no daemon is asked.
//!
//! `spec`, `docker`, `storage`, `libpod` and `containerd` parse what each of them writes, `bolt` reads their
//! databases, `place` tells where to look, `read` does it. Invariants: everything read is bounded; what is
//! absent, damaged or half-written leaves a part unknown, with the reason, and never makes another part
//! wrong; values of environment variables are kept as keyed hashes only.

pub mod containerd;
pub mod docker;
pub mod environment;
pub mod libpod;
pub mod overrides;
pub mod place;
pub mod read;
pub mod reference;
pub mod spec;
pub mod storage;

use crate::container::identity::Identity;
use drift_formats::digest::Digest;
use drift_formats::image_config::ImageConfig;
use drift_formats::ports::{Ports, Protocol};
use environment::Environment;
use reference::Reference;
use std::sync::Arc;

/// What was declared of one container. Each part may be unknown by itself.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// The image.
    pub image: ImageIdentity,
    /// What the image declares.
    pub config: Option<Arc<ImageConfig>>,
    /// Command line that the runtime was told to start.
    pub args: Option<Vec<String>>,
    /// User id that it is started as.
    pub uid: Option<u32>,
    /// Environment that the runtime was told to give it.
    pub environment: Option<Environment>,
    /// Values of `drift.runtime_overrides`.
    pub overrides: Option<Vec<String>>,
    /// Ports of image and deployment; `None` where the image's are not known.
    pub ports: Option<Vec<Ports>>,
    /// Whether the root file system is to be read-only.
    pub read_only_root: Option<bool>,
    /// Who the container is.
    pub identity: Identity,
    /// Why parts are unknown; for people.
    pub missing: Vec<String>,
}

/// Which image a container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageIdentity {
    /// Reference as deployed.
    pub reference: Option<String>,
    /// Digest of the configuration.
    pub id: Option<Digest>,
    /// Digests of the manifest: that of the index first, where the image was pulled by one, then the
    /// platform's.
    pub digests: Vec<Digest>,
}

impl ImageIdentity {
    /// The reference, taken apart.
    pub fn parsed(&self) -> Option<Reference> {
        Reference::parse(self.reference.as_deref()?)
    }

    /// Whether the reference carries a digest; `None` where there is no reference.
    pub(crate) fn is_pinned(&self) -> Option<bool> {
        Some(self.parsed()?.digest.is_some())
    }

    /// The digest that is shown: the one that the reference names, else the first.
    pub fn digest(&self) -> Option<Digest> {
        self.parsed().and_then(|r| r.digest).or_else(|| self.digests.first().copied())
    }
}

impl Declared {
    /// What an image declares, for a container of which nothing else can be known: a replay.
    pub fn of_image(config: &ImageConfig) -> Self {
        Self {
            environment: Some(Environment::new(config.env.iter())),
            ports: Some(image_ports(config)),
            config: Some(Arc::new(config.clone())),
            ..Self::default()
        }
    }

    /// Whether image or deployment declare a port; `None` where that is not known.
    pub fn declares_port(&self, protocol: Protocol, port: u16) -> Option<bool> {
        Some(self.ports.as_ref()?.iter().any(|p| p.contains(protocol, port)))
    }

    /// Whether a container's first process runs what is declared; `None` where that is not known.
    ///
    /// `argv` is what the process has: for a script the kernel puts the interpreter, perhaps one argument,
    /// and the script's path before its arguments (execve(2)).
    pub fn runs_entrypoint(&self, argv: &[&[u8]]) -> Option<bool> {
        if let Some(args) = &self.args {
            return Some(is_command(args, argv));
        }
        // Without the deployment's record another command line may be the deployment's.
        let config = self.config.as_ref()?;
        let args: Vec<String> = config.entrypoint.iter().chain(&config.cmd).cloned().collect();
        (!args.is_empty() && is_command(&args, argv)).then_some(true)
    }
}

fn image_ports(config: &ImageConfig) -> Vec<Ports> {
    config.exposed_ports.iter().filter_map(|p| Ports::parse(p)).collect()
}

/// Most bytes of arguments that an event carries (`MAX_PROC_ARG_ENV` of libs' drivers), what is cut off the
/// end.
const EVENT_ARGS: usize = 4095;

/// Nested interpreters, each with one argument (the kernel allows 4).
const MAX_BEFORE_SCRIPT: usize = 8;

fn is_command(declared: &[String], actual: &[&[u8]]) -> bool {
    let Some((program, rest)) = declared.split_first() else { return false };
    let name = |path: &[u8]| path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
    let same = |(declared, actual): (&String, &&[u8])| declared.as_bytes() == *actual;
    let actual_len: usize = actual.iter().map(|a| a.len() + 1).sum();
    let matches = |at: usize| {
        let Some((first, args)) = actual.get(at..).and_then(<[&[u8]]>::split_first) else { return false };
        let named =
            if at == 0 { *first == program.as_bytes() } else { name(first) == name(program.as_bytes()) };
        let all = args.len() == rest.len() && rest.iter().zip(args).all(same);
        // Cut: all but the last are there.
        let (_, seen) = args.split_last().unwrap_or((&&b""[..], &[]));
        let cut = actual_len >= EVENT_ARGS && args.len() <= rest.len() && rest.iter().zip(seen).all(same);
        named && (all || cut)
    };
    (0..=MAX_BEFORE_SCRIPT).any(matches)
}

#[cfg(test)]
#[path = "declared_tests.rs"]
mod tests;
