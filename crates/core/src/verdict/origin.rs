//! Origins: where a file that runs or changes comes from. The names are a contract with rules.

/// Origin of a file in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// In a layer of the image.
    Image,
    /// Copied up to the writable layer, content as in the image.
    ImageTouched,
    /// The image has the path, with other content.
    ImageModified,
    /// Copied up to the writable layer; content not compared, or not comparable (yet).
    ImageUnverified,
    /// The image does not have the path.
    Added,
    /// In the writable layer by the kernel's word, where there is no image to compare with: added or
    /// modified.
    AddedOrModified,
    /// On a volume.
    Volume,
    /// On a volume made from an image.
    ImageVolume,
    /// On a tmpfs.
    Tmpfs,
    /// An anonymous file in memory (memfd_create(2)).
    Memfd,
    /// On a file system that is mounted nowhere: made with fsmount(2) and never attached, or taken off the
    /// tree.
    Detached,
    /// The container runtime's own: runc's cloned init, the program that `--init` puts first.
    Runtime,
    /// The host's: not in a container.
    Host,
    /// Could not be found out.
    Unknown,
}

impl Origin {
    /// Every origin, for docs and tests.
    pub const ALL: [Self; 14] = [
        Self::Image,
        Self::ImageTouched,
        Self::ImageModified,
        Self::ImageUnverified,
        Self::Added,
        Self::AddedOrModified,
        Self::Volume,
        Self::ImageVolume,
        Self::Tmpfs,
        Self::Memfd,
        Self::Detached,
        Self::Runtime,
        Self::Host,
        Self::Unknown,
    ];

    /// The name that fields give.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::ImageTouched => "image_touched",
            Self::ImageModified => "image_modified",
            Self::ImageUnverified => "image_unverified",
            Self::Added => "added",
            Self::AddedOrModified => "added_or_modified",
            Self::Volume => "volume",
            Self::ImageVolume => "image_volume",
            Self::Tmpfs => "tmpfs",
            Self::Memfd => "memfd",
            Self::Detached => "detached",
            Self::Runtime => "runtime",
            Self::Host => "host",
            Self::Unknown => "unknown",
        }
    }

    /// What the origin means, for the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Image => "In a layer of the image, or where there are no layers to see, content as in the image.",
            Self::ImageTouched => {
                "Copied to the writable layer (by chmod, chown, touch, or rewritten), content as in the image."
            }
            Self::ImageModified => "The image has this path, with other content.",
            Self::ImageUnverified => {
                "The image has this path; the file is in the writable layer and its content is not compared, or \
                 cannot be."
            }
            Self::Added => "The image has no file at this path.",
            Self::AddedOrModified => {
                "In the writable layer, as the kernel says; there is no image to compare with (`drift.manifest_state` is \
                 `kernel_flags`), so that it is either of `added` and `image_modified`."
            }
            Self::Volume => "On a volume: the image says nothing of its content.",
            Self::ImageVolume => "On a volume made from an image.",
            Self::Tmpfs => "On a tmpfs.",
            Self::Memfd => "In memory only (memfd_create(2)).",
            Self::Detached => {
                "On a file system that is mounted nowhere: made with fsmount(2) and never attached, or unmounted while in \
                 use. As hard to find as a memfd."
            }
            Self::Runtime => "The container runtime's own: its process on its way into the container, such as runc's init, and the program that `--init` puts first.",
            Self::Host => "The process is the host's, in no container.",
            Self::Unknown => "Could not be found out. Never a silent `image`.",
        }
    }

    /// Whether the image did not ship it. The one place that decides so, for events, for scans and for the
    /// command.
    pub const fn is_drift(self) -> bool {
        match self {
            Self::ImageModified
            | Self::Added
            | Self::AddedOrModified
            | Self::Volume
            | Self::Tmpfs
            | Self::Memfd
            | Self::Detached => true,
            Self::Image
            | Self::ImageTouched
            | Self::ImageUnverified
            | Self::ImageVolume
            | Self::Runtime
            | Self::Host
            | Self::Unknown => false,
        }
    }

    /// Whether it could not be told, or not yet, if the image shipped it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::ImageUnverified)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
