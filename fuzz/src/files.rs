//! Files and images: executables, listings, archives.

use drift_core::image::index::IndexBuilder;
use drift_core::image::oci;
use drift_formats::elf as traits;
use drift_formats::image_config::ImageConfig;
use drift_formats::limits::Limits;
use drift_formats::mtree;
use drift_formats::tar_layer::read_tar;
use std::io::Write;
use std::path::PathBuf;

/// Most paths of one input.
const MAX_FILES: u64 = 10_000;

/// Traits of an executable; the first 8 bytes are the size that its file is said to have.
pub fn elf(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first_chunk::<8>() else { return };
    let size = u64::from_le_bytes(*size);
    let _ = traits::traits(bytes, size).names().count();
    if let Some(range) = traits::section_table(bytes, size) {
        assert!(range.end <= size, "{range:?} of {size}");
        let _ = traits::stripped(bytes, size, bytes);
    }
}

/// mtree manifests, plain and gzip.
pub fn mtree(bytes: &[u8]) {
    let mut builder = IndexBuilder::new(MAX_FILES);
    if mtree::read(bytes, &limits(), &mut builder).is_ok() {
        let _ = builder.build();
    }
}

/// A layer as a tar archive.
pub fn tar(bytes: &[u8]) {
    let mut builder = IndexBuilder::new(MAX_FILES);
    let _ = read_tar(bytes, &limits(), &mut builder);
}

/// An image in one file (OCI layout or docker-archive), or an image configuration.
pub fn image(bytes: &[u8]) {
    let _ = ImageConfig::parse(bytes);
    let mut file = tempfile::NamedTempFile::new_in(memory()).unwrap();
    file.write_all(bytes).unwrap();
    let Ok(image) = oci::open(file.path(), &limits()) else { return };
    for layer in 0..image.layers.len().min(4) {
        let _ = image.read_layer(layer, &limits(), &mut IndexBuilder::new(MAX_FILES));
    }
}

/// Memory where there is some: a file is written for each input.
pub(super) fn memory() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() {
        shm
    } else {
        std::env::temp_dir()
    }
}

/// Small, so that an input which unpacks to a lot is done soon.
fn limits() -> Limits {
    Limits { max_unpacked: 4 << 20, ..Limits::default() }
}
