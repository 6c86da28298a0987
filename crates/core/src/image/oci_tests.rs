use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use flate2::{write::GzEncoder, Compression};
use proptest::prelude::*;
use serde_json::{json, Value};
use tempfile::TempDir;

use super::*;
use drift_formats::entry::{Entry, ImagePath, LimitExceeded};

#[derive(Default)]
struct Told(BTreeMap<String, Entry>, Vec<String>);

impl LayerSink for Told {
    fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded> {
        self.0.insert(String::from_utf8_lossy(path.as_bytes()).into_owned(), entry);
        Ok(())
    }
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LimitExceeded> {
        self.1.push(String::from_utf8_lossy(path.as_bytes()).into_owned());
        Ok(())
    }
    fn opaque(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
        Ok(())
    }
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An OCI layout in the making.
struct Layout(TempDir);

impl Layout {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self(dir)
    }

    fn blob(&self, media_type: &str, data: &[u8]) -> Value {
        let digest = Digest::of(data);
        fs::write(self.0.path().join(blob_name(digest)), data).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": data.len()})
    }

    fn json(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// An image of these layers (media type, uncompressed tar, blob); its manifest's descriptor.
    fn image(&self, layers: &[(&str, &[u8], &[u8])]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(_, tar, _)| Digest::of(tar).to_string()).collect();
        let config = json!({
            "architecture": host_architecture(), "os": "linux",
            "config": {"Cmd": ["/app"], "Env": ["TOKEN=secret"], "ExposedPorts": {"8080/tcp": {}}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.json("application/vnd.oci.image.config.v1+json", &config);
        let layers: Vec<_> = layers.iter().map(|(kind, _, blob)| self.blob(kind, blob)).collect();
        self.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(self.0.path().join("index.json"), index.to_string()).unwrap();
    }

    fn open(&self) -> Result<OciImage, ImageError> {
        open(self.0.path(), &Limits::default())
    }
}

fn with(mut descriptor: Value, key: &str, value: Value) -> Value {
    descriptor[key] = value;
    descriptor
}

fn platform(architecture: &str) -> Value {
    json!({"architecture": architecture, "os": "linux"})
}

#[test]
fn layout_with_gzip_and_plain_layers() {
    let layout = Layout::new();
    let (low, high) = (tar_of(&[("bin/a", b"one")]), tar_of(&[("bin/.wh.a", b""), ("bin/b", b"two")]));
    let manifest = layout.image(&[(TAR_GZIP, &low, &gzip(&low)), (TAR, &high, &high)]);
    layout.index(std::slice::from_ref(&manifest));
    let image = layout.open().unwrap();
    assert_eq!(image.manifest_digest.unwrap().to_string(), manifest["digest"].as_str().unwrap());
    assert_eq!(image.config.cmd, ["/app"]);
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.layers[0].digest, Some(Digest::of(&gzip(&low))));
    assert_eq!(image.layers[0].diff_id, Digest::of(&low));
    assert_eq!(image.layers[1].digest, Some(image.layers[1].diff_id));
    assert!(!format!("{image:?}").contains("secret"));

    let mut told = Told::default();
    image.read_layer(0, &Limits::default(), &mut told).unwrap();
    assert_eq!(told.0["/bin/a"].sha256, Some(*Digest::of(b"one").as_bytes()));
    let mut told = Told::default();
    image.read_layer(1, &Limits::default(), &mut told).unwrap();
    assert_eq!(
        (told.0.keys().map(String::as_str).collect::<Vec<_>>(), told.1),
        (vec!["/bin/b"], vec!["/bin/a".into()])
    );
    assert!(matches!(
        image.read_layer(2, &Limits::default(), &mut Told::default()),
        Err(ImageError::NoLayer(2))
    ));
}

#[test]
fn platforms_are_chosen_through_nested_indexes() {
    let layout = Layout::new();
    let (ours, other) = (tar_of(&[("ours", b"1")]), tar_of(&[("other", b"2")]));
    let ours = layout.image(&[(TAR, &ours, &ours)]);
    let other = layout.image(&[(TAR, &other, &other)]);
    let nested = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        with(other.clone(), "platform", json!({"architecture": "unknown", "os": "unknown"})),
        with(other.clone(), "platform", platform("mips64")),
        with(ours.clone(), "platform", platform(host_architecture())),
        with(other.clone(), "platform", platform(host_architecture())),
    ]});
    layout.index(&[layout.json(INDEX, &nested)]);
    assert_eq!(layout.open().unwrap().manifest_digest.unwrap().to_string(), ours["digest"].as_str().unwrap());

    layout.index(&[with(other.clone(), "platform", platform("mips64"))]);
    let err = layout.open().unwrap_err().to_string();
    assert!(err.contains(host_architecture()) && err.contains("linux/mips64"), "{err}");

    let tag =
        |d: &Value, t: &str| with(d.clone(), "annotations", json!({"org.opencontainers.image.ref.name": t}));
    layout.index(&[tag(&ours, "v1"), tag(&other, "v2")]);
    let err = layout.open().unwrap_err().to_string();
    assert!(err.contains("v1") && err.contains("v2"), "{err}");
    // The same image under two tags is one image.
    layout.index(&[tag(&ours, "v1"), tag(&ours, "latest")]);
    assert!(layout.open().is_ok());

    let mut deep = layout.json(INDEX, &nested);
    for _ in 0..6 {
        deep = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [deep]}));
    }
    layout.index(&[deep]);
    assert!(matches!(layout.open(), Err(ImageError::Nesting)));
}

