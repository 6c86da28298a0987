//! The container runtimes that a test can be run with.

use anyhow::Result;

use super::{missing, Container, Image, CONTAINERD_TOOLS, DOCKER_TOOLS, PODMAN_TOOLS};
use crate::skip::skip;

/// A container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// podman, by its command.
    Podman,
    /// containerd, by `ctr`.
    Containerd,
    /// Docker, with a daemon of its own.
    Docker,
}

impl Runtime {
    /// The programs that it needs, those of [`Image::debian`] included.
    #[must_use]
    pub fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Podman => PODMAN_TOOLS,
            Self::Containerd => CONTAINERD_TOOLS,
            Self::Docker => DOCKER_TOOLS,
        }
    }

    /// Whether a test can run here that needs `more` programs beside the runtime's; says and counts why not.
    #[must_use]
    pub fn usable(self, test: &str, more: &[&str]) -> bool {
        let missing = missing(&[self.tools(), more].concat());
        if let Some(why) = &missing {
            skip(test, why);
        }
        missing.is_none()
    }

    /// Runs the image in a container that waits for commands.
    ///
    /// # Errors
    /// As [`Container::podman`], [`Container::containerd`] and [`Container::docker`].
    pub fn start(self, image: &Image) -> Result<Container> {
        match self {
            Self::Podman => Container::podman(image),
            Self::Containerd => Container::containerd(image),
            Self::Docker => Container::docker(image),
        }
    }

    /// As [`Runtime::start`], with more of the runtime's options, and another command: none for the image's
    /// own.
    ///
    /// # Errors
    /// As [`Container::podman_with`], [`Container::containerd_with`] and [`Container::docker_with`].
    pub fn start_with(self, image: &Image, options: &[&str], command: &[&str]) -> Result<Container> {
        match self {
            Self::Podman => Container::podman_with(image, options, command),
            Self::Containerd => Container::containerd_with(image, options, command),
            Self::Docker => Container::docker_with(image, options, command),
        }
    }
}
