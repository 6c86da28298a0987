//! Whose share of a queue each job takes.

use super::settings::Setting;
use super::worker::Job;
use super::{declarer, network};
use crate::facts::{FileNotice, LibraryJob, NewImage, PackageNotice, VerifyJob};

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
}

impl Job for LibraryJob {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
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
}

impl Job for PackageNotice {
    fn container(&self) -> Option<&str> {
        Some(match self {
            Self::Started(container, _) => &container.id,
            Self::Touched(touch) => &touch.container.id,
            Self::File(report) => &report.container.id,
        })
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
}