#[test]
fn what_cannot_be_read_is_refused_on_opening() {
    let layout = Layout::new();
    assert!(matches!(layout.open(), Err(ImageError::NotAnImage)));
    let tar = tar_of(&[("a", b"1")]);
    for kind in [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "x/y",
        "",
    ] {
        layout.index(&[layout.image(&[(TAR, &tar, &tar), (kind, &tar, b"x")])]);
        let err = layout.open().unwrap_err().to_string();
        assert!(err.contains("layer 1 is ") && err.contains(kind), "{err}");
    }
    for kind in [
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ] {
        layout.index(&[layout.image(&[(kind, &tar, &tar)])]);
        assert!(layout.open().is_ok(), "{kind}");
    }
    for (index, want) in [
        ("", "index.json: "),
        ("[]", "index.json: "),
        (r#"{"schemaVersion":2,"manifests":[]}"#, "no image for linux/"),
        (r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../../../etc/passwd"}]}"#, "is not sha256:"),
        (r#"{"schemaVersion":2,"manifests":[{"digest":"md5:00"}]}"#, "is not sha256:"),
    ] {
        fs::write(layout.0.path().join("index.json"), index).unwrap();
        let err = layout.open().unwrap_err().to_string();
        assert!(err.contains(want), "{index}: {err}");
    }
    layout.index(&[json!({"digest": Digest::of(b"nowhere").to_string()})]);
    let err = layout.open().unwrap_err().to_string();
    assert!(err.contains("blobs/sha256/") && err.contains("missing"), "{err}");
    layout.index(&[layout.json(MANIFEST, &json!({"schemaVersion": 1, "fsLayers": []}))]);
    assert!(matches!(layout.open(), Err(ImageError::NoManifest(_))));
    fs::write(layout.0.path().join("index.json"), vec![b' '; (4 << 20) + 1]).unwrap();
    assert!(layout.open().unwrap_err().to_string().contains("index.json is larger than 4194304 bytes"));
}

#[test]
fn content_has_to_match_its_digests() {
    let layout = Layout::new();
    let tar = tar_of(&[("a", b"1")]);
    let packed = gzip(&tar);
    let manifest = layout.image(&[(TAR_GZIP, &tar, &packed)]);
    layout.index(std::slice::from_ref(&manifest));
    let image = layout.open().unwrap();
    let blob = layout.0.path().join(&image.layers[0].name);
    let read = |image: &OciImage| image.read_layer(0, &Limits::default(), &mut Told::default());
    assert!(read(&image).is_ok());

    // Another, well-formed layer under the same name.
    fs::write(&blob, gzip(&tar_of(&[("a", b"2")]))).unwrap();
    assert!(matches!(read(&image), Err(ImageError::Mismatch { .. })));
    // The same content, packed otherwise: the blob's own digest differs.
    fs::write(&blob, &tar).unwrap();
    assert!(matches!(read(&image), Err(ImageError::Mismatch { .. })));
    fs::write(&blob, [&packed[..], b"\x1f\x8bgarbage"].concat()).unwrap();
    assert!(read(&image).is_err());
    fs::write(&blob, &packed[..packed.len() - 5]).unwrap();
    assert!(read(&image).is_err());
    fs::write(&blob, [0x28, 0xb5, 0x2f, 0xfd, 0, 0]).unwrap();
    assert!(read(&image).unwrap_err().to_string().contains("zstd"));
    fs::remove_file(&blob).unwrap();
    assert!(matches!(read(&image), Err(ImageError::Missing(_))));

    // A manifest that is not what the index says.
    let digest = Digest::parse(manifest["digest"].as_str().unwrap()).unwrap();
    fs::write(layout.0.path().join(blob_name(digest)), "{}").unwrap();
    assert!(matches!(layout.open(), Err(ImageError::Mismatch { .. })));
}

#[test]
fn layers_and_diff_ids_have_to_pair_up() {
    let layout = Layout::new();
    let config = layout.json("c", &json!({"rootfs": {"diff_ids": []}}));
    let layer = layout.blob(TAR, b"");
    layout.index(&[layout.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}))]);
    assert!(layout.open().unwrap_err().to_string().contains("1 layers but 0 diff_ids"));
}

