use super::*;
use proptest::prelude::*;

const SOURCE: &[u8] = include_bytes!("../../../tests/fixtures/bytecode/module.py");
const COMPILED: [(&str, &[u8]); 6] = [
    ("3.7", include_bytes!("../../../tests/fixtures/bytecode/module.cpython-37.pyc")),
    ("3.8", include_bytes!("../../../tests/fixtures/bytecode/module.cpython-38.pyc")),
    ("3.10", include_bytes!("../../../tests/fixtures/bytecode/module.cpython-310.pyc")),
    ("3.11", include_bytes!("../../../tests/fixtures/bytecode/module.cpython-311.pyc")),
    ("3.12", include_bytes!("../../../tests/fixtures/bytecode/module.cpython-312.pyc")),
    ("3.13", include_bytes!("../../../tests/fixtures/bytecode/module.cpython-313.pyc")),
];
/// Compiled from the same source and one more line, with the first one's header.
const POISONED: &[u8] = include_bytes!("../../../tests/fixtures/bytecode/poisoned.cpython-311.pyc");

#[test]
fn a_module_uses_the_names_of_its_source_and_no_other() {
    for (version, compiled) in COMPILED {
        let stamp = header(compiled).unwrap();
        assert!(
            matches!(stamp, SourceStamp::Timestamp { size, .. } if size as usize == SOURCE.len()),
            "{version}"
        );
        assert_eq!(names_missing_from(SOURCE, compiled), Ok(None), "{version}");
    }
    assert_eq!(header(POISONED), header(COMPILED[3].1), "the header alone proves nothing");
    assert_eq!(names_missing_from(SOURCE, POISONED), Ok(Some(b"system".to_vec())));
}

#[test]
fn names_of_compiled_modules() {
    for (compiled, source) in [
        ("json.cpython-311.pyc", Some("json.py")),
        ("json.cpython-311.opt-2.pyc", Some("json.py")),
        ("__init__.cpython-39.pyc", Some("__init__.py")),
        ("json.pyc", None),
        ("json.evil-311.pyc", None),
        (".cpython-311.pyc", None),
        ("json.cpython-311.py", None),
    ] {
        assert_eq!(source_name(compiled.as_bytes()), source.map(|s| s.as_bytes().to_vec()), "{compiled}");
    }
}

#[test]
fn headers() {
    assert_eq!(header(b""), None);
    assert_eq!(header(b"\xa7\r\r\n\x01\0\0\0aaaabbbb"), Some(SourceStamp::Hash));
    assert_eq!(header(b"\xa7\r\r\n\x07\0\0\0aaaabbbb"), None, "flags that are not known");
    assert_eq!(header(b"\x7fELF\0\0\0\0aaaabbbb"), None);
}

proptest! {
    #[test]
    fn damaged_code_never_panics(at in 16usize..900, byte: u8, cut in 0usize..1200, which in 0usize..6) {
        let mut bytes = COMPILED[which].1.to_vec();
        if let Some(b) = bytes.get_mut(at) { *b = byte; }
        bytes.truncate(cut);
        let _ = names_missing_from(SOURCE, &bytes);
    }
}

/// Over the installation of Python that `DRIFT_PYTHON_TREE` names: how many of its own modules are not
/// believed.
#[test]
fn every_module_of_an_installation_is_compiled_from_its_source() {
    let Ok(tree) = std::env::var("DRIFT_PYTHON_TREE") else { return };
    let (mut seen, mut wrong, mut folders) = (0, Vec::new(), vec![std::path::PathBuf::from(tree)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
                continue;
            }
            let name = entry.file_name();
            let Some(source) = source_name(name.as_encoded_bytes()) else { continue };
            let source = folder.parent().unwrap().join(String::from_utf8(source).unwrap());
            let (Ok(source), Ok(compiled)) = (std::fs::read(source), std::fs::read(&path)) else { continue };
            seen += 1;
            match names_missing_from(&source, &compiled) {
                Ok(None) => {}
                other => wrong.push(format!(
                    "{} {:?}",
                    path.display(),
                    other.map(|n| n.map(|n| String::from_utf8_lossy(&n).into_owned()))
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {seen}: {:#?}", wrong.len(), &wrong[..wrong.len().min(30)]);
    assert!(seen > 0);
}
