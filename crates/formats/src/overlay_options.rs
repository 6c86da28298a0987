//! The layers of an overlay mount, read from the options that the kernel prints for it.
//!
//! Three encodings lie over each other and are undone in this order: options are separated by commas, and a
//! comma inside a value is printed as `\054` (`seq_show_option` in the kernel); then octal escapes are
//! decoded; then a path that the kernel was given with backslashes before `:`, `,` or `\` loses them. The
//! last step applies to `lowerdir=`, `upperdir=` and `workdir=`, and not to `lowerdir+=` and `datadir+=`,
//! which the kernel takes literally (Documentation/filesystems/overlayfs.rst; each case seen on Linux 6.18,
//! see the tests).

use crate::mountinfo::unescape_octal;

/// The most layers accepted of one mount: the kernel's `OVL_MAX_STACK`.
pub const MAX_LAYERS: usize = 500;

/// A directory as it was named to the kernel.
///
/// Relative when whoever mounted it was in another directory then (Docker: `l/ABC`, containerd: `<id>/fs`);
/// the mount does not record which directory that was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Takes a path as it is.
    pub fn new(path: Vec<u8>) -> Self {
        Self(path)
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path does not say from which directory it starts.
    pub fn is_relative(&self) -> bool {
        self.0.first() != Some(&b'/')
    }

    /// The path below `base`, or the path itself when it is absolute. No `..` or `//` is taken away.
    pub fn joined_to(&self, base: &[u8]) -> Self {
        if !self.is_relative() {
            return self.clone();
        }
        let mut joined = base.to_vec();
        if joined.last() != Some(&b'/') {
            joined.push(b'/');
        }
        joined.extend_from_slice(&self.0);
        Self(joined)
    }
}

/// A switch that may not be printed: the kernel prints an option only where it differs from the module's
/// default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting {
    /// Not printed: the default of the `overlay` module on that machine holds.
    #[default]
    Default,
    /// `on`.
    On,
    /// `off`.
    Off,
    /// `auto` (xino).
    Auto,
    /// `follow` (redirect_dir): redirects are followed but not made.
    Follow,
    /// `nofollow` (redirect_dir): redirects are neither made nor followed.
    NoFollow,
    /// Something this version does not know.
    Other,
}

impl Setting {
    fn parse(value: &[u8]) -> Self {
        match value {
            b"on" => Self::On,
            b"off" => Self::Off,
            b"auto" => Self::Auto,
            b"follow" => Self::Follow,
            b"nofollow" => Self::NoFollow,
            _ => Self::Other,
        }
    }
}

/// The layers and switches of one overlay mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverlayLayers {
    /// Lower layers, the topmost first.
    pub lower: Vec<LayerPath>,
    /// Data-only lower layers: they hold contents that a `metacopy` file above refers to, and no names of
    /// their own.
    pub data_only: Vec<LayerPath>,
    /// The writable layer. Absent on a read-only overlay.
    pub upper: Option<LayerPath>,
    /// The kernel's work directory. Absent on a read-only overlay.
    pub work: Option<LayerPath>,
    /// Inode numbers made unique across layers.
    pub xino: Setting,
    /// Copies up only metadata until the content is written. [`OverlayLayers::may_metacopy`] reads it safely.
    pub metacopy: Setting,
    /// Renamed directories are recorded with a redirect instead of being copied.
    pub redirect_dir: Setting,
    /// Marks are in `user.overlay.*` attributes instead of `trusted.overlay.*`.
    pub userxattr: bool,
}

/// Why options do not describe the layers of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// No `lowerdir=` and no `lowerdir+=`. Every overlay has one: these are another file system's options, or
    /// cut.
    #[error("overlay options name no lowerdir")]
    NoLower,
    /// An empty layer name, or one with a NUL byte.
    #[error("overlay options name a layer that is empty or has a NUL byte")]
    BadLayer,
    /// A single `:` after `::`. The kernel refuses it: ordinary layers cannot lie under data-only ones.
    #[error("overlay lowerdir has an ordinary layer after a data-only one")]
    LayerAfterData,
    /// More than [`MAX_LAYERS`].
    #[error("overlay has more than 500 layers")]
    TooMany,
}

