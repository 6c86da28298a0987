use super::*;
use proptest::prelude::*;
use std::io::Read;

const ID: &str = "sha256:5cee8aabe7e0f989bbbd07828c4e5fd92b982d77d9ca1f7146c38f434b67b77a";
const MANIFEST: &str = "sha256:823e456f820ae5f763ecac2f091b13121c0e29d3d74e434eea6db197f57de5f7";
const LAYER: &str = "sha256:17ed5c281cac4091a93e6db1487c2445631833ce817f1c396dda25837c370685";

fn database() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/declared/containerd-meta.db.gz");
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn what_containerd_wrote_is_read() {
    let db = database();
    let found = record(&&db[..], "probe", "c1").unwrap().unwrap();
    assert_eq!(found.image_name, "localhost/probe:1");
    assert_eq!(found.target, Digest::parse(MANIFEST).ok());
    assert_eq!(found.parent, Digest::parse(LAYER).ok(), "the chain of one layer is the layer");
    assert_eq!(found.cri, None);
    assert_eq!(record(&&db[..], "probe", "c2").unwrap(), None);
    assert_eq!(record(&&db[..], "k8s.io", "c1").unwrap(), None);
}

#[test]
fn the_cri_plugins_record_is_read() {
    // The type of the message and the message, as containerd's typeurl writes them.
    let json = format!(
        r#"{{"Version":"v1","Metadata":{{"ID":"c1","Config":{{"metadata":{{"name":"web"}},"image":{{"image":"{ID}","user_specified_image":"app:1"}},
        "envs":[{{"key":"TOKEN","value":"planted"}}],"annotations":{{"io.kubernetes.container.ports":"[{{\"containerPort\":80}}]"}}}},
        "ImageRef":"{ID}"}}}}"#
    );
    let kind = b"github.com/containerd/cri/pkg/store/container/Metadata";
    let mut any = vec![0x0a, kind.len() as u8];
    any.extend(kind);
    any.extend([0x12, (json.len() & 0x7f) as u8 | 0x80, (json.len() >> 7) as u8]);
    any.extend(json.as_bytes());
    let found = cri_record(any_value(&any).unwrap()).unwrap();
    assert_eq!(found.reference, "app:1");
    assert_eq!(found.image, Digest::parse(ID).ok());
    assert_eq!(found.ports.as_deref(), Some(r#"[{"containerPort":80}]"#));
    for cut in 0..any.len() {
        assert_eq!(any_value(&any[..cut]), None, "{cut}");
    }
    assert_eq!(cri_record(br#"{"Version":"v9","Metadata":{}}"#), None);
}

#[test]
fn indexes_lead_to_this_machines_manifests() {
    let here = host_architecture();
    let json = format!(
        r#"{{"manifests":[{{"digest":"{ID}","platform":{{"architecture":"s390x","os":"linux"}}}},
        {{"digest":"{MANIFEST}","platform":{{"architecture":"{here}","os":"linux"}}}},
        {{"digest":"{LAYER}","platform":{{"architecture":"unknown","os":"unknown"}}}}]}}"#
    );
    let want = Manifest::Index(vec![Digest::parse(MANIFEST).unwrap()]);
    assert_eq!(manifest(json.as_bytes()).unwrap(), want);
    let json = format!(r#"{{"config":{{"digest":"{ID}"}},"layers":[]}}"#);
    assert_eq!(manifest(json.as_bytes()).unwrap(), Manifest::Image(Digest::parse(ID).unwrap()));
    for bad in [&b"{}"[..], b"[", b"", br#"{"config":{"digest":"x"}}"#] {
        assert!(manifest(bad).is_err());
    }
}

#[test]
fn chains_of_layers_are_the_specs() {
    let layer = |text: &str| Digest::of(text.as_bytes());
    let config = |diff_ids| ImageConfig { diff_ids, ..ImageConfig::default() };
    assert_eq!(chain_id(&config(vec![])), None);
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    assert_eq!(chain_id(&config(vec![a])), Some(a));
    let ab = layer(&format!("{a} {b}"));
    assert_eq!(chain_id(&config(vec![a, b, c])), Some(layer(&format!("{ab} {c}"))));
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (manifest(&bytes), any_value(&bytes), cri_record(&bytes));
    }
}
