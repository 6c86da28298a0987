//! Whose share of a queue each job takes.

use super::packages::PackageNotice;
use super::settings::Setting;
use super::worker::Job;
use super::{declarer, network};
use crate::facts::{FileNotice, LibraryJob, NewImage, VerifyJob};
use drift_core::container::registry::Container;

impl Job for NewImage {
    fn container(&self) -> Option<&str> {
        // Once for each container, at its start.
        None
    }
}

impl Job for VerifyJob {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    fn loss(&self) -> Option<(&Container, &'static str)> {
        Some((&self.container, "programs"))
    }
}

impl Job for LibraryJob {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    fn loss(&self) -> Option<(&Container, &'static str)> {
        Some((&self.container, "libraries"))
    }
}

impl Job for FileNotice {
    fn container(&self) -> Option<&str> {
        Some(match self {
            Self::Path(job) => &job.container.id,
            Self::Unnamed(change) => &change.container.id,
            Self::Secret(tampering) => &tampering.container.id,
        })
    }

    fn loss(&self) -> Option<(&Container, &'static str)> {
        match self {
            // Looked for in the container's layer instead.
            Self::Path(_) | Self::Unnamed(_) => None,
            Self::Secret(tampering) => Some((&tampering.container, "files")),
        }
    }
}

impl Job for PackageNotice {
    fn container(&self) -> Option<&str> {
        Some(match self {
            Self::Started(container, _) => &container.id,
            Self::Touched(touch) => &touch.container.id,
            Self::File(report) => &report.container.id,
        })
    }

    fn loss(&self) -> Option<(&Container, &'static str)> {
        let container = match self {
            Self::Started(container, _) => container,
            Self::Touched(touch) => &touch.container,
            // Reported at once instead.
            Self::File(_) => return None,
        };
        Some((container, "packages"))
    }
}

impl Job for declarer::Notice {
    fn container(&self) -> Option<&str> {
        Some(match self {
            Self::Container(container) => &container.id,
        })
    }
}

impl Job for Setting {
    fn container(&self) -> Option<&str> {
        Some(match self {
            Self::Environment(environment) => &environment.container.id,
            Self::Port(port) => &port.container.id,
        })
    }

    fn loss(&self) -> Option<(&Container, &'static str)> {
        Some(match self {
            Self::Environment(environment) => (&environment.container, "environments"),
            Self::Port(port) => (&port.container, "ports"),
        })
    }
}

impl Job for network::Notice {
    fn container(&self) -> Option<&str> {
        Some(match self {
            Self::Container(container) => &container.id,
            // Of whichever container of the image.
            Self::Peer(image, _) => image,
            Self::Early(early) => &early.container.id,
        })
    }

    fn loss(&self) -> Option<(&Container, &'static str)> {
        match self {
            Self::Container(_) | Self::Peer(..) => None,
            Self::Early(early) => Some((&early.container, "peers")),
        }
    }
}