#[test]
fn layers_unpack_to_a_limit() {
    let layout = Layout::new();
    let tar = tar_of(&[("zeros", &[0; 1 << 20])]);
    layout.index(&[layout.image(&[(TAR_GZIP, &tar, &gzip(&tar))])]);
    let limits = Limits { max_unpacked: 1 << 20, ..Limits::default() };
    let err = layout.open().unwrap().read_layer(0, &limits, &mut Told::default()).unwrap_err().to_string();
    assert!(err.contains("more than 1048576 bytes"), "{err}");
}

/// A docker-archive: config, layers (as written), and further members.
fn docker_archive(
    config_name: &str,
    config: &str,
    layers: &[&str],
    members: &[(&str, &[u8])],
) -> tempfile::NamedTempFile {
    let manifest = json!([{"Config": config_name, "RepoTags": ["app:1"], "Layers": layers}]).to_string();
    let mut all: Vec<(&str, &[u8])> =
        vec![("manifest.json", manifest.as_bytes()), (config_name, config.as_bytes())];
    all.extend_from_slice(members);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&tar_of(&all)).unwrap();
    file
}

fn docker_config(layers: &[&[u8]]) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|tar| Digest::of(tar).to_string()).collect();
    json!({"architecture": "amd64", "config": {"User": "nobody"}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
}

#[test]
fn docker_archives_old_and_new() {
    let tar = tar_of(&[("bin/a", b"one")]);
    let config = docker_config(&[&tar]);
    let hex = Digest::of(config.as_bytes()).hex();
    let blob = blob_name(Digest::of(&tar));
    for (config_name, layer, digest) in [
        (format!("{hex}.json"), "abc/layer.tar", None),
        (format!("blobs/sha256/{hex}"), blob.as_str(), Some(Digest::of(&tar))),
    ] {
        let file = docker_archive(&config_name, &config, &[layer], &[(layer, &tar)]);
        let image = open(file.path(), &Limits::default()).unwrap();
        assert_eq!((image.manifest_digest, image.config_digest.hex()), (None, hex.clone()));
        assert_eq!(image.config.user, "nobody");
        assert_eq!((image.layers[0].digest, image.layers[0].diff_id), (digest, Digest::of(&tar)));
        let mut told = Told::default();
        image.read_layer(0, &Limits::default(), &mut told).unwrap();
        assert_eq!(told.0["/bin/a"].size, 3);
    }
}

#[test]
fn docker_archives_that_are_wrong() {
    let tar = tar_of(&[("bin/a", b"one")]);
    let config = docker_config(&[&tar]);
    let open = |file: &tempfile::NamedTempFile| open(file.path(), &Limits::default());
    // A config under another config's digest.
    let name = format!("{}.json", Digest::of(b"else").hex());
    assert!(matches!(
        open(&docker_archive(&name, &config, &["l"], &[("l", &tar)])),
        Err(ImageError::Mismatch { .. })
    ));
    // A layer that is not what the config says.
    let file = docker_archive("c.json", &config, &["l"], &[("l", &tar_of(&[("bin/a", b"two")]))]);
    let read = open(&file).unwrap().read_layer(0, &Limits::default(), &mut Told::default());
    assert!(matches!(read, Err(ImageError::Mismatch { .. })));
    // A layer that is missing, or named out of the archive.
    for layer in ["gone/layer.tar", "../../../etc/passwd", "/etc/passwd"] {
        let file = docker_archive("c.json", &config, &[layer], &[]);
        assert!(
            open(&file).unwrap().read_layer(0, &Limits::default(), &mut Told::default()).is_err(),
            "{layer}"
        );
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&gzip(b"x")).unwrap();
    assert!(open(&file).unwrap_err().to_string().contains("gunzip"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&tar_of(&[("a", b"")])).unwrap();
    assert!(matches!(open(&file), Err(ImageError::NotAnImage)));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&tar_of(&[("manifest.json", br#"[{"Config":"a"},{"Config":"b"}]"#)])).unwrap();
    assert!(open(&file).unwrap_err().to_string().contains(r#"["a", "b"]"#));
}

#[test]
fn docker_archives_link_equal_layers() {
    let tar = tar_of(&[("bin/a", b"one")]);
    let config = docker_config(&[&tar, &tar]);
    let manifest = json!([{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]).to_string();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in
        [("manifest.json", manifest.as_bytes()), ("c.json", config.as_bytes()), ("1/layer.tar", &tar)]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, data).unwrap();
    }
    for (name, target) in [("2/layer.tar", "../1/layer.tar"), ("loop", "loop")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&builder.into_inner().unwrap()).unwrap();
    let image = open(file.path(), &Limits::default()).unwrap();
    image.read_layer(1, &Limits::default(), &mut Told::default()).unwrap();
    let archive = Archive::index(file.path(), &Limits::default()).unwrap();
    assert!(matches!(archive.open("loop"), Err(ImageError::Missing(_))));
}

/// `podman save --format oci-archive` writes a layout as one tar file.
#[test]
fn oci_layout_in_a_tar_file() {
    let layout = Layout::new();
    let tar = tar_of(&[("bin/a", b"one")]);
    layout.index(&[layout.image(&[(TAR_GZIP, &tar, &gzip(&tar))])]);
    let mut builder = tar::Builder::new(tempfile::NamedTempFile::new().unwrap());
    builder.append_dir_all(".", layout.0.path()).unwrap();
    let file = builder.into_inner().unwrap();
    let image = open(file.path(), &Limits::default()).unwrap();
    assert!(image.manifest_digest.is_some());
    image.read_layer(0, &Limits::default(), &mut Told::default()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn never_panics_on_any_index(json in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"manifests\"", "\"schemaVersion\"", "2", "null", "\"digest\"", "\"platform\"",
            "\"sha256:\"", "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"\"}]}",
        ]), 0..20).prop_map(|parts| parts.concat().into_bytes()),
    ]) {
        let layout = Layout::new();
        fs::write(layout.0.path().join("index.json"), &json).unwrap();
        prop_assert!(layout.open().is_err());
    }

    #[test]
    fn never_panics_on_any_archive(raw in prop::collection::vec(any::<u8>(), 0..1500)) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&raw).unwrap();
        prop_assert!(open(file.path(), &Limits::default()).is_err());
    }
}