impl OverlayLayers {
    /// Reads the file system options of an overlay mount, as
    /// [`Mount::super_options`](crate::mountinfo::Mount) has them.
    ///
    /// # Errors
    /// Options that no overlay mount can have: [`OverlayError`].
    pub fn parse(super_options: &[u8]) -> Result<Self, OverlayError> {
        let mut layers = Self::default();
        for option in super_options.split(|b| *b == b',') {
            let (name, value) = match option.iter().position(|b| *b == b'=') {
                Some(at) => (option.get(..at).unwrap_or_default(), option.get(at + 1..).unwrap_or_default()),
                None => (option, &[][..]),
            };
            layers.take(name, value)?;
        }
        if layers.lower.is_empty() {
            return Err(OverlayError::NoLower);
        }
        if layers.lower.len() + layers.data_only.len() > MAX_LAYERS {
            return Err(OverlayError::TooMany);
        }
        Ok(layers)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), OverlayError> {
        match name {
            b"lowerdir" => {
                (self.lower, self.data_only) = split_lower(&unescape_octal(value))?;
            }
            b"lowerdir+" => self.lower.push(checked(unescape_octal(value))?),
            b"datadir+" => self.data_only.push(checked(unescape_octal(value))?),
            b"upperdir" => self.upper = Some(checked(unescape_backslash(&unescape_octal(value)))?),
            b"workdir" => self.work = Some(checked(unescape_backslash(&unescape_octal(value)))?),
            b"xino" => self.xino = Setting::parse(value),
            b"metacopy" => self.metacopy = Setting::parse(value),
            b"redirect_dir" => self.redirect_dir = Setting::parse(value),
            b"userxattr" => self.userxattr = true,
            _ => {}
        }
        Ok(())
    }

    /// A file in the upper layer may be a copy of metadata only, its content still in a lower layer.
    ///
    /// True unless the mount says `metacopy=off` or has `userxattr` (the kernel does not combine the two):
    /// where nothing is printed the module's default holds, which may be `on`.
    pub fn may_metacopy(&self) -> bool {
        self.metacopy != Setting::Off && !(self.userxattr && self.metacopy != Setting::On)
    }

    /// All layers with the relative ones below `base`.
    pub fn joined_to(&self, base: &[u8]) -> Self {
        let all = |paths: &[LayerPath]| paths.iter().map(|p| p.joined_to(base)).collect();
        Self {
            lower: all(&self.lower),
            data_only: all(&self.data_only),
            upper: self.upper.as_ref().map(|p| p.joined_to(base)),
            work: self.work.as_ref().map(|p| p.joined_to(base)),
            ..self.clone()
        }
    }

    /// Some lower layer is named by a relative path.
    pub fn has_relative_layer(&self) -> bool {
        self.lower.iter().chain(&self.data_only).any(LayerPath::is_relative)
    }

    /// The directories that relative layers may start from, best first; the caller looks which of them holds
    /// the layers.
    ///
    /// Docker and containerd change into the directory that all layers lie below and shorten every name by
    /// it, so the parents of an absolute upper directory come first (podman and containerd 1.x:
    /// `<base>/<id>/diff`, `<base>/<id>/fs`), then the storage roots given.
    pub fn resolve_base(&self, storage_roots: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut bases: Vec<Vec<u8>> = Vec::new();
        let mut add = |base: &[u8]| {
            if base.len() > 1 && base.first() == Some(&b'/') && !bases.iter().any(|b| b == base) {
                bases.push(base.to_vec());
            }
        };
        let upper = self.upper.as_ref().filter(|p| !p.is_relative());
        let mut parent = upper.map_or(&[][..], LayerPath::as_bytes);
        // `diff` or `fs`, the layer's id, the driver's directory: no runtime nests deeper.
        for step in 0..3 {
            parent =
                parent.iter().rposition(|b| *b == b'/').and_then(|at| parent.get(..at)).unwrap_or_default();
            // The first parent is the container's own layer, which holds no other layer.
            if step > 0 {
                add(parent);
            }
        }
        for root in storage_roots {
            add(root.strip_suffix(b"/").unwrap_or(root));
        }
        bases
    }
}

/// Splits `top:middle:bottom::data1::data2`.
fn split_lower(value: &[u8]) -> Result<(Vec<LayerPath>, Vec<LayerPath>), OverlayError> {
    let (mut lower, mut data) = (Vec::new(), Vec::new());
    let mut in_data = false;
    let mut name = Vec::new();
    let mut bytes = value.iter().copied().peekable();
    loop {
        match bytes.next() {
            // A backslash at the very end stands for nothing, as in the kernel.
            Some(b'\\') => name.extend(bytes.next()),
            Some(byte) if byte != b':' => name.push(byte),
            end => {
                let list = if in_data { &mut data } else { &mut lower };
                if list.len() > MAX_LAYERS {
                    return Err(OverlayError::TooMany);
                }
                list.push(checked(std::mem::take(&mut name))?);
                if end.is_none() {
                    return Ok((lower, data));
                }
                let double = bytes.next_if_eq(&b':').is_some();
                if in_data && !double {
                    return Err(OverlayError::LayerAfterData);
                }
                in_data |= double;
            }
        }
    }
}

fn checked(name: Vec<u8>) -> Result<LayerPath, OverlayError> {
    if name.is_empty() || name.contains(&0) {
        return Err(OverlayError::BadLayer);
    }
    Ok(LayerPath(name))
}

/// A backslash stands for the byte that follows it.
fn unescape_backslash(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            out.extend(bytes.next());
        } else {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
#[path = "overlay_options_tests.rs"]
mod tests;
